"""What higher apps do after something happened here: registered callbacks, not signals (architecture §2).

A callback runs inside the transaction of what happened, so it either happens with it or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from config.kit.actors import Actor
from config.kit.hooks import Hook


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """People of the acting tenant came into a group, or went out of it; any number at once."""

    actor: Actor
    group_id: int
    at: datetime
    added: Sequence[int] = ()
    removed: Sequence[int] = ()


membership_changed: Hook[MembershipChange] = Hook()
