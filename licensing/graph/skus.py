"""What an organization has bought: by product as `subscribedSkus`, and purchase by purchase."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.models import Subscription
from config.kit import access
from config.kit.api import actor_of
from config.kit.errors import Malformed
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.graph.odata import (
    Chosen,
    Filters,
    Paged,
    Value,
    check_options,
    conditions,
    id_of,
    instant,
    next_link,
    selected,
    text_of,
    truth_of,
)
from licensing.graph.shapes import ServicePlanOut, graph_answers, listed, only, service_plans, tenant_of
from licensing.queries.skus import SHOWN, Sku, skus_of, subscription_shown, subscriptions_page

READ = access.token("licenses.read", sees=Capability.SEE_LICENSES)

type Status = Literal["Enabled", "Warning", "Suspended", "LockedOut", "Deleted"]

skus = Router(tags=["In the shapes of Microsoft Graph"])
subscriptions = Router(tags=["In the shapes of Microsoft Graph"])

_State = Subscription.State
_CANCELED = Q(disabled_reason=Subscription.DisabledReason.CANCELED)
# What Graph calls each state. What has not begun is in neither list.
_ROWS: dict[str, Q] = {
    "Enabled": Q(state=_State.ACTIVE),
    "Warning": Q(state=_State.EXPIRED),
    "Suspended": Q(state=_State.DISABLED) & ~_CANCELED,
    "LockedOut": Q(state=_State.DISABLED) & _CANCELED,
    "Deleted": Q(state=_State.DELETED),
}


class UnitsOut(Schema):
    """Licenses by what their purchases are: active, expired, disabled, canceled."""

    enabled: int
    warning: int
    suspended: int
    lockedOut: int


class SubscribedSkuOut(Schema):
    """All purchases of one product together."""

    id: str = ""
    accountId: str = ""
    accountName: str = ""
    appliesTo: Literal["User", "Company"] = "User"
    capabilityStatus: Status = "Enabled"
    consumedUnits: int = Field(0, description="Assigned and usable, of those enabled and in warning.")
    prepaidUnits: UnitsOut | None = None
    servicePlans: list[ServicePlanOut] = []
    skuId: UUID | None = None
    skuPartNumber: str = ""
    subscriptionIds: list[str] = []


class SubscribedSkus(Schema):
    value: list[SubscribedSkuOut]


class CompanySubscriptionOut(Schema):
    """One purchase, without its price."""

    id: str = ""
    commerceSubscriptionId: str = ""
    createdDateTime: datetime | None = None
    nextLifecycleDateTime: datetime | None = Field(
        None, description="When its status changes unless it is renewed or paid; null when that was final."
    )
    isTrial: bool = False
    ownerId: str | None = Field(None, description="Of a self-service purchase, who owns it.")
    ownerTenantId: str | None = Field(None, description="Always null.")
    ownerType: Literal["User"] | None = Field(None, description="Null where the organization owns it.")
    serviceStatus: list[ServicePlanOut] = []
    skuId: str = ""
    skuPartNumber: str = ""
    status: Status = "Enabled"
    totalLicenses: int = 0


class CompanySubscriptions(Schema):
    value: list[CompanySubscriptionOut]
    next_link: str = Field("", alias="@odata.nextLink", description="Absent on the last page.")


SKU_PROPERTIES = tuple(SubscribedSkuOut.model_fields)
PROPERTIES = tuple(CompanySubscriptionOut.model_fields)


def _by(look_up: str, read: Callable[[Value], Any]) -> Callable[[Value], Q]:
    return lambda value: Q(**{look_up: read(value)})


def _of_status(value: Value) -> Q:
    if value not in _ROWS:
        raise Malformed(_("There is no such status."), field="$filter")
    return _ROWS[text_of(value)]


def _trial(value: Value) -> Q:
    is_trial = Q(channel=Subscription.Channel.TRIAL)
    return is_trial if truth_of(value) else ~is_trial


def _of_owner_type(value: Value) -> Q:
    by_type = {"User": Q(owner_kind=Subscription.Owner.PERSON)}
    return by_type.get(text_of(value), Q(pk__in=[]))


FILTERS: Filters = {
    ("id", "eq"): _by("key", id_of),
    ("commerceSubscriptionId", "eq"): _by("key", id_of),
    ("skuId", "eq"): _by("product__sku_id", id_of),
    ("skuPartNumber", "eq"): _by("product__sku_part_number", text_of),
    ("ownerId", "eq"): _by("owner_user__key", id_of),
    ("ownerType", "eq"): _of_owner_type,
    ("isTrial", "eq"): _trial,
    ("status", "eq"): _of_status,
}


@skus.get("", response=graph_answers(SubscribedSkus, 400), url_name="graph-skus", exclude_unset=True)
@READ
def list_subscribed_skus(request: HttpRequest, wanted: Chosen = Query(...)) -> SubscribedSkus:
    """Every product of which the token's person sees a purchase, with how many licenses there are and are used."""
    check_options(request, Chosen)
    names = selected(wanted.select, SKU_PROPERTIES, usual=SKU_PROPERTIES)
    tenant = tenant_of(request)
    facts = [_sku(sku, str(tenant.key), tenant.name) for sku in skus_of(actor_of(request))]
    return listed(SubscribedSkus, [only(SubscribedSkuOut, each, names) for each in facts])


