"""Every field of every form, and every parameter of every page, with hostile values (reliability §6, HTML/forms).

A few people, who together see every page, open each and send each of its forms as it stands; what that answers has forms
of its own. A name that is read and that no form gives is a field, too. Then each field gets one value after the other, the
other fields as the page gives them: markup, and another that is drawn by the field's name. All of them, which takes an hour:
`FORM_VALUES=all make test ARGS="-n 0 tests/access/test_every_field.py"`.
"""

import logging
import os
import random
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as configured
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import resolve, reverse
from django.utils.datastructures import MultiValueDict
from django.utils.html import escape

from config.kit.access import rule_of
from config.kit.actors import Actor
from tests.access.counting import FILLED_IN
from tests.access.forms import FILE, Form, Pair, forms_of, urlencoded
from tests.access.hostile_values import MARK, MARKUP, SUM, SUMMED, VALUES, Written, reflected
from tests.access.world import (
    ADDRESSES,
    EXAMPLES,
    FOREIGN,
    MISSING,
    World,
    problems_of,
    seen_from,
    taken_back,
    whole,
    world,
)

__all__ = ["world"]  # a fixture

# Together they see every page, and may do what stands on it.
WHO = ("purchaser", "global_admin", "partner at home", "vendor superuser", "anonymous")
# The gate reads them of every form: once is enough.
OF_EVERY_FORM = {"csrfmiddlewaretoken", "shown_for_tenant"}
ALWAYS = ("the end of a script",)
MORE = 1
# A filter leads to its list, that to a choice, that to what confirms it.
STEPS = 3
# Where somebody who may not, or has nothing there, is left.
CLOSED = {HTTPStatus.FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
# Some less than there are: with fewer it would no longer see them.
FORMS, FIELDS = 150, 600


@dataclass
class Report:
    """How many requests were answered, by status, and what is wrong, with one field and value for each kind."""

    answers: Counter[int] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def look_at(self, answer: Any, raised: Any, sent: str, who: str, actor: Actor | None) -> None:
        self.answers[answer.status_code] += 1
        problems = reflected(answer) + problems_of(answer, sent, who, actor)
        if answer.status_code >= 500:
            problems.append(f"{answer.status_code} {place_of(raised)}")
        for problem in problems:
            self.wrong[problem].append(sent)

    def __str__(self) -> str:
        return "\n".join(
            f"{problem}\n    {len(sent)} times, first {sent[0]}" for problem, sent in self.wrong.items()
        )


def place_of(raised: Any) -> str:
    """What was raised, and the last line of the project's own that it came through."""
    if not raised:
        return "that was meant"
    kind, error, trace = raised
    root = f"{configured.BASE_DIR}/"
    own = [
        f"{step.filename.removeprefix(root)}:{step.lineno}"
        for step in traceback.extract_tb(trace)
        if step.filename.startswith(root) and "/.venv/" not in step.filename
    ]
    return f"{kind.__name__}: {str(error)[:200]} at {own[-1] if own else 'no line of ours'}"


@dataclass
class Visitor:
    """Somebody who sends forms, each as if it were the first."""

    who: str
    actor: Actor | None
    client: Client
    report: Report

    def send(self, form: Form, pairs: list[Pair], what: str) -> tuple[Any, list[str]]:
        """The answer, and the names that were read of what was sent. Where it leads to is looked at, too."""
        answers: list[Any] = []
        self.client.raise_request_exception = False

        def ask() -> Any:
            answers.append(whole(self._ask(form, pairs)))
            to = answers[0].get("Location", "")
            if form.method == "POST" and to.startswith("/"):
                answers.append(whole(self.client.get(to)))
            return answers[0]

        taken_back(self.client, ask)
        sent = f"{form.method} {form.address} as {self.who}: {what}"
        for answer, actor in zip(answers, (self.actor, None), strict=False):
            self.report.look_at(answer, getattr(answer, "exc_info", None), sent, self.who, actor)
        return answers[0], self.read

    def _ask(self, form: Form, pairs: list[Pair]) -> Any:
        if form.method == "GET":
            query = urlencoded(pairs).decode()
            answer = self.client.generic("GET", urlsplit(form.address).path, QUERY_STRING=query)
        else:
            body, content_type = form.body(pairs)
            answer = self.client.generic("POST", form.address, body, content_type=content_type)
        self.read = list(getattr(getattr(answer.wsgi_request, form.method), "names_read", {}))
        return answer


def name_of(form: Form) -> str:
    """The name of the address that it goes to."""
    return resolve(urlsplit(form.address).path).view_name


def stem_of(name: str) -> str:
    return re.sub(r":.+|(?<=-)\d+(?=-)", "*", name)


def pages_of(visitor: Visitor, world: World) -> Iterator[Form]:
    """Every page that may be theirs, for every kind of object that it may show."""
    for name, route, callback in ADDRESSES:
        rule = rule_of(callback)
        may = (
            rule.audience == "public"
            if visitor.actor is None
            else not rule.sees or visitor.actor.may(rule.sees)
        )
        if may:
            examples = EXAMPLES[name](world) if "<" in route else {"": {}}
            for kind, kwargs in seen_from(visitor.actor, world, examples):
                if kind not in (FOREIGN, MISSING):
                    yield Form("GET", reverse(name, kwargs=kwargs))


type Field = tuple[Visitor, Form, str]


@dataclass
class Crawl:
    """What there is to fill in, whoever comes to it first: each form once, and what else is read of an address once."""

    forms: set[tuple[str, ...]] = field(default_factory=set)
    # The forms that were taken as they stand.
    taken: int = 0
    shown: list[Field] = field(default_factory=list)
    read: list[Field] = field(default_factory=list)
    posted: set[str] = field(default_factory=set)

    def walk(self, visitor: Visitor, pages: Iterable[Form]) -> None:
        """Open each page and send what stands on it; then post to each that no form was for, as a script might."""
        pages = list(pages)
        for page in pages:
            self._follow(visitor, page, STEPS)
        shown_for = [("shown_for_tenant", str(visitor.actor.tenant_id).encode())] if visitor.actor else []
        for page in pages:
            if name_of(page) not in self.posted:
                self._follow(visitor, Form("POST", page.address, given=shown_for), 0)

    def _follow(self, visitor: Visitor, form: Form, steps: int) -> None:
        answer, read = visitor.send(form, form.pairs(), "as it stands")
        if form.method == "POST" and answer.status_code not in CLOSED:
            self.posted.add(name_of(form))
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return
        self.taken += bool(form.names) and answer.status_code < HTTPStatus.BAD_REQUEST
        self.shown += [(visitor, form, name) for name in form.names]
        self.read += [(visitor, form, name) for name in read]
        if steps and b"<form" in answer.content:
            for found in forms_of(answer.content.decode(), form.address):
                if self._is_new(found):
                    self._follow(visitor, found, steps - 1)

    def _is_new(self, form: Form) -> bool:
        kind = (form.method, name_of(form), *sorted(form.names))
        is_new = kind not in self.forms
        self.forms.add(kind)
        return is_new

    def fields(self) -> list[Field]:
        """One of each: `product:CFQ7TTC0LH2H` and `form-0-title` stand for all products and lines of their form."""
        found: dict[tuple[object, ...], Field] = {}
        for visitor, form, name in self.shown:
            one = (name,) if name in OF_EVERY_FORM else (id(form), stem_of(name))
            found.setdefault(one, (visitor, form, name))
        named = {(form.method, name_of(form), stem_of(name)) for _visitor, form, name in self.shown}
        for visitor, form, name in self.read:
            one = (form.method, name_of(form), stem_of(name))
            if one not in named:
                found.setdefault(one, (visitor, form, name))
        return list(found.values())


def values_of(world: World) -> dict[str, Written]:
    """The corpus, and what is the other tenant's."""
    foreign = {
        "another's purchase": world.purchases,
        "another's person": world.purchasers,
        "another's group": world.groups,
        "another's job": world.jobs,
        "another's card": world.cards,
    }
    return VALUES | {name: [("", str(keys[FOREIGN]).encode())] for name, keys in foreign.items()}


def chosen_for(form: Form, name: str, values: dict[str, Written]) -> list[str]:
    """All of them where that is asked for; else the same in every run."""
    if os.environ.get("FORM_VALUES") == "all":
        return list(values)
    others = [each for each in values if each not in ALWAYS]
    return [*ALWAYS, *random.Random(f"{form.method} {name_of(form)} {name}").sample(others, MORE)]


def send_all(fields: list[Field], values: dict[str, Written]) -> int:
    """How many were sent. Each button is pressed in its turn."""
    sent = 0
    for visitor, form, name in fields:
        for chosen in chosen_for(form, name, values):
            written = [(name + more, value) for more, value in values[chosen]]
            visitor.send(form, form.pairs(but=name, button=sent) + written, f"{name} is {chosen}")
            sent += 1
    return sent


@pytest.fixture
def _open_and_noted(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit is in the way, which have tests of their own; and what is read of a request is noted at it."""
    settings.SIGN_IN_IS_FRESH = timedelta(days=1)
    monkeypatch.setattr("config.kit.rate.Limit.count", lambda self, *names: None)
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Any, name: str, *others: Any, **named: Any) -> Any:
            vars(self).setdefault("names_read", {})[name] = None
            return read(self, name, *others, **named)

        return noted

    for method in ("__getitem__", "__contains__", "_getlist"):
        read = getattr(MultiValueDict, method)
        monkeypatch.setattr(MultiValueDict, method, noting(read), raising=False)


@pytest.mark.long
@pytest.mark.django_db
@pytest.mark.usefixtures("_open_and_noted", "empty_processor")
def test_no_field_of_any_form_fails_or_comes_back_as_markup(world: World) -> None:
    report, crawl = Report(), Crawl()
    for who in WHO:
        visitor = Visitor(who, world.actor(who), world.client(who), report)
        crawl.walk(visitor, pages_of(visitor, world))
    fields = crawl.fields()
    sent = send_all(fields, values_of(world))

    FILLED_IN.update(forms=len(crawl.forms), fields=len(fields), values=sent)
    assert not report.wrong, str(report)
    assert len(crawl.forms) > FORMS
    assert len(fields) > FIELDS
    # Else what is sent would be refused for the fields that are left as they are.
    assert crawl.taken > len(crawl.forms) / 2
    assert sent >= (len(ALWAYS) + MORE) * len(fields)


# --- That it would see a fault --------------------------------------------------------------------------------


def careless(request: HttpRequest) -> HttpResponse:
    words = request.GET.get("q", "")
    if request.GET.get("page", "1").isdecimal():
        int(request.GET.get("page", "1")).to_bytes(8)
    answer = HttpResponse(f"<form><textarea name='q'>{words}</textarea></form>")
    answer["X-Words"] = words[:20]
    return answer


@pytest.mark.django_db
@pytest.mark.usefixtures("_open_and_noted")
def test_a_page_that_is_careless_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a field that it shows, and in one that it only reads."""
    monkeypatch.setattr("commerce.views.catalogue.catalogue_page", careless)
    monkeypatch.setenv("FORM_VALUES", "all")
    report, crawl = Report(), Crawl()
    crawl.walk(Visitor("anonymous", None, Client(), report), [Form("GET", reverse("commerce:catalogue"))])
    sent = send_all(crawl.fields(), VALUES)

    assert {name for _visitor, _form, name in crawl.fields()} == {"q", "page"}
    assert sent == 2 * len(VALUES)
    found = str(report)
    assert [fault for fault in ("OverflowError", "BadHeaderError", MARKUP[:-3]) if fault not in found] == []


def test_there_are_sixty_values_at_least_and_each_is_another() -> None:
    assert len(VALUES) >= 60
    assert len({repr(written) for written in VALUES.values()}) == len(VALUES)
    assert set(ALWAYS) <= set(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        f"<b>{MARKUP}</b>",
        f"<input value=\"\" onfocus={MARK}() x='{MARK}'>",
        f"<a href='javascript:{MARK}()'>",
        f"<p>{MARK}{SUMMED}</p>",
    ],
)
def test_the_judge_sees_what_is_not_only_text(text: str) -> None:
    assert reflected(HttpResponse(text))
    assert not reflected(HttpResponse(escape(text).replace(SUMMED, SUM)))


def test_a_form_is_read_as_a_browser_would_send_it() -> None:
    """Also what stands outside of it and names it; of radios one, of a list what is chosen; buttons in their turn."""
    page = """
      <form id="a" method="post" action="?b=1" enctype="multipart/form-data">
        <input name="text" value="1"><input type="radio" name="one" value="x">
        <input type="radio" name="one" value="y" checked><input type="checkbox" name="tick">
        <select name="list"><option value=""></option><option value="o" selected>O</option></select>
        <textarea name="area">words</textarea><input type="file" name="file">
        <button name="do" value="save"></button><button name="do" value="end"></button>
      </form>
      <input name="outside" form="a" value="2"><input name="nowhere">
      <form action="/b/"><input type="search" name="q"></form>
    """
    form, search = forms_of(page, "/a/")

    assert (form.method, form.address, form.files) == ("POST", "/a/?b=1", {"file"})
    assert dict(form.pairs(button=1)) == {
        **{"text": b"1", "one": b"y", "tick": b"on", "list": b"o", "area": b"words", "file": FILE},
        **{"do": b"end", "outside": b"2"},
    }
    assert "do" not in dict(form.pairs(but="do"))
    assert b'name="file"; filename="' in form.body(form.pairs())[0]
    assert (search.method, search.address, search.names) == ("GET", "/b/", ["q"])
