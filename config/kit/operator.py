"""The frame of the vendor's site at /operator/, and what apps put on its first page (product §2, §16).

Pages are own templates that extend `operator/page.html`; `render_operator_page` draws them without its callers
knowing the site. Lower apps do not import the site: it registers its frame, apps register what needs a look.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.kit.actors import Actor
from config.kit.admin import Framed
from config.kit.errors import Text
from config.kit.keyset import shown_count
from config.kit.listings import MOST

_operator = Framed()
use_operator_frame = _operator.use
# Templates of its pages extend `operator/page.html`.
render_operator_page = _operator.render


@dataclass(frozen=True, slots=True)
class Look:
    """Something on the first page that a member of the staff should look at; `address` is where, empty for nowhere."""

    title: Text
    says: Text
    address: str = ""
    is_urgent: bool = False


def look_at_waiting(
    title: Text, since: Iterable[datetime], *, address: str, at: datetime, is_urgent: bool = False
) -> Iterator[Look]:
    """The look at a list by since when each of its rows waits; none where none does. As many as a listing returns, or more."""
    instants = list(since)
    if instants:
        count = shown_count(len(instants), MOST - 1)
        waits = ngettext("%(count)s waits", "%(count)s wait", len(instants)) % {"count": count}
        oldest = min(instants)
        if at - oldest >= timedelta(minutes=1):
            age = _("the oldest for %(age)s") % {"age": timesince(oldest, at, depth=1)}
            waits = f"{waits}, {age}"
        yield Look(title, f"{waits}.", address, is_urgent)


type Finder = Callable[[Actor, datetime], Iterable[Look]]

_finders: list[tuple[str, Finder]] = []


def add_looks(capability: str, finder: Finder) -> None:
    """Have `finder` asked whenever somebody with the capability opens the first page. For apps, when they start.

    It runs inside the vendor's own `tenant_atomic`, and finds nothing where all is well.
    """
    _finders.append((capability, finder))


def looks_for(actor: Actor, at: datetime) -> list[Look]:
    """What needs a look by this person, what is urgent first."""
    found = [look for capability, finder in _finders if actor.may(capability) for look in finder(actor, at)]
    return sorted(found, key=lambda look: not look.is_urgent)
