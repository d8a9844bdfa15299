"""Every sweep once, in the order in which one makes work for the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from commerce.hooks import swept
from commerce.operations.case_talk import close_quiet_cases
from commerce.operations.dunning import Dunned, dun_due
from commerce.operations.expiring_cards import notice_expiring_cards
from commerce.operations.handovers import lapse_offers
from commerce.operations.leaving import forget_names
from commerce.operations.new_products import tell_of_new_products
from commerce.operations.on_account import mark_past_due, tell_of_bills
from commerce.operations.payments import Refunded, reconcile, settle_refunds
from commerce.operations.renewals.asking import remind_asked
from commerce.operations.renewals.batches import Swept
from commerce.operations.renewals.charges import Charged, charge_due
from commerce.operations.renewals.expiry import expire_due
from commerce.operations.renewals.reminding import remind_due
from commerce.operations.renewals.renewing import renew_due
from commerce.operations.renewals.trials import end_trials
from directory.operations.digests import queue_digests
from directory.operations.outbox import send_due_mails
from directory.operations.partner_sweeps import sweep_relationships


@dataclass(frozen=True, slots=True)
class Sweeps:
    """What one round of all sweeps did."""

    settled: Mapping[str, int]
    dunned: Dunned
    renewed: Swept
    trials: Swept
    expired: Swept
    charged: Charged
    refunded: Refunded
    lapsed_offers: int
    mails: int
    expiring_cards: int = 0
    past_due: int = 0
    told_of_bills: int = 0
    told_of_products: int = 0
    reminded: int = 0
    asked_again: int = 0
    digests: int = 0
    relationships: int = 0
    closed_cases: int = 0


def run_sweeps(*, at: datetime) -> Sweeps:
    """Run each sweep until nothing is due at `at`: settle, dun, renew, end trials, expire, charge, refund, lapse, tell, mail.

    Those of higher apps come first: what they free or end costs nothing.
    """
    forget_names()
    swept(at)
    return Sweeps(
        settled=reconcile(at),
        dunned=dun_due(at=at),
        renewed=renew_due(at=at),
        trials=end_trials(at=at),
        expired=expire_due(at=at),
        reminded=remind_due(at=at),
        asked_again=remind_asked(at=at),
        past_due=mark_past_due(at=at),
        told_of_bills=tell_of_bills(at=at),
        told_of_products=tell_of_new_products(at=at),
        charged=charge_due(at=at),
        refunded=settle_refunds(at=at),
        lapsed_offers=lapse_offers(at=at),
        expiring_cards=notice_expiring_cards(at=at),
        digests=queue_digests(at=at),
        closed_cases=close_quiet_cases(at=at),
        relationships=sum(sweep_relationships(at=at)),
        mails=send_due_mails(at=at),
    )
