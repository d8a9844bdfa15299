"""What waits for the vendor's staff among purchases and money, of all organizations (docs/adr/0034)."""

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from config.kit.listings import Listing

# How long the reconciler has before somebody is asked to look (I-16).
CHARGE_WAITS = timedelta(hours=1)
REFUND_WAITS = timedelta(days=1)


class Parked(NamedTuple):
    """A subscription that could not be renewed, ended or billed."""

    id: int
    key: uuid.UUID
    tenant_id: int
    organization: str
    product: str
    reason: str
    parked_at: datetime
    due_at: datetime | None


class StuckCharge(NamedTuple):
    """A charge without an outcome, or one to be given back. `bill` is empty for a checkout's, `reason` for the usual one."""

    id: int
    tenant_id: int
    organization: str
    bill: str
    amount_minor: int
    currency: str
    state: str
    reason: str
    intent_id: str
    created_at: datetime
    updated_at: datetime

    @property
    def is_mismatch(self) -> bool:
        return self.reason == "mismatch"

    @property
    def is_to_refund(self) -> bool:
        return self.reason == "to_refund"


class RefusedBill(NamedTuple):
    """An open bill whose charge the processor does not take. `reason`: a decline code of ours."""

    id: int
    tenant_id: int
    organization: str
    bill: str
    product: str
    amount_minor: int
    currency: str
    reason: str
    failed_at: datetime
    pay_by_at: datetime | None

    @property
    def is_too_small(self) -> bool:
        return self.reason == "amount_too_small"


class StuckRefund(NamedTuple):
    """A refund that failed while its credit note is owed, or one without an outcome. `note`: the credit note's number."""

    id: int
    tenant_id: int
    organization: str
    note: str
    amount_minor: int
    currency: str
    state: str
    reason: str
    refund_id: str
    created_at: datetime
    updated_at: datetime

    @property
    def has_failed(self) -> bool:
        return self.state == "failed"


class ProcessorEvent(NamedTuple):
    """Something that the processor told, and whose it is, where that is known. `bill`: the number of the one it paid."""

    id: int
    event_id: str
    type: str
    object_id: str
    received_at: datetime
    handled_at: datetime | None
    tenant_id: int | None
    organization: str
    bill: str


# Filter: a part of the organization's name.
PARKED = Listing("staff_parked_subscriptions", Parked, filters=1)
REFUSED_BILLS = Listing("staff_refused_bills", RefusedBill, filters=1)
# Filters: a part of the organization's name, and the instant since which nothing has moved.
STUCK_CHARGES = Listing("staff_stuck_charges", StuckCharge, filters=2)
STUCK_REFUNDS = Listing("staff_stuck_refunds", StuckRefund, filters=2)
# Filters: `waiting`, `handled` or empty; an event's, object's or type's whole name.
PROCESSOR_EVENTS = Listing("staff_processor_events", ProcessorEvent, filters=2)
