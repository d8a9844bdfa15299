"""What partners offer beside a product (product §12)."""

from collections.abc import Sequence
from typing import NamedTuple

from commerce.models import Product, Solution
from config.kit.actors import Actor
from config.kit.tenancy import connection, use_login

MOST_SHOWN = 200


class Shown(NamedTuple):
    """An approved solution, as everybody sees it."""

    partner: str
    title: str
    description: str
    url: str


def solutions_of(product: Product) -> Sequence[Shown]:
    """The approved solutions of a product, by title, up to fifty; whichever partner's. One query."""
    with connection().cursor() as cursor:
        cursor.execute(
            "SELECT partner_name, title, description, url FROM solutions_of_product(%s)", [product.pk]
        )
        return [Shown(*row) for row in cursor.fetchall()]


def solutions_made(actor: Actor) -> Sequence[Solution]:
    """What the acting organization sent in, the latest first; up to 200. One query."""
    rows = Solution.objects.visible_to(actor).select_related("product")
    return list(rows.order_by("-pk")[:MOST_SHOWN])


def waiting_solutions() -> Sequence[Solution]:
    """What waits for the vendor's staff, the oldest first. By the worker's login."""
    with use_login("worker"):
        rows = Solution.objects.filter(state=Solution.State.WAITING).select_related("product")
        return list(rows.order_by("pk")[:MOST_SHOWN])
