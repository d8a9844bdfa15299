"""Renewal, expiry and charging by sweeps over what is due (product §5.1 to §5.3, architecture §7).

Each sweep asks PostgreSQL what is due, takes it in batches and writes each batch in one statement under the
worker's login. Running one twice, at once or after an outage changes nothing (docs/renewals.md).
"""

from commerce.operations.renewals.asking import remind_asked
from commerce.operations.renewals.batches import Swept
from commerce.operations.renewals.charges import Charged, charge_due
from commerce.operations.renewals.expiry import expire_due
from commerce.operations.renewals.parking import unpark
from commerce.operations.renewals.reminding import remind_due
from commerce.operations.renewals.renewing import renew_due
from commerce.operations.renewals.sweeps import Sweeps, run_sweeps
from commerce.operations.renewals.trials import end_trials

__all__ = [
    "Charged",
    "Sweeps",
    "Swept",
    "charge_due",
    "end_trials",
    "expire_due",
    "remind_asked",
    "remind_due",
    "renew_due",
    "run_sweeps",
    "unpark",
]
