"""Everything that one purchase's page shows, apart from who holds its licenses (product §8)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from commerce import states
from commerce.models import Bill, Subscription, SubscriptionEvent
from commerce.queries.subscriptions import Row
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.money import tax_on
from directory.models import User
from directory.permissions import Capability

MOST_BILLS = 120
MOST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One bill in a purchase's order history. What the reader may not see is empty: number, amount."""

    issued_at: datetime
    type: str
    months: int
    quantity: int
    currency: str
    total_minor: int | None
    number: str
    status: str
    status_label: str


def purchase(actor: Actor, key: uuid.UUID) -> Subscription:
    """The purchase with product, plan, purchaser and card. One query.

    :raises NotVisible: missing, or not for this person.
    """
    rows = Subscription.objects.visible_to(actor, Capability.SEE_PURCHASES)
    subscription: Subscription | None = (
        rows.select_related("product", "plan", "next_plan", "purchaser", "owner_user", "card")
        .filter(key=key)
        .first()
    )
    if subscription is None:
        raise NotVisible
    return subscription


def status_of(subscription: Subscription | Row) -> states.Status:
    """The badge and the next date of a purchase, or of its line in the list."""
    return states.status_of(
        state=subscription.state,
        channel=subscription.channel,
        recurring_billing=subscription.recurring_billing,
        payment_failed_at=subscription.payment_failed_at,
        next_try_at=subscription.next_try_at,
        pay_by_at=subscription.pay_by_at,
        parked_at=subscription.parked_at,
        due_at=subscription.due_at,
        term_end=subscription.term_end,
    )


def life_of(subscription: Subscription, *, recurring_billing: bool | None = None) -> list[states.Step]:
    """What happens next, as things stand or as they would with recurring billing switched."""
    began = {
        Subscription.State.EXPIRED: subscription.expired_at,
        Subscription.State.DISABLED: subscription.disabled_at,
        Subscription.State.DELETED: subscription.deleted_at,
    }
    is_on = subscription.recurring_billing if recurring_billing is None else recurring_billing
    return states.life_of(
        state=subscription.state,
        recurring_billing=is_on,
        due_at=subscription.due_at,
        term_end=subscription.term_end,
        ended_at=began.get(Subscription.State(subscription.state)),
        expired_days=subscription.product.expired_days,
        disabled_days=subscription.product.disabled_days,
        time_zone=subscription.time_zone,
        channel=subscription.channel,
        next_try_at=subscription.next_try_at,
        pay_by_at=subscription.pay_by_at,
    )


def next_charge_at(subscription: Subscription) -> datetime | None:
    """When the next period is billed, as things stand; None when nothing more is."""
    return states.next_charge_at(
        state=subscription.state,
        recurring_billing=subscription.recurring_billing,
        due_at=subscription.due_at,
        term_end=subscription.term_end,
    )


def charge_with_tax(subscription: Subscription) -> int:
    """What the next bill comes to, at the price and tax of the subscription, in minor units."""
    if subscription.due_at is not None and subscription.due_at >= subscription.term_end:
        return renewal_with_tax(subscription)
    return _with_tax(subscription, subscription.quantity)


def renewal_with_tax(subscription: Subscription) -> int:
    """What the next renewal comes to at the present price: with the number that is scheduled for it, if one is."""
    return _with_tax(subscription, subscription.next_quantity or subscription.quantity)


def _with_tax(subscription: Subscription, quantity: int) -> int:
    net: int = quantity * subscription.unit_price_minor
    return net + tax_on(net, subscription.tax_rate)


def charges_left(subscription: Subscription) -> int:
    """How many bills of the running term are still to come."""
    return states.charges_left(
        due_at=subscription.due_at,
        term_end=subscription.term_end,
        billing_months=subscription.billing_months,
        time_zone=subscription.time_zone,
    )


def still_to_be_charged(subscription: Subscription) -> int:
    """What the running term still costs, tax included: each later bill is rounded by itself."""
    return charges_left(subscription) * charge_with_tax(subscription)


def order_history(actor: Actor, subscription: Subscription, *, only_own: bool = False) -> list[HistoryEntry]:
    """The bills of a purchase, latest first, at most 120. One query.

    Amounts as far as `SEE_BILL_AMOUNTS` reaches, numbers and payment as far as `SEE_BILLS` does. `only_own`:
    those that the person had to pay, whoever owns the purchase now.
    """
    bills = Bill.objects.filter(tenant_id=actor.tenant_id, subscription=subscription)
    if only_own:
        bills = bills.filter(payer_id=actor.user_id)
    latest = bills.annotate(quantity=Sum("lines__quantity")).order_by("-id")[:MOST_BILLS]
    return [_entry(actor, subscription, bill) for bill in latest]


def _entry(actor: Actor, subscription: Subscription, bill: Bill) -> HistoryEntry:
    whose = {
        "is_own": bill.payer_id is not None and bill.payer_id == actor.user_id,
        "is_org": bill.payer_id is None,
    }
    sees_bill = actor.reaches(Capability.SEE_BILLS, **whose)
    sees_amount = sees_bill or actor.reaches(Capability.SEE_BILL_AMOUNTS, **whose)
    return HistoryEntry(
        issued_at=bill.issued_at,
        type=bill.type,
        months=subscription.billing_months,
        quantity=bill.quantity or 0,  # type: ignore[attr-defined]
        currency=bill.currency,
        total_minor=bill.total_minor if sees_amount else None,
        number=bill.number if sees_bill else "",
        status=bill.status,
        status_label=str(states.bill_status_of(bill.status, is_credit_note=bill.credits_id is not None).label)
        if sees_bill
        else "",
    )


def change_log(actor: Actor, subscription: Subscription) -> list[SubscriptionEvent]:
    """The latest twenty events, for whoever may read the trail of this purchase; else nothing. One query."""
    whose = {"is_own": subscription.is_owned_by(actor), "is_org": subscription.is_organizations}
    if not (
        actor.reaches(Capability.SEE_AUDIT, **whose) or actor.reaches(Capability.SEE_AUDIT_BILLING, **whose)
    ):
        return []
    events = SubscriptionEvent.objects.filter(tenant_id=actor.tenant_id, subscription=subscription)
    return list(events.order_by("-id")[:MOST_EVENTS])


def people_of(events: Sequence[SubscriptionEvent]) -> dict[int, str]:
    """The names of those whom events name, by id; of who was deleted, what stands for the name. One query, or none."""
    ids = {pk for event in events for pk in event.facts.get("user_ids", ())}
    if not ids:
        return {}
    rows = User.objects.filter(tenant_id=events[0].tenant_id, pk__in=ids)
    return dict(rows.values_list("pk", "name"))
