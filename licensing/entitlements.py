"""Which of several subscriptions of one product gives a person the product (product §7.4). Pure.

Central first, then taken over by the organization, then the person's own, then a colleague's; among equals the
latest end. Active and Expired give access, nothing else does.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

GIVES_ACCESS = frozenset({"active", "expired"})
CENTRAL, ORGANIZATION = "central", "organization"


class Source(Protocol):
    """What of a subscription decides; the model has it all."""

    channel: str
    owner_kind: str
    owner_user_id: int | None
    state: str
    term_end: datetime


def rank(source: Source, user_id: int) -> tuple[int, float]:
    """Smaller comes first."""
    if source.channel == CENTRAL:
        place = 0
    elif source.owner_kind == ORGANIZATION:
        place = 1
    else:
        place = 2 if source.owner_user_id == user_id else 3
    return place, -source.term_end.timestamp()


def best[S: Source](sources: Iterable[S], user_id: int) -> S | None:
    """The one that answers, None when none gives access."""
    giving = [source for source in sources if source.state in GIVES_ACCESS]
    return min(giving, key=lambda source: rank(source, user_id), default=None)
