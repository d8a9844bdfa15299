"""The failed payments of a purchase, with their calendar (product §5.6)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from commerce import dunning
from commerce.models import Bill, Subscription
from config.kit.actors import Actor
from directory.permissions import Capability

type StepKind = Literal["failed", "past", "next", "later", "end"]


@dataclass(frozen=True, slots=True)
class CalendarStep:
    """One day of the calendar: the first failure, a step that is past, the next one, a later one, or the end."""

    kind: StepKind
    at: datetime
    is_try: bool


@dataclass(frozen=True, slots=True)
class FailedPayment:
    """One bill that could not be charged. `number` and the bank's code `decline` are empty for who may not open
    the bill."""

    number: str
    total_minor: int | None
    currency: str
    decline: str
    needs_cardholder: bool
    is_tried_again: bool
    pay_by_at: datetime
    may_pay: bool
    steps: list[CalendarStep]


def failed_payments(actor: Actor, subscription: Subscription) -> list[FailedPayment]:
    """The open bills of a purchase that failed, oldest period first. One query where there are any."""
    if subscription.payment_failed_at is None:
        return []
    bills = Bill.objects.open().filter(
        tenant_id=actor.tenant_id, subscription=subscription, failed_at__isnull=False
    )
    return [_failed(actor, bill) for bill in bills.order_by("period_start", "id")]


def _failed(actor: Actor, bill: Bill) -> FailedPayment:
    whose = {
        "is_own": bill.payer_id is not None and bill.payer_id == actor.user_id,
        "is_org": bill.payer_id is None,
    }
    sees_bill = actor.reaches(Capability.SEE_BILLS, **whose)
    sees_amount = sees_bill or actor.reaches(Capability.SEE_BILL_AMOUNTS, **whose)
    return FailedPayment(
        number=bill.number if sees_bill else "",
        total_minor=bill.total_minor if sees_amount else None,
        currency=bill.currency,
        decline=bill.last_decline if sees_bill else "",
        needs_cardholder=bill.decline_kind == "auth",
        is_tried_again=bill.charge_due_at is not None,
        pay_by_at=_end_of(bill),
        may_pay=actor.reaches(Capability.PAY_BILLS, **whose),
        steps=_calendar(bill),
    )


def _end_of(bill: Bill) -> datetime:
    assert bill.failed_at is not None
    if bill.dunning_step == dunning.END and bill.next_dunning_at is not None:
        return bill.next_dunning_at
    return dunning.deadline(failed_at=bill.failed_at, period_end=bill.period_end)


def _calendar(bill: Bill) -> list[CalendarStep]:
    assert bill.failed_at is not None
    is_try = bill.decline_kind == "soft"
    steps = [CalendarStep("failed", bill.failed_at, is_try=True)]
    for step_at in dunning.steps_of(failed_at=bill.failed_at, period_end=bill.period_end):
        if bill.next_dunning_at is None or step_at < bill.next_dunning_at:
            kind: StepKind = "past"
        else:
            kind = "next" if step_at == bill.next_dunning_at else "later"
        steps.append(CalendarStep(kind, step_at, is_try))
    return [*steps, CalendarStep("end", _end_of(bill), is_try=False)]
