"""The sweeps of commerce: each finds its work in PostgreSQL and goes on until nothing is due (architecture §7).

A ring that is lost, repeated or answered by several workers does no harm.
"""

import logging
from datetime import datetime

from django.conf import settings

from commerce.gateways import Retryable
from commerce.gateways.mailbox import MailboxAway, read_unseen
from commerce.incoming_mail import MOST_BYTES
from commerce.operations import expiring_cards, handovers, leaving, payments, renewals
from commerce.operations.case_mail import receive_reply
from commerce.operations.case_talk import close_quiet_cases
from commerce.operations.dunning import dun_due
from commerce.operations.new_products import tell_of_new_products
from commerce.operations.on_account import mark_past_due, tell_of_bills
from config.kit.doorbell import Queue
from config.kit.sweeps import Sweep, Turn, alone, register

CHARGE, REFUND = "commerce.charge", "commerce.refund"
# Well within a task's time limit, which would cut a charge short, even when the last one takes its time.
CHARGES_A_RING = 1000
SECONDS_A_RING = 120.0
MAILS_A_RING = 50

log = logging.getLogger(__name__)


def read_mailbox(*, at: datetime) -> int:
    """Take the answers that came to support by mail, where a mailbox is set up; the next ring takes those after fifty.

    How many were dealt with. What the database refuses comes again, and holds up no other.
    """
    taken = 0

    def take(raw: bytes) -> bool:
        nonlocal taken
        before = taken
        with alone("A mail to support"):
            receive_reply(raw, at=at)
            taken += 1
        return taken > before

    if settings.SUPPORT_MAILBOX:
        try:
            read_unseen(settings.SUPPORT_MAILBOX, take, most=MAILS_A_RING, most_bytes=MOST_BYTES)
        except MailboxAway as away:
            log.warning("The mailbox of support cannot be read: %s", type(away.__cause__).__name__)
    return taken


def pull_events(*, at: datetime) -> int:
    """Ask the processor for what no webhook told; how many events were new."""
    try:
        return payments.pull_events(at)
    except Retryable:
        log.warning("The card processor gives no answer about its events; the next ring asks again.")
        return 0


def _charges(swept: renewals.Swept) -> str:
    """A new bill is charged at once."""
    return CHARGE if swept.moved else ""


register(
    Sweep("commerce.read_mailbox", read_mailbox, every=60.0, turn=Turn.FREE),
    Sweep("commerce.pull_events", pull_events, every=3600.0, turn=Turn.SETTLE, queue=Queue.BILLING),
    Sweep("commerce.reconcile", payments.reconcile, every=60.0, turn=Turn.SETTLE, queue=Queue.BILLING),
    Sweep("commerce.dun", dun_due, every=120.0, turn=Turn.BILL, queue=Queue.BILLING),
    Sweep(
        "commerce.renew",
        renewals.renew_due,
        every=120.0,
        turn=Turn.BILL,
        queue=Queue.BILLING,
        rings=_charges,
    ),
    Sweep(
        "commerce.end_trials",
        renewals.end_trials,
        every=120.0,
        turn=Turn.BILL,
        queue=Queue.BILLING,
        rings=_charges,
    ),
    Sweep("commerce.expire", renewals.expire_due, every=120.0, turn=Turn.BILL, queue=Queue.BILLING),
    Sweep("commerce.mark_past_due", mark_past_due, every=120.0, turn=Turn.BILL, queue=Queue.BILLING),
    Sweep("commerce.remind", renewals.remind_due, every=600.0, turn=Turn.TELL),
    Sweep("commerce.remind_asked", renewals.remind_asked, every=600.0, turn=Turn.TELL),
    Sweep("commerce.tell_of_bills", tell_of_bills, every=600.0, turn=Turn.TELL),
    Sweep("commerce.tell_of_new_products", tell_of_new_products, every=600.0, turn=Turn.TELL),
    Sweep(
        CHARGE,
        renewals.charge_due,
        every=60.0,
        turn=Turn.CHARGE,
        queue=Queue.BILLING,
        limits={"limit": CHARGES_A_RING, "seconds": SECONDS_A_RING},
        rings=lambda charged: CHARGE if charged.has_more else "",
    ),
    Sweep(
        REFUND,
        payments.settle_refunds,
        every=60.0,
        turn=Turn.CHARGE,
        queue=Queue.BILLING,
        limits={"limit": CHARGES_A_RING},
        rings=lambda refunded: REFUND if refunded.done + refunded.failed == CHARGES_A_RING else "",
    ),
    Sweep("commerce.lapse_offers", handovers.lapse_offers, every=60.0, turn=Turn.CLOSE),
    Sweep(
        "commerce.notice_expiring_cards", expiring_cards.notice_expiring_cards, every=3600.0, turn=Turn.CLOSE
    ),
    Sweep("commerce.close_quiet_cases", close_quiet_cases, every=3600.0, turn=Turn.CLOSE),
    Sweep("commerce.forget_events", payments.forget_events, every=3600.0, turn=Turn.FORGET),
    Sweep("commerce.forget_payers", leaving.forget_payers, every=3600.0, turn=Turn.FORGET),
)
