"""Doorbells: each finds its work in PostgreSQL and goes on until nothing is due (architecture §7).

Beat rings them every so often; a ring that is lost, repeated or answered by several workers does no harm.
"""

import logging
from datetime import datetime

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError

from commerce.gateways.mailbox import MailboxAway, read_unseen
from commerce.incoming_mail import MOST_BYTES
from commerce.operations import expiring_cards, handovers, leaving, payments, renewals
from commerce.operations.case_mail import receive_reply
from commerce.operations.case_talk import close_quiet_cases
from commerce.operations.dunning import dun_due
from commerce.operations.new_products import tell_of_new_products
from commerce.operations.on_account import mark_past_due, tell_of_bills
from config.kit import clock
from config.kit.tenancy import connection, use_login

# Well within a task's time limit, which would cut a charge short, even when the last one takes its time.
CHARGES_A_RING = 1000
SECONDS_A_RING = 120.0
MAILS_A_RING = 50

log = logging.getLogger(__name__)


def _now() -> datetime:
    """The instant by the database's clock, the one that decides (F-17)."""
    with use_login("worker"):
        return clock.database_now(connection())


@shared_task(name="commerce.renew")
def renew() -> None:
    """End what was not paid, bill what has begun, end trials, let what ended expire; rings for charging a new bill."""
    at = _now()
    try:
        dun_due(at=at)
        mark_past_due(at=at)
        renewed = renewals.renew_due(at=at) + renewals.end_trials(at=at)
        renewals.expire_due(at=at)
    except SoftTimeLimitExceeded:
        # The batch under way was rolled back; the rest waits for the next ring.
        renew.delay()
        raise
    if renewed.moved:
        charge.delay()


@shared_task(name="commerce.charge")
def charge() -> None:
    """Charge open card bills, a thousand or two minutes a ring, and ring again while there are more."""
    charged = renewals.charge_due(at=_now(), limit=CHARGES_A_RING, seconds=SECONDS_A_RING)
    if charged.has_more:
        charge.delay()


@shared_task(name="commerce.refund")
def refund() -> None:
    """Give back what credit notes owe, and ring again while there is more."""
    refunded = payments.settle_refunds(at=_now(), limit=CHARGES_A_RING)
    if refunded.done + refunded.failed == CHARGES_A_RING:
        refund.delay()


@shared_task(name="commerce.remind")
def remind() -> None:
    """Announce renewals, ends and rises of the price, remind who was asked to cancel, and tell of bills on account and of
    products to decide about."""
    at = _now()
    renewals.remind_due(at=at)
    renewals.remind_asked(at=at)
    tell_of_bills(at=at)
    tell_of_new_products(at=at)


@shared_task(name="commerce.notice_expiring_cards")
def notice_expiring_cards() -> None:
    """Announce cards that end before their next charge."""
    expiring_cards.notice_expiring_cards(at=_now())


@shared_task(name="commerce.reconcile")
def reconcile() -> None:
    """Settle what is not final: stored webhooks, unanswered charges, abandoned checkouts, offers nobody answered."""
    at = _now()
    payments.reconcile(at)
    handovers.lapse_offers(at=at)


@shared_task(name="commerce.forget_names")
def forget_names() -> None:
    """Call deleted purchasers *Former user* where their deletion could not finish."""
    leaving.forget_names()


@shared_task(name="commerce.read_mailbox")
def read_mailbox() -> None:
    """Take the answers that came to support by mail, where a mailbox is set up; the next ring takes those after fifty."""
    if not settings.SUPPORT_MAILBOX:
        return
    try:
        read_unseen(settings.SUPPORT_MAILBOX, _take, most=MAILS_A_RING, most_bytes=MOST_BYTES)
    except MailboxAway as away:
        log.warning("The mailbox of support cannot be read: %s", type(away.__cause__).__name__)


def _take(raw: bytes) -> bool:
    """Whether the mail was dealt with; what the database refuses comes again, and holds up no other."""
    try:
        receive_reply(raw, at=_now())
    except DatabaseError:
        log.exception("A mail to support could not be taken; it stays unseen")
        return False
    return True


@shared_task(name="commerce.close_quiet_cases")
def close_quiet() -> None:
    """Close conversations with support in which nobody has written for 14 days."""
    close_quiet_cases(at=_now())
