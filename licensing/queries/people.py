"""What a person holds and owns, for the page of that person, and what ending the account would do (product §11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.models import Checkout, Subscription
from commerce.queries import details
from config.kit.actors import Actor
from directory.actors import tenant_row
from directory.models import ApiToken, User
from directory.permissions import Capability
from licensing.models import Assignment

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Owned:
    """One purchase of a person. `next_charge_at` and `total_minor` are None where the reader sees no prices."""

    subscription: Subscription
    next_charge_at: datetime | None
    total_minor: int | None
    is_priced: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What ends when an account ends, as of now. `seats_until`: when a disabled person's licenses are free."""

    licenses: Sequence[Assignment]
    purchases: Sequence[Owned]
    tokens: int
    checkouts: int
    seats_kept_days: int
    seats_until: datetime

    @property
    def colleagues(self) -> int:
        """How many licenses of the purchases are assigned, to whomever."""
        return sum(owned.subscription.assigned for owned in self.purchases)


def licenses_held(actor: Actor, user: User) -> list[Assignment]:
    """The licenses that somebody holds, as far as the actor sees them, by product. One query."""
    rows = Assignment.objects.visible_to(actor).live().filter(user=user)
    rows = rows.exclude(subscription__state=Subscription.State.DELETED)
    return list(
        rows.select_related("subscription__product").order_by("subscription__product_sort", "id")[:MOST_SHOWN]
    )


def purchases_of(actor: Actor, user: User) -> list[Owned]:
    """What somebody owns and is not deleted, by product; money only as far as the actor sees it. One query."""
    rows = (
        Subscription.objects.visible_to(actor, Capability.SEE_LICENSES)
        .not_deleted()
        .filter(owner_kind=Subscription.Owner.PERSON, owner_user=user)
        .select_related("product", "plan")
    )
    is_own = user.pk == actor.user_id
    is_priced = actor.reaches(Capability.SEE_PURCHASES, is_own=is_own, is_org=False)
    return [_owned(row, is_priced=is_priced) for row in rows.order_by("product_sort", "id")[:MOST_SHOWN]]


def _owned(subscription: Subscription, *, is_priced: bool) -> Owned:
    next_charge_at = details.next_charge_at(subscription)
    total = details.charge_with_tax(subscription) if next_charge_at is not None and is_priced else None
    return Owned(subscription, next_charge_at if is_priced else None, total, is_priced)


def effect_of_leaving(actor: Actor, user: User, *, at: datetime) -> Effect:
    """What disabling or deleting somebody would do now. Five queries."""
    kept = tenant_row(actor.tenant_id).seats_kept_days
    own = {"tenant_id": actor.tenant_id, "user_id": user.pk}
    since = user.disabled_at or at
    return Effect(
        licenses=licenses_held(actor, user),
        purchases=purchases_of(actor, user),
        tokens=ApiToken.objects.filter(**own, revoked_at__isnull=True).count(),
        checkouts=Checkout.objects.filter(
            **own, state__in=[Checkout.State.PAYING, Checkout.State.ACTION]
        ).count(),
        seats_kept_days=kept,
        seats_until=since + timedelta(days=kept),
    )
