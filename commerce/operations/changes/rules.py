"""What stands in the way of changing a subscription, decided under its lock (product §5.4, §9)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from commerce.models import Product, Subscription
from commerce.operations.checkouts import NotEligible
from commerce.operations.orders import MOST_CENTRAL_SEATS
from commerce.queries.eligibility import eligibility_for
from commerce.queries.seats import RenewalUnderWay
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from directory.actors import tenant_row
from directory.models import Tenant
from directory.permissions import Capability
from policies.operations.data import ServiceOff
from policies.queries.data import data_policies


class NotChangeable(Conflict):
    """The subscription is a trial, or not active."""

    code = "not_changeable"
    message = _("Only an active subscription can be changed. Nothing was changed.")


class Disputed(Conflict):
    """A charge of it is contested at the bank: no seats are added or refunded until that is decided (product §5.6)."""

    code = "disputed"
    message = _(
        "A charge for this is contested at the bank. Until that is decided no licenses are added or refunded. "
        "Nothing was changed."
    )


class NoRenewal(Conflict):
    """Recurring billing is off, so there is no renewal at which something could change."""

    code = "no_renewal"
    message = _("Recurring billing is off, so there is no renewal. Turn it on first. Nothing was changed.")


class BelowAssigned(Conflict):
    """Fewer seats than are assigned; `assigned` of them would have to be taken back first."""

    code = "below_assigned"

    def __init__(self, assigned: int, quantity: int) -> None:
        self.assigned = assigned
        back = assigned - quantity
        super().__init__(
            ngettext(
                "%(assigned)d licenses are assigned. Take %(back)d back first. Nothing was changed.",
                "%(assigned)d licenses are assigned. Take %(back)d back first. Nothing was changed.",
                assigned,
            )
            % {"assigned": assigned, "back": back},
            assigned=assigned,
            back=back,
        )


def lock_subscription(actor: Actor, key: uuid.UUID, *, version: int | None = None) -> Subscription:
    """The subscription that the actor sees, locked until the caller's transaction ends. Two queries.

    The lock comes first and alone, as in `subscriptions.lock_subscription_row`.

    :raises NotVisible: there is none. :raises Conflict: it is not the `version` that the page showed.
    """
    visible = Subscription.objects.visible_to(actor).filter(key=key)
    list(visible.select_for_update(of=("self",), no_key=True).only("pk"))
    found: Subscription | None = visible.select_related(
        "product",
        "plan",
        "next_plan",
        "card",
        "tenant",
        "owner_user",
        "vendor_entity",
        "bill_to",
        "market",
    ).first()
    if found is None:
        raise NotVisible
    if version is not None and found.version != version:
        raise Conflict
    return found


def require_may_manage(actor: Actor, subscription: Subscription) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to change."""
    actor.require(
        Capability.MANAGE_PURCHASES,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def is_changeable(subscription: Subscription) -> bool:
    """Active, and no trial, whose number and plan stay as they are."""
    return bool(
        subscription.state == Subscription.State.ACTIVE and subscription.channel != Subscription.Channel.TRIAL
    )


def require_changeable(subscription: Subscription) -> None:
    """:raises NotChangeable: not active, or a trial."""
    if not is_changeable(subscription):
        raise NotChangeable


def most_seats(subscription: Subscription) -> int:
    """How many seats it may have in all: the product's most, for a person; more for an organization."""
    return MOST_CENTRAL_SEATS if subscription.is_organizations else int(subscription.product.max_quantity)


def require_number(subscription: Subscription, quantity: int) -> None:
    """:raises Malformed: not a number of seats that a subscription may have."""
    most = most_seats(subscription)
    if not 1 <= quantity <= most:
        raise Malformed(
            _("Choose 1 to %(most)s licenses in all. To have none, cancel instead. Nothing was changed.")
            % {"most": most},
            field="quantity",
        )


def require_addable(actor: Actor, subscription: Subscription, added: int, at: datetime) -> None:
    """Whether `added` more seats may be bought at once.

    :raises NotChangeable: its state. :raises RenewalUnderWay: between two periods.
    :raises Malformed: too few or too many. :raises DomainError: as `require_growable`.
    """
    require_changeable(subscription)
    if subscription.period_end <= at:
        raise RenewalUnderWay
    if added < 1:
        raise Malformed(_("Enter a higher number than you have. Nothing was changed."), field="quantity")
    require_number(subscription, subscription.quantity + added)
    require_growable(actor, subscription, at)


def require_growable(actor: Actor, subscription: Subscription, at: datetime) -> None:
    """Whether it may have more seats, now or at the renewal.

    :raises Disputed: a charge is contested.
    :raises NotEligible: the person could not buy the product either, with all reasons.
    :raises NotAllowed: the organization is suspended. :raises ServiceOff: as `require_service_on`.
    """
    if subscription.disputed_at is not None:
        raise Disputed
    if not subscription.is_organizations:
        eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
        if not eligibility.is_eligible:
            raise NotEligible(eligibility)
    else:
        require_good_standing(subscription)
        require_service_on(actor, subscription.product)


def require_service_on(actor: Actor, product: Product) -> None:
    """For what the organization itself buys, a person's right being asked by `eligibility_for`.

    :raises ServiceOff: a data policy switched the product off, and on for no group.
    """
    if data_policies(actor=actor, product_ids=[product.pk]).is_off_for_all(product.pk):
        raise ServiceOff


def require_good_standing(subscription: Subscription) -> None:
    """:raises NotAllowed: the organization is suspended."""
    if tenant_row(subscription.tenant_id).standing != Tenant.Standing.GOOD:
        raise NotAllowed(_("Your organization is suspended; nothing can be bought."))
