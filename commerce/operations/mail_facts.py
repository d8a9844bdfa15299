"""What mails about purchases have in common: the facts, the link, and who reads them for the organization."""

from typing import Any

from django.conf import settings

from commerce.models import Subscription
from directory.models import User
from directory.permissions import Role


def about(subscription: Subscription) -> dict[str, Any]:
    """What every mail about a purchase says of it; plain values."""
    return {
        "organization": subscription.tenant.name,
        "vendor": subscription.vendor_entity.name,
        "product": subscription.product.name,
        "quantity": subscription.quantity,
        "plan_code": subscription.plan.code,
        "currency": subscription.currency,
        "time_zone": subscription.time_zone,
    }


def purchase_link(subscription: Subscription) -> str:
    """The purchase's page in the admin center. The path, not the name of its address: a page above must never
    be able to undo an order that was paid."""
    return f"{settings.PUBLIC_URL}/admin/billing/your-products/{subscription.key}/"


def billing_admins(tenant_id: int) -> list[User]:
    """Active global and billing admins, each once."""
    return list(
        User.objects.active()
        .filter(tenant_id=tenant_id, role_assignments__role__in=[Role.GLOBAL_ADMIN, Role.BILLING_ADMIN])
        .order_by("id")
        .distinct("id")
    )
