"""Purchase policy over the wire, as the MSCommerce module calls it (product §16)."""

from typing import Literal, cast

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from pydantic import Field

from commerce.models import Product
from commerce.queries.catalogue import product_of_id, subject_of, subjects_of
from config.kit import access
from config.kit.api import In, actor_of, answers, one_of
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from directory.permissions import Capability
from policies.models import OfferType, PolicyValue
from policies.operations.policies import change_policies, of_offer_type, set_product_policy
from policies.queries.policies import default_value, effective_policies, effective_policy, offer_type_values

POLICY_ID = "AllowSelfServicePurchase"
DESCRIPTION = "Whether people of the organization may buy or try a product themselves."
READ = access.token("policies.read", sees=Capability.READ_POLICY)
WRITE = access.token("policies.write", sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)

router = Router(tags=["Purchase policy"])

type Value = Literal["Enabled", "Disabled", "OnlyTrialsWithoutPaymentMethod"]
type OfferValue = Literal["Enabled", "Disabled"]
type OfferTypeId = Literal["SaaS", "POWERBIVISUALS", "DYNAMICSCE", "DYNAMICSBC"]


class PolicyOut(Schema):
    """One policy of the organization."""

    id: str
    description: str
    defaultValue: Value = Field(description="What holds for whatever nothing else was said of.")


class ProductPolicyOut(Schema):
    """What holds for one product, for everybody who is in no group with a rule of its own."""

    policyId: str
    scope: Literal["product"]
    productId: str = Field(description="The current id, also where a former one was asked.")
    productName: str
    policyValue: Value


class OfferTypePolicyOut(Schema):
    """What holds for third parties' offers of one type."""

    policyId: str
    scope: Literal["OfferType"]
    scopeId: OfferTypeId
    scopeValue: str = Field(description="Its title.")
    policyValue: OfferValue


class Policies(Schema):
    items: list[PolicyOut]


class ScopedPolicies(Schema):
    items: list[ProductPolicyOut] | list[OfferTypePolicyOut]


class NewValue(In):
    policyValue: str = Field(max_length=40, json_schema_extra=one_of(PolicyValue.values))


@router.get("", response=answers(Policies), url_name="policies")
@READ
def list_policies(request: HttpRequest) -> Policies:
    """The policies there are: one."""
    return Policies(items=[_policy(request)])


@router.get("/{policy_id}", response=answers(PolicyOut, 404), url_name="policy")
@READ
def get_policy(request: HttpRequest, policy_id: str) -> PolicyOut:
    """One policy."""
    _check(policy_id)
    return _policy(request)


@router.get("/{policy_id}/products", response=answers(ScopedPolicies, 400, 404), url_name="policy-products")
@READ
def list_product_policies(request: HttpRequest, policy_id: str, scope: str = "product") -> ScopedPolicies:
    """Every product with what holds for it, or with `scope=OfferType` the offer types of third parties."""
    _check(policy_id)
    actor = actor_of(request)
    match scope.casefold():
        case "product":
            products = list(Product.objects.order_by("name", "id"))
            values = effective_policies(actor=actor, subjects=subjects_of(products))
            pairs = zip(products, values, strict=True)
            return ScopedPolicies(items=[_product(product, held.value) for product, held in pairs])
        case "offertype":
            kinds = offer_type_values(actor=actor)
            return ScopedPolicies(items=[_offer_type(kind, value) for kind, value in kinds.items()])
    raise Malformed(_("The scope is product or OfferType."), field="scope")


@router.get(
    "/{policy_id}/products/{product_id}", response=answers(ProductPolicyOut, 404), url_name="policy-product"
)
@READ
def get_product_policy(request: HttpRequest, policy_id: str, product_id: str) -> ProductPolicyOut:
    """What holds for one product, named by its current or a former id."""
    _check(policy_id)
    product = product_of_id(product_id)
    held = effective_policy(actor=actor_of(request), subject=subject_of(product))
    return _product(product, held.value)


@router.put("/{policy_id}/products/{product_id}", response=answers(ProductPolicyOut, 400, 404))
@WRITE
def set_product_policy_value(
    request: HttpRequest, policy_id: str, product_id: str, payload: NewValue
) -> ProductPolicyOut:
    """Allow a product, for trials only, or not at all; what was bought goes on."""
    _check(policy_id)
    product, actor = product_of_id(product_id), actor_of(request)
    _check_value(payload.policyValue, PolicyValue.values)
    subject = subject_of(product)
    set_product_policy(
        actor=actor, product_keys=subject.keys, value=payload.policyValue, name=product.name, at=now()
    )
    return _product(product, effective_policy(actor=actor, subject=subject).value)


@router.get(
    "/{policy_id}/offerTypes/{offer_type}",
    response=answers(OfferTypePolicyOut, 404),
    url_name="policy-offer-type",
)
@READ
def get_offer_type_policy(request: HttpRequest, policy_id: str, offer_type: str) -> OfferTypePolicyOut:
    """What holds for third parties' offers of one type."""
    _check(policy_id)
    kind = _kind(offer_type)
    return _offer_type(kind, offer_type_values(actor=actor_of(request))[kind])


@router.put("/{policy_id}/offerTypes/{offer_type}", response=answers(OfferTypePolicyOut, 400, 404))
@WRITE
def set_offer_type_policy(
    request: HttpRequest, policy_id: str, offer_type: str, payload: NewValue
) -> OfferTypePolicyOut:
    """Allow third parties' offers of one type, or not; there are no trials of them."""
    _check(policy_id)
    kind, actor = _kind(offer_type), actor_of(request)
    _check_value(payload.policyValue, [PolicyValue.ENABLED, PolicyValue.DISABLED])
    change_policies(actor=actor, changes=[of_offer_type(kind, payload.policyValue)], at=now())
    return _offer_type(kind, offer_type_values(actor=actor)[kind])


def _check(policy_id: str) -> None:
    if policy_id != POLICY_ID:
        raise NotVisible


def _check_value(value: str, values: list[str]) -> None:
    if value not in values:
        raise Malformed(_("That is no value of this policy."), field="policyValue")


def _kind(offer_type: str) -> OfferType:
    """The offer type of an id, case apart as the scope is. :raises NotVisible: of none."""
    found = next((kind for kind in OfferType if kind.value.casefold() == offer_type.casefold()), None)
    if found is None:
        raise NotVisible
    return found


def _policy(request: HttpRequest) -> PolicyOut:
    value = default_value(actor=actor_of(request))
    return PolicyOut(id=POLICY_ID, description=DESCRIPTION, defaultValue=cast("Value", value.value))


def _product(product: Product, value: str) -> ProductPolicyOut:
    return ProductPolicyOut(
        policyId=POLICY_ID,
        scope="product",
        productId=product.key,
        productName=product.name,
        policyValue=cast("Value", value),
    )


def _offer_type(kind: OfferType, value: PolicyValue) -> OfferTypePolicyOut:
    return OfferTypePolicyOut(
        policyId=POLICY_ID,
        scope="OfferType",
        scopeId=cast("OfferTypeId", kind.value),
        scopeValue=str(kind.label),
        policyValue=cast("OfferValue", value.value),
    )
