"""Mails about money, queued in the transaction of what they tell (product §3.5, §15).

The context of a mail holds plain values; names that end in `_at` are instants, shown in `time_zone`.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from commerce.gateways.declines import REFUSED, TOO_SMALL
from commerce.models import Bill, CancelRequest, Card, Dispute, Order, RefundAttempt, Subscription
from commerce.operations.mail_facts import about, billing_admins, purchase_link
from commerce.operations.orders import Placed
from commerce.queries import details
from commerce.queries.central import CentralQuote
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.mail import mails, queue_mail, queue_mails

# The last instant of a half-open period, so that people read its last day.
_INSTANT = timedelta(microseconds=1)


def queue_receipt(*, placed: Placed, card: Card | None, at: datetime) -> None:
    """The buyer's receipt, at once."""
    subscription, bill = placed.subscription, placed.bill
    buyer = _buyer_of(subscription)
    queue_mail(
        "receipt",
        event_key=str(placed.order.key),
        to=[buyer],
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | {
            "name": buyer.name,
            "card": _card_text(card),
            "refund_until_at": (at + settings.REFUND_WINDOW).isoformat(),
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_purchase_notice(*, placed: Placed, at: datetime) -> None:
    """What somebody bought, to the organization's global and billing admins; the buyer has the receipt."""
    subscription = placed.subscription
    queue_mail(
        "purchase_notice",
        event_key=str(placed.order.key),
        to=[
            admin for admin in billing_admins(subscription.tenant_id) if admin.pk != subscription.purchaser_id
        ],
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, placed.bill)
        | {
            "purchaser": subscription.purchaser_name,
            "purchaser_email": _buyer_of(subscription).email,
            "key": str(subscription.key),
            "link": purchase_link(subscription),
            "stop_link": stop_link(subscription),
        },
        at=at,
    )


def queue_central_purchase(
    *,
    subscription: Subscription,
    bill: Bill | None,
    quote: CentralQuote,
    order_key: uuid.UUID,
    by: Actor,
    at: datetime,
) -> None:
    """What was bought for the organization, to its other global and billing admins; its bill comes by a mail of its own.

    `bill` None: it starts later, and nothing is billed before.
    """
    queue_mail(
        "central_purchase",
        event_key=str(order_key),
        to=[admin for admin in billing_admins(subscription.tenant_id) if admin.pk != by.user_id],
        tenant_id=subscription.tenant_id,
        context=about(subscription)
        | {
            "by": by.label,
            "partner": by.partner_name,
            "bill_number": bill.number if bill is not None else "",
            "subtotal_minor": quote.subtotal_minor,
            "tax_name": quote.tax_name,
            "tax_rate": quote.tax_rate,
            "tax_minor": quote.tax_minor,
            "total_minor": quote.total_minor,
            "reference": subscription.bill_to.own_reference,
            "starts_at": quote.starts_at.isoformat() if quote.is_later else "",
            "period_start_at": quote.starts_at.isoformat(),
            "period_last_at": (quote.ends_at - _INSTANT).isoformat(),
            "days": quote.payment_days,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_taken_over(
    *,
    subscription: Subscription,
    owner: User,
    moved: Sequence[Bill],
    order_key: uuid.UUID,
    by: Actor,
    at: datetime,
) -> None:
    """It is the organization's now: to who owned it, and to the global and billing admins but for who did it.

    `moved`: the bills that were issued anew to the organization.
    """
    agreement = subscription.agreement
    next_charge_at = details.next_charge_at(subscription)
    context = about(subscription) | {
        "by": by.label,
        "partner": by.partner_name,
        "owner": owner.name,
        "owner_has_left": owner.has_left,
        "assigned": subscription.assigned,
        "price_minor": subscription.period_price_minor,
        "moved_minor": sum(bill.total_minor for bill in moved),
        "bill_numbers": ", ".join(bill.number for bill in moved),
        "days": agreement.payment_days if agreement is not None else 0,
        "on_account": agreement is not None,
        "next_charge_at": next_charge_at.isoformat() if next_charge_at else "",
        "link": purchase_link(subscription),
    }
    admins = [
        admin for admin in billing_admins(subscription.tenant_id) if admin.pk not in (by.user_id, owner.pk)
    ]
    for readers, is_for_owner in (([owner], True), (admins, False)):
        queue_mail(
            "taken_over",
            event_key=str(order_key),
            to=readers,
            tenant_id=subscription.tenant_id,
            context=context | {"is_for_owner": is_for_owner},
            at=at,
        )


def queue_take_over_undone(
    *, subscription: Subscription, owner: User, moved: Sequence[Bill], by: Actor, at: datetime
) -> None:
    """It is the purchaser's again: to the purchaser. `moved`: the bills that were issued anew to them."""
    next_charge_at = details.next_charge_at(subscription)
    queue_mail(
        "take_over_undone",
        event_key=f"{subscription.key}:{subscription.version}",
        to=[owner],
        tenant_id=subscription.tenant_id,
        context=about(subscription)
        | {
            "by": by.label,
            "partner": by.partner_name,
            "price_minor": subscription.period_price_minor,
            "moved_minor": sum(bill.total_minor for bill in moved),
            "bill_numbers": ", ".join(bill.number for bill in moved),
            "next_charge_at": next_charge_at.isoformat() if next_charge_at else "",
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_cancel_request(
    *, request: CancelRequest, subscription: Subscription, by: Actor, stage: str, at: datetime
) -> None:
    """The purchaser is asked to cancel, or no longer: `stage` is `asked` or `withdrawn`. Its reminders are a sweep's."""
    link = purchase_link(subscription)
    queue_mail(
        "cancel_request",
        event_key=f"{request.pk}:{stage}",
        to=[request.purchaser],
        tenant_id=request.tenant_id,
        context=about(subscription)
        | {
            "stage": stage,
            "by": by.label,
            "partner": by.partner_name,
            "message": request.message,
            "asked_at": request.asked_at.isoformat(),
            "is_last": False,
            "assigned": subscription.assigned,
            "price_minor": subscription.period_price_minor,
            "renews_at": subscription.term_end.isoformat(),
            "next_charge_at": subscription.due_at.isoformat() if subscription.due_at else "",
            # The page that says what canceling does and has the button; the link itself does nothing.
            "link": f"{link}cancel/" if stage == "asked" else link,
        },
        at=at,
    )


def queue_trial_started(
    *, subscription: Subscription, with_card: bool, total_minor: int, card: Card | None, at: datetime
) -> None:
    """What was started, when it ends, and what happens then: to who started it, at once."""
    buyer = _buyer_of(subscription)
    queue_mail(
        "trial_started",
        event_key=str(subscription.key),
        to=[buyer],
        tenant_id=subscription.tenant_id,
        context=about(subscription)
        | {
            "name": buyer.name,
            "with_card": with_card,
            "total_minor": total_minor,
            "tax_name": subscription.tax_name,
            "card": _card_text(card),
            "last_day_at": (subscription.period_end - _INSTANT).isoformat(),
            "ends_at": subscription.period_end.isoformat(),
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_seats_added(*, placed: Placed, card: Card | None, at: datetime) -> None:
    """More seats, with their bill: to who owns the subscription, for the organization's to its billing admins."""
    subscription, bill = placed.subscription, placed.bill
    line = bill.lines.get()
    queue_mail(
        "seats_changed",
        event_key=str(placed.order.key),
        to=_owners(subscription),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | {
            "change": "added",
            "by": placed.order.actor_label,
            "count": line.quantity,
            "quantity_before": subscription.quantity - line.quantity,
            "assigned": subscription.assigned,
            "card": _card_text(card),
            "on_account": bill.collection == Bill.Collection.ON_ACCOUNT,
            "due_at": bill.due_at.isoformat(),
            "refund_until_at": (at + settings.REFUND_WINDOW).isoformat(),
            "recurring_billing": subscription.recurring_billing,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_seats_removed(
    *,
    subscription: Subscription,
    order: Order,
    credit_notes: Sequence[Bill],
    quote_total_minor: int,
    count: int,
    at: datetime,
) -> None:
    """Fewer seats at once, with what is given back for them; the refund's own mail follows when it was made."""
    first = credit_notes[0]
    queue_mail(
        "seats_changed",
        event_key=str(order.key),
        to=_owners(subscription),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, first)
        | {
            "change": "removed",
            "by": order.actor_label,
            "count": count,
            "quantity_before": subscription.quantity + count,
            "bill_number": ", ".join(note.number for note in credit_notes),
            "total_minor": quote_total_minor,
            "on_account": first.collection == Bill.Collection.ON_ACCOUNT,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_change_scheduled(*, subscription: Subscription, by: str, at: datetime) -> None:
    """What will change at the renewal, and that it can be taken back until then."""
    with tenant_atomic(subscription.tenant_id):
        organization = Tenant.objects.get(pk=subscription.tenant_id).name
    plan = subscription.next_plan or subscription.plan
    queue_mail(
        "seats_changed",
        event_key=f"{subscription.key}:{subscription.version}",
        to=_owners(subscription),
        tenant_id=subscription.tenant_id,
        context={
            "change": "scheduled",
            "by": by,
            "organization": organization,
            "vendor": subscription.vendor_entity.name,
            "product": subscription.product.name,
            "quantity_before": subscription.quantity,
            "quantity": subscription.next_quantity or subscription.quantity,
            "plan_code": plan.code,
            "renews_at": subscription.term_end.isoformat(),
            "time_zone": subscription.time_zone,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_reactivated(*, placed: Placed, card: Card | None, at: datetime) -> None:
    """It is back, with its bill: to who owns it, for the organization's to its billing admins."""
    subscription, bill = placed.subscription, placed.bill
    queue_mail(
        "reactivated",
        event_key=str(placed.order.key),
        to=_owners(subscription),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | {
            "by": placed.order.actor_label,
            "assigned": subscription.assigned,
            "card": _card_text(card),
            "on_account": bill.collection == Bill.Collection.ON_ACCOUNT,
            "due_at": bill.due_at.isoformat(),
            "refund_until_at": (at + settings.REFUND_WINDOW).isoformat(),
            "term_months": subscription.term_months,
            "renews_at": subscription.term_end.isoformat(),
            "link": purchase_link(subscription),
        },
        at=at,
    )


def _owners(subscription: Subscription) -> list[User]:
    """Who is told of a change: the owner while active, else the organization's billing admins."""
    owner: User | None = subscription.owner_user
    if owner is not None and owner.is_active:
        return [owner]
    return billing_admins(subscription.tenant_id)


def queue_renewal_receipt(*, bill: Bill, card: Card | None, at: datetime, recovered: bool = False) -> None:
    """The receipt of a bill that a card paid, to who pays; when that person left, to the billing admins.

    `recovered`: it had failed before, and the mail says first that all is well again. The first bill after a trial
    says first that it turned paid.
    """
    queue_mails(renewal_receipt(bill=bill, card=card, recovered=recovered, at=at))


def renewal_receipt(
    *, bill: Bill, card: Card | None, at: datetime, recovered: bool = False
) -> list[OutgoingMail]:
    """What `queue_renewal_receipt` queues; a sweep collects many."""
    subscription: Subscription = bill.subscription
    if bill.type == Bill.Type.TRIAL_CONVERSION and not recovered:
        kind = "trial_converted"
    else:
        kind = "payment_recovered" if recovered else "renewal_receipt"
    return mails(
        kind,
        event_key=bill.number,
        to=_payers(bill),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | _who_pays(bill)
        | {
            "card": _card_text(card),
            "refund_until_at": (at + settings.REFUND_WINDOW).isoformat(),
            "recurring_billing": subscription.recurring_billing,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_refund(*, bill: Bill, refund: RefundAttempt, at: datetime) -> None:
    """What was given back to the card that paid `bill`, to the payer; who left is told nothing, the admins are."""
    subscription: Subscription = bill.subscription
    note = refund.credit_note
    queue_mail(
        "refund",
        event_key=refund.key,
        to=_payers(bill),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | _who_pays(bill)
        | {
            "card": _card_text(refund.payment.card),
            "credit_note_number": note.number,
            "reason": note.type,
            "subtotal_minor": -note.subtotal_minor,
            "tax_minor": -note.tax_minor,
            "total_minor": refund.amount_minor,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_bill_corrected(*, old: Bill, credit_note: Bill, bill: Bill, at: datetime) -> None:
    """The bill in place of a wrong one, with the credit note over that one, to who pays."""
    subscription: Subscription = old.subscription
    queue_mail(
        "bill_corrected",
        event_key=old.number,
        to=_payers(bill),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | _who_pays(bill)
        | {
            "old_number": old.number,
            "credit_note_number": credit_note.number,
            "is_paid": bill.status == Bill.Status.PAID,
            "due_at": bill.due_at.isoformat(),
            "link": bill_link(bill),
        },
        at=at,
    )


def queue_canceled(
    *,
    subscription: Subscription,
    by: Actor,
    ending: str,
    refund_minor: int,
    credited_minor: int,
    owed_minor: int,
    still_minor: int,
    at: datetime,
) -> None:
    """What canceling did: to the owner, for the organization's to its billing admins. The refund's own mail follows."""
    is_disabled = subscription.state == Subscription.State.DISABLED
    queue_mail(
        "canceled",
        event_key=f"{subscription.key}:{subscription.version}",
        to=_owners(subscription),
        tenant_id=subscription.tenant_id,
        context=about(subscription)
        | {
            "ending": ending,
            "by": by.label,
            "assigned": subscription.assigned,
            "refund_minor": refund_minor,
            "credited_minor": credited_minor,
            "owed_minor": owed_minor,
            "still_minor": still_minor,
            "last_day_at": (subscription.term_end - _INSTANT).isoformat(),
            "deleted_at": subscription.due_at.isoformat() if is_disabled and subscription.due_at else "",
            "link": purchase_link(subscription),
        },
        at=at,
    )


def queue_payment_failed(*, bill: Bill, at: datetime) -> None:
    """A bill could not be charged, or still is not paid: how to pay it, the next try, and the last day."""
    subscription: Subscription = bill.subscription
    queue_mail(
        "payment_failed",
        event_key=f"{bill.number}:{bill.tries}:{bill.dunning_step}",
        to=_payers(bill),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | _who_pays(bill)
        | {
            "decline": bill.last_decline,
            "needs_cardholder": bill.decline_kind == "auth",
            "is_stopped": bill.decline_kind == "off",
            "is_refused": bill.last_decline in (REFUSED, TOO_SMALL),
            "next_try_at": bill.charge_due_at.isoformat() if bill.charge_due_at else "",
            "pay_by_at": subscription.pay_by_at.isoformat() if subscription.pay_by_at else "",
            "link": pay_link(bill),
        },
        at=at,
    )


def queue_access_ended(*, bill: Bill, at: datetime) -> None:
    """Nothing was paid in time: nobody has access any more, and until when paying brings it back."""
    subscription: Subscription = bill.subscription
    queue_mail(
        "access_ended",
        event_key=bill.number,
        to=_payers(bill),
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | _who_pays(bill)
        | {
            "holders": subscription.assigned,
            "until_at": subscription.due_at.isoformat() if subscription.due_at else "",
            "link": pay_link(bill),
        },
        at=at,
    )


def _payers(bill: Bill) -> list[User]:
    """Who is written to about a bill: the payer while active, else the billing admins (product §11)."""
    payer: User | None = bill.payer
    return [payer] if payer is not None and payer.is_active else billing_admins(bill.tenant_id)


def _who_pays(bill: Bill) -> dict[str, Any]:
    payer: User | None = bill.payer
    return {
        "payer": payer.name if payer is not None else "",
        "payer_left": payer is not None and not payer.is_active,
    }


def bill_link(bill: Bill) -> str:
    return f"{settings.PUBLIC_URL}/admin/billing/bills/{bill.number}/"


def pay_link(bill: Bill) -> str:
    """The page on which a bill is paid; behind sign-in, with no secret in it."""
    return f"{settings.PUBLIC_URL}/admin/billing/bills/{bill.number}/pay/"


def queue_dispute(*, dispute: Dispute, bill: Bill, at: datetime) -> None:
    """A contested charge, how it stands and what it means, to who paid and the global and billing admins."""
    subscription: Subscription = bill.subscription
    payer: User | None = bill.payer
    readers = [payer] if payer is not None else []
    readers += [
        admin for admin in billing_admins(subscription.tenant_id) if payer is None or admin.pk != payer.pk
    ]
    queue_mail(
        "dispute",
        event_key=f"{dispute.processor_id}:{dispute.status}",
        to=readers,
        tenant_id=subscription.tenant_id,
        context=_facts(subscription, bill)
        | {
            "status": dispute.status,
            "contested_minor": dispute.amount_minor,
            "payer": payer.name if payer is not None else "",
            "has_access": subscription.state in (Subscription.State.ACTIVE, Subscription.State.EXPIRED),
            "deleted_at": subscription.due_at.isoformat() if subscription.due_at else "",
            "link": purchase_link(subscription),
        },
        at=at,
    )


def stop_link(subscription: Subscription) -> str:
    """The page that stops further purchases of the product, after it was said whom that affects."""
    return f"{settings.PUBLIC_URL}/admin/billing/policy/products/{subscription.product.slug}/stop/"


def payment_methods_link() -> str:
    """The page of the payer's cards."""
    return f"{settings.PUBLIC_URL}/admin/billing/payment-methods/"


def _facts(subscription: Subscription, bill: Bill) -> dict[str, Any]:
    return about(subscription) | {
        "bill_number": bill.number,
        "currency": bill.currency,
        "subtotal_minor": bill.subtotal_minor,
        "tax_name": bill.tax_name,
        "tax_rate": f"{bill.tax_rate.normalize():f}",
        "tax_minor": bill.tax_minor,
        "total_minor": bill.total_minor,
        "period_start_at": bill.period_start.isoformat(),
        "period_last_at": (bill.period_end - _INSTANT).isoformat(),
        "next_charge_at": bill.period_end.isoformat(),
    }


def _buyer_of(subscription: Subscription) -> User:
    """Who bought it; only a central purchase may have nobody."""
    assert subscription.purchaser is not None
    buyer: User = subscription.purchaser
    return buyer


def _card_text(card: Card | None) -> dict[str, str] | None:
    return {"brand": card.brand, "last4": card.last4} if card else None
