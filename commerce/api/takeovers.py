"""Taking a self-service purchase over: what it would do, and doing it (product §10, §16)."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from commerce.api.purchases import PurchaseOut, purchase_out
from commerce.operations.takeovers import (
    NeedsCard,
    NotTakenOver,
    call_off_charges,
    can_be_taken_over,
    require_may_take_over,
    take_over_now,
)
from commerce.queries import details
from commerce.queries.takeovers import TakeOverPlan, plan_take_over, quote_take_over, read_quote
from config.kit import access
from config.kit.api import In, actor_of, answers, begin_transaction
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability

PREVIEW = access.token("purchases.write", sees=Capability.SEE_PURCHASES, may=Capability.TAKE_OVER)
TAKE_OVER = access.token(
    "purchases.write",
    sees=Capability.SEE_PURCHASES,
    may=Capability.TAKE_OVER,
    owns_transaction=True,
    # Where the organization pays by card, the open bills are charged to it.
    needs_key=True,
)

router = Router(tags=["Purchases"])


class OpenBill(Schema):
    number: str
    totalMinor: int


class TakeOverOut(Schema):
    """What taking it over would do now. Nobody loses a license, and what is paid stays the purchaser's."""

    paysBy: Literal["account", "card"]
    paymentDays: int | None = Field(description="Days to pay a bill on account.")
    currency: str
    periodPriceMinor: int = Field(description="What the organization pays for a billing period, without tax.")
    openBills: list[OpenBill] = Field(description="Move to the organization, with tax.")
    quote: str = Field(description="Send it back to have just this done.")


class TakeOver(In):
    quote: str = Field(max_length=1_000)


@router.get(
    "/{uuid:purchase_id}/take-over", response=answers(TakeOverOut, 404, 409), url_name="purchase-take-over"
)
@PREVIEW
def preview_take_over(request: HttpRequest, purchase_id: UUID) -> TakeOverOut:
    """What taking it over would do now; changes nothing."""
    actor = actor_of(request)
    subscription = details.purchase(actor, purchase_id)
    require_may_take_over(actor, subscription)
    if not can_be_taken_over(subscription):
        raise NotTakenOver
    plan = plan_take_over(subscription)
    if not plan.is_payable:
        raise NeedsCard
    return TakeOverOut(
        paysBy="account" if plan.agreement else "card",
        paymentDays=plan.agreement.payment_days if plan.agreement else None,
        currency=subscription.currency,
        periodPriceMinor=subscription.period_price_minor,
        openBills=_bills(plan),
        quote=quote_take_over(subscription, plan),
    )


@router.post(
    "/{uuid:purchase_id}/take-over",
    response=answers(PurchaseOut, 400, 404, 409),
    url_name="purchase-take-over",
)
@TAKE_OVER
def take_purchase_over(request: HttpRequest, purchase_id: UUID, payload: TakeOver) -> PurchaseOut:
    """Make the organization the owner as the preview said, or not at all."""
    actor = actor_of(request)
    with tenant_atomic(actor):
        require_may_take_over(actor, details.purchase(actor, purchase_id))
    version, seen = read_quote(payload.quote, purchase_id)
    at = now()
    call_off_charges(actor=actor, key=purchase_id, version=version, seen=seen, at=at)
    begin_transaction(request)
    take_over_now(actor=actor, key=purchase_id, version=version, seen=seen, at=at)
    return purchase_out(details.purchase(actor, purchase_id))


def _bills(plan: TakeOverPlan) -> list[OpenBill]:
    return [OpenBill(number=bill.number, totalMinor=bill.total_minor) for bill in plan.bills]
