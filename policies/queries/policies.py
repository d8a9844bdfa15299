"""What a tenant allows, and what it tells those who may not buy."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.kit.actors import Actor
from policies.models import PolicyValue, ProductPolicy, TenantPolicy


@dataclass(frozen=True, slots=True)
class ContactText:
    """The organization's own words for people who may not buy; empty when it wrote none."""

    text: str
    url: str


def effective_value(*, actor: Actor, product_keys: Sequence[str]) -> PolicyValue:
    """The value in force for a product: its own, else the tenant's default, else allowed.

    `product_keys`: the current key first, former ones after it; what was said of a former id holds for the
    product, and the current key's row wins. Two queries at most.
    """
    rows = (
        ProductPolicy.objects.visible_to(actor)
        .filter(product_key__in=product_keys)
        .values_list("product_key", "value")
    )
    values = dict(rows)
    for key in product_keys:
        if key in values:
            return PolicyValue(values[key])
    default = TenantPolicy.objects.visible_to(actor).values_list("default_value", flat=True).first()
    return PolicyValue(default) if default else PolicyValue.ENABLED


def contact_text(*, actor: Actor) -> ContactText:
    """The acting tenant's IT contact text and link. One query."""
    row = TenantPolicy.objects.visible_to(actor).values_list("it_contact_text", "it_contact_url").first()
    return ContactText(*row) if row else ContactText("", "")
