"""What stands beside a product: the vendor's links, the organization's own, and partners' solutions (product §12, §14)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext_lazy as _

from commerce.models import Product, TrainingLink
from commerce.queries.solutions import Shown, solutions_of
from config.kit.actors import Actor
from config.kit.errors import Text
from config.kit.tenancy import tenant_atomic

# The kinds of the vendor's links in the order in which they are shown.
LINK_KINDS: Final[dict[str, Text]] = {
    "learning": _("Learning path"),
    "documentation": _("Documentation"),
    "samples": _("Samples"),
    "community": _("Community"),
}


@dataclass(frozen=True, slots=True)
class Beside:
    """`links` are dictionaries of `kind`, `title`, `note` and `url`; `own` are the organization's, in its order."""

    links: Sequence[dict[str, str]]
    own: Sequence[TrainingLink]
    solutions: Sequence[Shown]


def beside(product: Product, actor: Actor | None) -> Beside:
    """Whatever is shown of a product at its page, after the purchase and beside the license, by one place.

    Without anybody signed in, what everybody sees. One query, and one in a transaction for who is signed in.
    """
    solutions = solutions_of(product)
    if actor is None:
        return Beside(product.links, (), solutions)
    with tenant_atomic(actor):
        own = TrainingLink.objects.visible_to(actor).filter(product=product).order_by("position")
        return Beside(product.links, list(own), solutions)


def own_links(actor: Actor) -> Sequence[TrainingLink]:
    """All of the organization's, by product and in its order. One query."""
    rows = TrainingLink.objects.visible_to(actor).select_related("product")
    return list(rows.order_by("product__name", "product_id", "position"))
