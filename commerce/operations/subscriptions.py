"""Making a subscription (product §5.1, §5.2)."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from commerce.models import (
    Agreement,
    BillTo,
    CancelRequest,
    Card,
    Market,
    Plan,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.cancel_answers import close_cancel_request
from commerce.periods import days_later, instants, local_date
from config.kit.actors import Actor
from directory.models import Tenant, User
from directory.models.people import fold
from directory.operations.audit import record


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed; copied to the subscription, where it stays whatever the catalogue says later."""

    plan: Plan
    quantity: int
    market: Market
    currency: str
    unit_price_minor: int
    tax_name: str
    tax_rate: Decimal


def activate(
    *,
    actor: Actor,
    tenant: Tenant,
    terms: Terms,
    channel: str,
    owner: User | None,
    purchaser: User | None,
    bill_to: BillTo,
    at: datetime,
    agreement: Agreement | None = None,
    card: Card | None = None,
    starts_on: date | None = None,
    days: int | None = None,
    recurring_billing: bool = True,
) -> Subscription:
    """Write one subscription that is active from the local day of `at` on, and its first period.

    With `starts_on`, a later day, it is Scheduled until the sweep starts and bills it. `days`: a trial, whose one
    period has so many. `owner` None: the organization. Runs inside the transaction that makes the order; that one bills it, records the event and
    calls the hook. Two queries for the calendar.
    """
    product = terms.plan.product
    anchor_date = starts_on or local_date(at, tenant.time_zone)
    period_start, period_end, term_end = instants(
        anchor_date, [0, terms.plan.billing_months, terms.plan.term_months], tenant.time_zone
    )
    if days is not None:
        period_end = term_end = days_later(at, days, tenant.time_zone)
    purchaser_name = purchaser.name if purchaser else actor.label
    purchaser_email = purchaser.email if purchaser else actor.email
    subscription = Subscription.objects.create(
        tenant=tenant,
        product=product,
        plan=terms.plan,
        channel=channel,
        owner_kind=Subscription.Owner.PERSON if owner else Subscription.Owner.ORGANIZATION,
        owner_user=owner,
        purchaser=purchaser,
        agreement=agreement,
        card=card,
        bill_to=bill_to,
        product_sort=fold(product.name),
        purchaser_name=purchaser_name,
        purchaser_sort=fold(purchaser_name),
        search_text=" ".join(fold(part) for part in (product.name, purchaser_name, purchaser_email)),
        quantity=terms.quantity,
        market=terms.market,
        vendor_entity=terms.market.vendor_entity,
        currency=terms.currency,
        unit_price_minor=terms.unit_price_minor,
        period_price_minor=terms.quantity * terms.unit_price_minor,
        tax_name=terms.tax_name,
        tax_rate=terms.tax_rate,
        term_months=terms.plan.term_months,
        billing_months=terms.plan.billing_months,
        time_zone=tenant.time_zone,
        anchor_date=anchor_date,
        state=Subscription.State.SCHEDULED if starts_on else Subscription.State.ACTIVE,
        recurring_billing=recurring_billing,
        period_start=period_start,
        period_end=period_end,
        term_end=term_end,
        due_at=period_start if starts_on else period_end,
        next_reminder_at=at,
        activated_at=None if starts_on else at,
        created_at=at,
    )
    if days is not None:
        return subscription
    record(
        actor,
        "commerce.subscription.purchased",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=product.name,
        after={"channel": channel, "quantity": terms.quantity, "unit_price_minor": terms.unit_price_minor},
    )
    return subscription


def lock_subscription_row(subscription_id: int) -> Subscription:
    """A subscription that is known by its id, locked, with what bills and payments need of it. Two queries.

    The lock comes first and alone: whoever waits for it gets the row as it is then, and a join would still look for
    the card, plan or address that it named before.
    """
    Subscription.objects.select_for_update(no_key=True).only("pk").get(pk=subscription_id)
    subscription: Subscription = Subscription.objects.select_related(
        "product", "plan", "card", "tenant", "owner_user", "vendor_entity", "bill_to"
    ).get(pk=subscription_id)
    return subscription


def remember(
    subscription: Subscription, code: str, *, actor: Actor, at: datetime, **facts: object
) -> SubscriptionEvent:
    """One row of the subscription's own history, in the transaction of what happened."""
    told = event_of(subscription, code, actor=actor, at=at, **facts)
    told.save(force_insert=True)
    return told


def event_of(
    subscription: Subscription, code: str, *, actor: Actor, at: datetime, **facts: object
) -> SubscriptionEvent:
    """One unsaved row of the history; bulk operations collect many and write them at once."""
    label = actor.relationship_label and f"{actor.label} ({actor.relationship_label})"
    return SubscriptionEvent(
        tenant_id=subscription.tenant_id,
        subscription=subscription,
        at=at,
        code=code,
        actor_label=(label or actor.label)[:200],
        facts=facts,
    )


def disable(subscription: Subscription, *, actor: Actor, reason: str, at: datetime, **facts: str) -> None:
    """End access at once: Disabled from now on, Deleted after the product's days; recurring billing goes off.

    `reason` is one of `Subscription.DisabledReason`; `facts` are remembered with it. Inside the transaction that
    locked the subscription; nothing where it is Disabled or Deleted. Two queries for the calendar and the product.
    """
    ended = (Subscription.State.DISABLED, Subscription.State.DELETED)
    if subscription.state in ended:
        return
    before = {"state": subscription.state, "recurring_billing": subscription.recurring_billing}
    drop_scheduled(subscription, actor=actor, at=at)
    close_cancel_request(subscription, CancelRequest.State.ENDED, actor=actor, at=at)
    subscription.state = Subscription.State.DISABLED
    subscription.disabled_at = at
    subscription.disabled_reason = reason
    subscription.due_at = days_later(at, subscription.product.disabled_days, subscription.time_zone)
    subscription.recurring_billing = False
    subscription.next_reminder_at = subscription.next_try_at = subscription.pay_by_at = None
    subscription.parked_at, subscription.parked_reason = None, ""
    subscription.version += 1
    subscription.save(
        update_fields=[
            *("state", "disabled_at", "disabled_reason", "due_at", "recurring_billing", "version"),
            *("next_reminder_at", "next_try_at", "pay_by_at", "parked_at", "parked_reason"),
        ]
    )
    remember(
        subscription,
        "disabled",
        actor=actor,
        at=at,
        reason=reason,
        since=at.isoformat(),
        until=subscription.due_at.isoformat(),
        **facts,
    )
    record(
        actor,
        "commerce.subscription.disabled",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after={"state": subscription.state, "recurring_billing": False, "reason": reason} | facts,
    )


def drop_scheduled(subscription: Subscription, *, actor: Actor, at: datetime) -> None:
    """Forget the changes that were scheduled for a renewal which will not come (product §5.3); nothing without any.

    Inside the transaction that locked the subscription and stops its renewal.
    """
    if subscription.next_quantity is None and subscription.next_plan_id is None:
        return
    dropped = {
        "next_quantity": subscription.next_quantity,
        "next_plan": subscription.next_plan.code if subscription.next_plan else None,
    }
    subscription.next_quantity = None
    subscription.next_plan = None
    subscription.save(update_fields=["next_quantity", "next_plan"])
    remember(subscription, "scheduled_changes_dropped", actor=actor, at=at, **dropped)
    record(
        actor,
        "commerce.scheduled_changes.dropped",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=dropped,
        after={"next_quantity": None, "next_plan": None},
    )
