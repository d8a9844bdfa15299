"""What a tenant allows, and what it tells those who may not buy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import F, Value

from config.kit.actors import Actor
from policies.models import (
    CategoryPolicy,
    GroupPolicy,
    OfferType,
    OfferTypePolicy,
    PolicyValue,
    ProductPolicy,
    TenantPolicy,
)
from policies.rule import Effective, GroupValue, Rules, Subject, effective
from policies.spending import Basis, Limit, Limits


@dataclass(frozen=True, slots=True)
class ContactText:
    """The organization's own words for people who may not buy; empty when it wrote none."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the tenant has said: the rule's input, and what a person may spend."""

    rules: Rules
    limits: Limits


def policy_of(
    *, actor: Actor, user_id: int | None = None, product_keys: Collection[str] | None = None
) -> Policy:
    """The acting tenant's policy. Two queries, for any number of products.

    `user_id`: with the exceptions for this person's groups; None: the values without groups. `product_keys`: only
    what was said of these products.
    """
    row = TenantPolicy.objects.visible_to(actor).first() or TenantPolicy()
    products = ProductPolicy.objects.visible_to(actor)
    exceptions = GroupPolicy.objects.visible_to(actor).filter(group__memberships__user_id=user_id)
    if product_keys is not None:
        products = products.filter(product_key__in=product_keys)
    said: dict[str, dict[str, str]] = {"product": {}, "category": {}}
    groups: list[GroupValue] = []
    for level, key, group, value in _said(
        products, CategoryPolicy.objects.visible_to(actor), exceptions if user_id is not None else None
    ):
        if group:
            groups.append(GroupValue(level, key, group, value))
        else:
            said[level][key] = value
    return Policy(
        Rules(
            default=row.default_value,
            new_products=row.new_products_value,
            new_since=row.new_products_since,
            categories=said["category"],
            products=said["product"],
            groups=groups,
        ),
        limits_in(row),
    )


def _said(products: Any, categories: Any, exceptions: Any | None) -> Any:
    """Rows of level, key, group's name (empty: everybody) and value, in one query."""
    rows = products.values_list(Value("product"), F("product_key"), Value(""), F("value"))
    others = [categories.values_list(Value("category"), F("category"), Value(""), F("value"))]
    if exceptions is not None:
        others.append(exceptions.values_list(F("level"), F("key"), F("group__name"), F("value")))
    return rows.union(*others, all=True)


def limits_in(row: TenantPolicy) -> Limits:
    """The limits that a tenant's row holds."""
    return Limits(
        currency=row.limits_currency,
        cap=_limit(row.cap_minor, row.cap_basis),
        threshold=_limit(row.threshold_minor, row.threshold_basis),
    )


def _limit(minor: int | None, basis: str) -> Limit | None:
    return None if minor is None else Limit(minor, cast("Basis", basis))


def effective_policy(*, actor: Actor, subject: Subject, user_id: int | None = None) -> Effective:
    """What holds for one product, and where it comes from; for a person, with the exceptions for the groups.

    What was said of a former id holds for the product, and the current key's row wins. Two queries.
    """
    policy = policy_of(actor=actor, user_id=user_id, product_keys=subject.keys)
    return effective(policy.rules, subject)


def effective_policies(
    *, actor: Actor, subjects: Sequence[Subject], user_id: int | None = None
) -> list[Effective]:
    """What holds for each product, in the order given. Two queries for any number."""
    rules = policy_of(actor=actor, user_id=user_id).rules
    return [effective(rules, subject) for subject in subjects]


def offer_type_values(*, actor: Actor) -> dict[OfferType, PolicyValue]:
    """The value of each offer type, in their order; allowed where nothing was said. One query."""
    said = dict(OfferTypePolicy.objects.visible_to(actor).values_list("offer_type", "value"))
    return {kind: PolicyValue(said.get(kind.value, PolicyValue.ENABLED)) for kind in OfferType}


def default_value(*, actor: Actor) -> PolicyValue:
    """The tenant's default. One query."""
    value = TenantPolicy.objects.visible_to(actor).values_list("default_value", flat=True).first()
    return PolicyValue(value or PolicyValue.ENABLED)


def contact_text(*, actor: Actor) -> ContactText:
    """The acting tenant's IT contact text and link. One query."""
    row = TenantPolicy.objects.visible_to(actor).values_list("it_contact_text", "it_contact_url").first()
    return ContactText(*row) if row else ContactText("", "")
