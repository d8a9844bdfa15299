"""Mails that sweeps queue in their own statement: what all of them say about a subscription (product §15)."""

from typing import Any

from django.conf import settings

from commerce.periods import DAYS_LATER_SQL
from directory.operations.mail import QUEUE_SQL

# What every mail about a subscription says, for a row `s` of it joined with product, tenant, vendor entity and plan.
ABOUT_SQL = """
    jsonb_build_object(
        'organization', tenant.name, 'vendor', entity.name, 'product', product.name, 'quantity', s.quantity,
        'plan_code', CASE WHEN plan.term_months = 1 THEN 'monthly' WHEN plan.billing_months = 12 THEN 'yearly'
                          ELSE 'yearly-monthly' END,
        'currency', s.currency, 'time_zone', s.time_zone,
        'link', %(public_url)s || '/admin/billing/your-products/' || s.key || '/')
"""
JOIN_SQL = """
    JOIN commerce_product product ON product.id = s.product_id
    JOIN directory_tenant tenant ON tenant.id = s.tenant_id
    JOIN commerce_vendorentity entity ON entity.id = s.vendor_entity_id
    JOIN commerce_plan plan ON plan.id = s.plan_id
"""

# Whether a list price may hold at a renewal (product §5.3): no rise, another plan that somebody chose, or published
# early enough for the rise to be told, 30 days before the end of a yearly term, a whole period before a monthly one's.
_YEARLY_BY = DAYS_LATER_SQL.format(instant="{ends}", days="-30", zone="{zone}")
IN_TIME_SQL = (
    "(price.unit_price_minor <= {now} OR NOT ({kept}) OR price.published_at <="
    f" CASE WHEN {{term}} = 12 THEN {_YEARLY_BY} ELSE {{starts}} END)"
)

__all__ = ["ABOUT_SQL", "IN_TIME_SQL", "JOIN_SQL", "QUEUE_SQL", "parameters"]


def parameters() -> dict[str, Any]:
    """What the statements need besides those of their batch."""
    return {"public_url": settings.PUBLIC_URL}