@subscriptions.get(
    "",
    response=graph_answers(CompanySubscriptions, 400),
    url_name="graph-subscriptions",
    exclude_unset=True,
    by_alias=True,
)
@READ
def list_company_subscriptions(request: HttpRequest, wanted: Paged = Query(...)) -> CompanySubscriptions:
    """Every purchase that has begun, by product; deleted ones where `status` is asked for."""
    check_options(request, Paged)
    names = selected(wanted.select, PROPERTIES, usual=PROPERTIES)
    named, asked = conditions(wanted.filter, FILTERS)
    rows = asked if "status" in named else asked & SHOWN
    page = subscriptions_page(actor_of(request), rows, cursor=wanted.skiptoken, size=wanted.top)
    shown = [only(CompanySubscriptionOut, _subscription(row), names) for row in page.rows]
    return listed(CompanySubscriptions, shown, next_link(request, page))


@subscriptions.get(
    "/{uuid:subscription_id}",
    response=graph_answers(CompanySubscriptionOut, 400, 404),
    url_name="graph-subscription",
    exclude_unset=True,
)
@READ
def get_company_subscription(
    request: HttpRequest, subscription_id: UUID, wanted: Chosen = Query(...)
) -> CompanySubscriptionOut:
    """One purchase that has begun."""
    check_options(request, Chosen)
    names = selected(wanted.select, PROPERTIES, usual=PROPERTIES)
    row = subscription_shown(actor_of(request), subscription_id)
    return only(CompanySubscriptionOut, _subscription(row), names)


def _sku(sku: Sku, account_id: str, account_name: str) -> dict[str, Any]:
    units = UnitsOut(enabled=sku.active, warning=sku.expired, suspended=sku.disabled, lockedOut=sku.canceled)
    return {
        "id": f"{account_id}_{sku.product.sku_id}",
        "accountId": account_id,
        "accountName": account_name,
        "appliesTo": "User",
        "capabilityStatus": _capability(units),
        "consumedUnits": sku.assigned,
        "prepaidUnits": units,
        "servicePlans": service_plans(sku.product, gives_access=sku.gives_access),
        "skuId": sku.product.sku_id,
        "skuPartNumber": sku.product.sku_part_number,
        "subscriptionIds": [str(key) for key in sku.keys],
    }


def _capability(units: UnitsOut) -> Status:
    if units.enabled:
        return "Enabled"
    if units.warning:
        return "Warning"
    return "Suspended" if units.suspended else "LockedOut"


def _subscription(row: Subscription) -> dict[str, Any]:
    owner = row.owner_user
    return {
        "id": str(row.key),
        "commerceSubscriptionId": str(row.key),
        "createdDateTime": instant(row.created_at),
        "nextLifecycleDateTime": instant(_next_change(row)),
        "isTrial": row.channel == Subscription.Channel.TRIAL,
        "ownerId": str(owner.key) if owner else None,
        "ownerTenantId": None,
        "ownerType": "User" if owner else None,
        "serviceStatus": service_plans(row.product, gives_access=row.state in GIVES_ACCESS),
        "skuId": str(row.product.sku_id),
        "skuPartNumber": row.product.sku_part_number,
        "status": _status(row),
        "totalLicenses": row.quantity,
    }


def _status(row: Subscription) -> Status:
    match row.state:
        case _State.ACTIVE:
            return "Enabled"
        case _State.EXPIRED:
            return "Warning"
        case _State.DELETED:
            return "Deleted"
    is_canceled = row.disabled_reason == Subscription.DisabledReason.CANCELED
    return "LockedOut" if is_canceled else "Suspended"


def _next_change(row: Subscription) -> datetime | None:
    """While active the end of the term, or of the time to pay; then the end of the state."""
    if row.state == _State.ACTIVE:
        at: datetime = row.pay_by_at or row.term_end
        return at
    return None if row.state == _State.DELETED else row.due_at
