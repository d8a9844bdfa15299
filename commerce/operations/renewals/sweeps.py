"""Every sweep once, by hand: `manage.py sweep`, and each day of the demo's walk."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commerce.operations.dunning import Dunned
from commerce.operations.payments import Refunded
from commerce.operations.renewals.batches import Swept
from commerce.operations.renewals.charges import Charged
from config.kit.sweeps import run_all


@dataclass(frozen=True, slots=True)
class Sweeps:
    """What one round of all sweeps did: what each said, by its task's name."""

    done: Mapping[str, Any]

    @property
    def dunned(self) -> Dunned:
        found: Dunned = self.done["commerce.dun"]
        return found

    @property
    def renewed(self) -> Swept:
        found: Swept = self.done["commerce.renew"]
        return found

    @property
    def trials(self) -> Swept:
        found: Swept = self.done["commerce.end_trials"]
        return found

    @property
    def expired(self) -> Swept:
        found: Swept = self.done["commerce.expire"]
        return found

    @property
    def charged(self) -> Charged:
        found: Charged = self.done["commerce.charge"]
        return found

    @property
    def refunded(self) -> Refunded:
        found: Refunded = self.done["commerce.refund"]
        return found


def run_sweeps(*, at: datetime) -> Sweeps:
    """Run each registered sweep until nothing is due at `at`, in the order in which one makes work for the next."""
    return Sweeps(run_all(at=at))
