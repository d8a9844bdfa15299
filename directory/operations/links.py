"""Where a notice leads, for whoever may go there.

A notice keeps its link for as long as it is kept; meanwhile a person may lose the right to what it is about. Pages of
one object are named here by the app that has them, with what tells which of the objects somebody sees.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from django.urls import Resolver404, resolve

from config.kit import access
from config.kit.actors import Actor

type Visible = Callable[[Actor, Collection[str]], Collection[str]]

_visible: dict[str, Visible] = {}


class _Page(NamedTuple):
    """An address by its name, and the one object that it names; empty where it names none."""

    path: str
    name: str
    thing: str


def leads_to(*names: str, visible: Visible) -> None:
    """Register which of the objects that these addresses name, as texts, an actor sees. For higher apps, when they
    start."""
    _visible.update(dict.fromkeys(names, visible))


def open_to(actor: Actor, links: Collection[str]) -> Mapping[str, str]:
    """The paths of those links that the person may open. One query at most for each kind of page.

    A page of an object for which no app says who sees it is open to nobody.
    """
    found = {link: page for link in set(links) if (page := _page(actor, link)) is not None}
    asked: dict[str, set[str]] = defaultdict(set)
    for page in found.values():
        if page.thing and page.name in _visible:
            asked[page.name].add(page.thing)
    seen = {name: set(_visible[name](actor, things)) for name, things in asked.items()}
    return {
        link: page.path
        for link, page in found.items()
        if not page.thing or page.thing in seen.get(page.name, ())
    }


def _page(actor: Actor, link: str) -> _Page | None:
    """The page behind a link, unless its rule closes it to the person, whatever it is about."""
    parts = urlsplit(link)
    try:
        match = resolve(parts.path)
    except Resolver404:
        return None
    rule = access.rule_of(match.func)
    if rule is None or any(needed and not actor.may(needed) for needed in (rule.sees, rule.may)):
        return None
    things = [str(value) for value in match.kwargs.values()]
    if len(things) > 1:
        return None
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return _Page(path, match.view_name, things[0] if things else "")
