"""What every change of the catalogue has in common: one after the other, by staff, in the vendor's trail (docs/adr/0038)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from commerce.models import Plan, Price, Product
from config.kit.actors import Actor
from config.kit.tenancy import connection, tenant_atomic
from directory.models import AuditEntry
from directory.operations import audit
from directory.operations.staff_deeds import require_staff
from directory.staff import StaffCapability

# Of the advisory lock that changes of the catalogue take.
_CATALOGUE = 0x5EA7CA7


@contextmanager
def catalogue_of(staff: Actor) -> Iterator[None]:
    """A transaction under the vendor's setting in which nobody else of the staff changes the catalogue.

    Whoever reads the catalogue waits for nothing.

    :raises NotVisible: not of the staff with that right.
    """
    require_staff(staff, StaffCapability.OPERATE_CATALOGUE)
    with tenant_atomic(staff):
        with connection().cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CATALOGUE])
        yield


def product_entry(staff: Actor, what: str, product: Product, at: datetime, **facts: Any) -> AuditEntry:
    """An unsaved line of the vendor's trail about a product."""
    return audit.entry(
        staff,
        f"commerce.product.{what}",
        at=at,
        target_type="product",
        target_id=product.key,
        target_label=product.name,
        **facts,
    )


def price_entry(staff: Actor, what: str, price: Price, at: datetime, **facts: Any) -> AuditEntry:
    """An unsaved line of the vendor's trail about a price; its plan's product is at hand."""
    plan: Plan = price.plan
    return audit.entry(
        staff,
        f"commerce.price.{what}",
        at=at,
        target_type="product",
        target_id=plan.product.key,
        target_label=f"{plan.product.name}, {plan.code}, {price.market_id}",
        **facts,
    )


def price_facts(price: Price) -> dict[str, Any]:
    """What the trail keeps of a price."""
    return {
        "plan": price.plan.code,
        "market": price.market_id,
        "unit_price_minor": price.unit_price_minor,
        "currency": price.currency,
        "valid_from": price.valid_from.isoformat(),
    }
