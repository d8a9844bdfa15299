"""The limits on what a person spends, kept by the payment sequence: reserved, then spent or released (docs/adr/0019)."""

from datetime import datetime

from commerce.models import Checkout
from commerce.operations.checkouts import OverLimit
from commerce.queries.spending import purchase_of
from config.kit.actors import Actor
from directory.actors import tenant_row
from policies.operations import spending


def reserve(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """Count a locked checkout right before its charge; last in its transaction: others of the person wait for it.

    :raises OverLimit: it is more than the person may spend, with the reason.
    """
    purchase = purchase_of(checkout)
    if purchase is None:
        return
    spent = spending.reserve(actor=actor, purchase=purchase, at=at)
    if spent.verdict != "within":
        raise OverLimit.of(spent, tenant_row(actor.tenant_id).name)


def settle(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """Its charge came in. A reactivation that reserved nothing was a renewal, whatever the sweep did meanwhile."""
    is_back = checkout.kind == Checkout.Kind.REACTIVATION
    purchase = None if is_back else purchase_of(checkout)
    spending.settle(actor=actor, cause=checkout.key, purchase=purchase, at=at)


def release(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """Nothing came of it."""
    spending.release(actor=actor, cause=checkout.key, at=at)
