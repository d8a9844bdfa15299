"""What higher apps do after something happened here: registered callbacks, not signals (architecture §2).

A callback runs inside the transaction of what happened, so it either happens with it or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.hooks import Hook


@dataclass(frozen=True, slots=True)
class Activation:
    """A subscription became active through a purchase. `first_license`: the buyer asked for a seat."""

    subscription: Subscription
    actor: Actor
    at: datetime
    first_license: bool


@dataclass(frozen=True, slots=True)
class Deletion:
    """Subscriptions, of one tenant or of many, became Deleted in one sweep; called under the sweep's login."""

    subscription_ids: Sequence[int]
    at: datetime


subscription_activated: Hook[Activation] = Hook()
subscriptions_deleted: Hook[Deletion] = Hook()
