"""One walk through time at a time, by a worker, watched on the page /demo/clock/.

What the page shows is kept in the cache. Whoever holds `_GOING` walks; it lapses when a worker vanishes, so
that the next click may begin anew.
"""

import secrets
from dataclasses import asdict
from typing import Any, Final

from django.core.cache import cache
from django.utils.translation import gettext_lazy as _
from kombu.exceptions import OperationalError

from commerce.operations.travel import Day, travel
from config.demo import mailbox
from config.kit.errors import Malformed, PeerUnavailable

STEPS: Final = (1, 7, 30)

_GOING, _SHOWN = "demo:walk:going", "demo:walk:shown"
# Longer than any single day takes.
_PATIENCE_SECONDS = 240

type Shown = dict[str, Any]


class WorkerAway(PeerUnavailable):
    """Nobody can be asked to walk."""

    message = _("The clock was not moved, since the worker cannot be reached. Try again in a minute.")


def start(days: int) -> bool:
    """Ask a worker to move the clock; False when it is being moved already.

    :raises Malformed: not one of `STEPS`.
    :raises WorkerAway: the broker does not answer.
    """
    from config.demo.tasks import walk_days

    if days not in STEPS:
        raise Malformed(_("Choose 1, 7 or 30 days."), field="days")
    token = secrets.token_hex(8)
    if not cache.add(_GOING, token, _PATIENCE_SECONDS):
        return False
    cache.set(_SHOWN, {"days": days, "log": []}, None)
    try:
        walk_days.apply_async((days, token), retry=False)
    except (OperationalError, OSError) as error:
        cache.delete_many([_GOING, _SHOWN])
        raise WorkerAway from error
    return True


def is_going() -> bool:
    """Whether the clock is being moved now."""
    return cache.get(_GOING) is not None


def shown() -> Shown | None:
    """The walk under way or the last one: `days` asked for, and `log` with one entry for each day that is over."""
    found: Shown | None = cache.get(_SHOWN)
    return found


def walk(days: int, token: str) -> None:
    """Move the clock day by day and note what happened; ends when another walk has taken over."""
    log: list[dict[str, Any]] = []
    try:
        known = mailbox.keys()
        journey = travel(days=days)
        while cache.get(_GOING) == token and (day := next(journey, None)) is not None:
            mails = mailbox.mails(beside=known)
            known |= {mail.key for mail in mails}
            log.append(_entry(day, mails))
            cache.set(_SHOWN, {"days": days, "log": log}, None)
            cache.touch(_GOING, _PATIENCE_SECONDS)
    finally:
        if cache.get(_GOING) == token:
            cache.delete(_GOING)


def _entry(day: Day, mails: list[mailbox.Mail]) -> dict[str, Any]:
    return {
        "at": day.at,
        "happenings": [asdict(happening) for happening in day.happenings],
        "paid": day.swept.charged.paid,
        "declined": day.swept.charged.declined,
        "mails": [{"key": mail.key, "subject": mail.subject, "to": mail.to} for mail in reversed(mails)],
    }
