"""What higher apps do after something happened here: registered callbacks, not signals (architecture §2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from config.kit.actors import Actor
from config.kit.hooks import Hook
from directory.models import Group, User


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """People of the acting tenant came into a group, or went out of it; any number at once."""

    actor: Actor
    group_id: int
    at: datetime
    added: Sequence[int] = ()
    removed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody was disabled or deleted (product §11); `user` is the row as it was before, with its name."""

    user: User
    actor: Actor
    at: datetime
    is_deletion: bool


@dataclass(frozen=True, slots=True)
class GroupEnding:
    """A group is about to be deleted; its row is locked and still there, its members are not."""

    group: Group
    actor: Actor
    at: datetime


@dataclass(frozen=True, slots=True)
class GroupRenamed:
    """A group has another name, which its locked row says already."""

    group: Group
    actor: Actor
    at: datetime


# Inside the transaction of the change, so a callback either happens with it or not at all.
membership_changed: Hook[MembershipChange] = Hook()
group_ending: Hook[GroupEnding] = Hook()
group_renamed: Hook[GroupRenamed] = Hook()
# Inside the transaction too, which holds the person's row: callbacks write, and wait for no other lock.
person_leaving: Hook[Departure] = Hook()
# Once that is committed, each callback in a transaction of its own. What is missed when the process dies in between,
# a sweep of that app does.
person_left: Hook[Departure] = Hook()
