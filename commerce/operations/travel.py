"""Moving the demo's clock: a walk in one-day steps with every sweep at each (architecture §5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.models import SubscriptionEvent
from commerce.operations.renewals import Sweeps, run_sweeps
from config.kit import clock
from config.kit.errors import DomainError, Malformed
from config.kit.tenancy import connection, use_login

# So many days in one walk; a walk of some years is several.
FARTHEST = 400


class NotADemo(DomainError):
    """Time can be moved in demo mode only."""

    code = "not_a_demo"
    status = 404
    message = _("The clock can be moved in demo mode only.")


@dataclass(frozen=True, slots=True)
class Happening:
    """One row of a subscription's history, for people who watch the walk."""

    tenant: str
    product: str
    purchaser: str
    code: str
    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Day:
    """One step: the instant it came to, what its sweeps did, and what happened to which subscription."""

    at: datetime
    swept: Sweeps
    happenings: list[Happening]


def travel(*, days: int) -> Iterator[Day]:
    """Move the clock ahead day by day, running every sweep at each; yields each day when it is over.

    The clock stays where the last day that was yielded left it. Leases, sessions and tokens stay on real time.

    :raises NotADemo: outside demo mode.
    :raises Malformed: not a number of days from 1 to 400.
    """
    if not settings.DEMO:
        raise NotADemo
    if not 1 <= days <= FARTHEST:
        raise Malformed(_("Choose a number of days from 1 to 400."), field="days")
    return _walk(days)


def _walk(days: int) -> Iterator[Day]:
    for _day in range(days):
        last_event_id = _last_event_id()
        clock.set_offset((clock.offset() + timedelta(days=1)).total_seconds())
        with use_login("worker"):
            at = clock.database_now(connection())
        swept = run_sweeps(at=at)
        yield Day(at, swept, _happenings_after(last_event_id))


def _last_event_id() -> int:
    with use_login("worker"):
        latest = SubscriptionEvent.objects.order_by("-id").values_list("id", flat=True).first()
        return latest or 0


def _happenings_after(event_id: int) -> list[Happening]:
    with use_login("worker"):
        rows = (
            SubscriptionEvent.objects.filter(id__gt=event_id)
            .order_by("id")
            .values_list(
                "tenant__name",
                "subscription__product__name",
                "subscription__purchaser_name",
                "code",
                "facts",
            )
        )
        return [Happening(*row) for row in rows]
