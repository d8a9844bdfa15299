"""What storage an organization has, and what its products report to use of it (product §13, §16)."""

from datetime import datetime
from typing import Literal, cast

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from config.kit import access
from config.kit.api import In, Instant, actor_of, answers, one_of
from config.kit.clock import now
from config.kit.keyset import PAGE_SIZE
from directory.permissions import Capability
from licensing.models import Consumption
from licensing.operations.capacity import MOST_MEASURED, Measured, report_consumption
from licensing.queries import capacity

READ = access.token("licenses.read", sees=Capability.SEE_CAPACITY)
REPORT = access.token("capacity.write", sees=Capability.SEE_CAPACITY, may=Capability.REPORT_CAPACITY)

type StorageKind = Literal["database", "file", "log"]

router = Router(tags=["Capacity"])


class CapacityOut(Schema):
    """One kind of storage of the whole organization, in MB of 1,000,000 bytes. Only live licenses count."""

    kind: StorageKind
    centralMb: int
    selfServiceMb: int
    totalMb: int
    usedMb: int
    leftMb: int = Field(description="Below zero when more is used than there is.")


class Capacities(Schema):
    items: list[CapacityOut]


class ConsumptionOut(Schema):
    """What an environment of a product was last measured to use."""

    productId: str
    kind: StorageKind
    environment: str
    usedMb: int
    measuredAt: datetime


class Consumptions(Schema):
    items: list[ConsumptionOut]
    next: str | None = Field(description="The cursor of the next page.")


class MeasuredIn(In):
    productId: str = Field(max_length=40, description="The product's current or former id.")
    kind: str = Field(max_length=8, json_schema_extra=one_of(Consumption.Kind.values))
    environment: str = Field(max_length=200, description="Its name, up to 100 letters.")
    usedMb: int = Field(description="In all, not since the last report; zero once it is gone.")
    measuredAt: Instant = Field(strict=False)


class Report(In):
    items: list[MeasuredIn] = Field(description=f"At most {MOST_MEASURED}.")


class Reported(Schema):
    """How many of the figures are new, and how many came late or twice."""

    changed: int
    unchanged: int


@router.get("", response=answers(Capacities), url_name="capacity")
@READ
def get_capacity(request: HttpRequest) -> Capacities:
    """The organization's storage by kind: what licenses give, from which source, what is used and left."""
    return Capacities(
        items=[
            CapacityOut(
                kind=cast("StorageKind", total.kind),
                centralMb=total.central_mb,
                selfServiceMb=total.self_service_mb,
                totalMb=total.total_mb,
                usedMb=total.used_mb,
                leftMb=total.left_mb,
            )
            for total in capacity.totals_of(actor_of(request).tenant_id)
        ]
    )


@router.get("/consumption", response=answers(Consumptions, 400), url_name="capacity-consumption")
@READ
def list_consumption(request: HttpRequest, cursor: str = Query("", max_length=1_000)) -> Consumptions:
    """What each environment uses, the most first, 50 at a time; empty for whoever sees sums alone."""
    page = capacity.consumption_page(actor_of(request), cursor=cursor, size=PAGE_SIZE)
    return Consumptions(
        items=[
            ConsumptionOut(
                productId=row.product.key,
                kind=cast("StorageKind", row.kind),
                environment=row.environment,
                usedMb=row.used_mb,
                measuredAt=row.measured_at,
            )
            for row in page.rows
        ],
        next=page.next or None,
    )


@router.put("/consumption", response=answers(Reported, 400), url_name="capacity-consumption")
@REPORT
def put_consumption(request: HttpRequest, payload: Report) -> Reported:
    """Report what environments use now. What was measured before what is known, or at the same instant, changes nothing."""
    measured = [
        Measured(each.productId, each.kind, each.environment, each.usedMb, each.measuredAt)
        for each in payload.items
    ]
    changed = report_consumption(actor=actor_of(request), measured=measured, at=now())
    return Reported(changed=changed, unchanged=len(measured) - changed)
