"""What every call in Graph's shapes answers with: its errors, and the parts that several answers have."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Schema
from pydantic import Field

from commerce.models import Product
from directory.models import Tenant

type Provisioning = Literal["Success", "Disabled"]


class ErrorOut(Schema):
    code: str = Field(description="As Graph names the kind of error.")
    message: str = Field(description="For people, in the language asked for.")


class GraphError(Schema):
    """Why a call was refused, as Graph says it."""

    error: ErrorOut


class ServicePlanOut(Schema):
    """The one service plan of a product, which cannot be disabled by itself."""

    servicePlanId: uuid.UUID
    servicePlanName: str
    provisioningStatus: Provisioning
    appliesTo: Literal["User", "Company"]


def graph_answers(good: Any, *more: int) -> dict[int, Any]:
    """The good answer, the errors of every call, and those of this one."""
    return {200: good} | dict.fromkeys((401, 403, 405, 429, 503, *more), GraphError)


def plan_id_of(sku_id: uuid.UUID) -> uuid.UUID:
    """The id of a product's one service plan: always the same for the same SKU."""
    return uuid.uuid5(sku_id, "service-plan")


def service_plans(product: Product, *, gives_access: bool) -> list[ServicePlanOut]:
    """The plans of a product: one. Nobody can use it where nothing `gives_access`."""
    return [
        ServicePlanOut(
            servicePlanId=plan_id_of(product.sku_id),
            servicePlanName=product.sku_part_number,
            provisioningStatus="Success" if gives_access else "Disabled",
            appliesTo="User",
        )
    ]


def only[S: Schema](shape: type[S], facts: Mapping[str, Any], names: frozenset[str]) -> S:
    """An object with the properties that were asked for, and no others; for calls that leave out what is unset."""
    return shape(**{name: facts[name] for name in facts if name in names})


def listed[S: Schema](shape: type[S], rows: Sequence[Schema], next_link: str = "") -> S:
    """A list of such objects as they are: to validate them anew would set the rest of their properties."""
    link: dict[str, Any] = {"@odata.nextLink": next_link} if next_link else {}
    return shape.model_construct(value=rows, **link)


def tenant_of(request: HttpRequest) -> Tenant:
    """The organization that is asked about, as the gate found it."""
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    return tenant
