"""From which subscriptions somebody can have a license: of the organization's, in place of one of a purchase that ends
(product §5.1, §11), or of all that the actor may give from (product §7.4)."""

from dataclasses import dataclass

from django.db.models import Case, Exists, F, IntegerField, OuterRef, QuerySet, Value, When
from django.db.models.functions import Coalesce, Least

from commerce.models import Subscription
from config.kit.actors import Actor
from directory.models import User
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment

MOST_CHOICES = 50
# As many as one statement gives licenses to.
MOST_USERS = 1_000


def may_give_central(actor: Actor, source: Subscription) -> bool:
    """Whether somebody else's purchase has users to whom the actor may give licenses of the organization's."""
    is_used = not source.is_organizations and source.assigned > 0
    return is_used and actor.reaches(Capability.ASSIGN, is_own=False, is_org=True)


@dataclass(frozen=True, slots=True)
class Users:
    """The active holders of a purchase: who needs a central license, at most 1,000, and how many have one."""

    need: tuple[int, ...]
    have: int


def users_of(source: Subscription) -> Users:
    """Who holds a license of the purchase and who of them has the product from the organization, too. Two queries."""
    held = Assignment.objects.live().filter(
        tenant_id=source.tenant_id, subscription=source, user__status=User.Status.ACTIVE
    )
    central = Assignment.objects.live().filter(
        user=OuterRef("user"),
        product_id=source.product_id,
        subscription__owner_kind=Subscription.Owner.ORGANIZATION,
        subscription__state__in=GIVES_ACCESS,
    )
    need = held.exclude(Exists(central)).order_by("id").values_list("user_id", flat=True)[:MOST_USERS]
    return Users(tuple(need), held.filter(Exists(central)).count())


def central_choices(actor: Actor, source: Subscription) -> list[Subscription]:
    """The organization's subscriptions of the product with free licenses, the latest end first. One query."""
    rows = _with_free_seats(actor, source.product_id).filter(owner_kind=Subscription.Owner.ORGANIZATION)
    return list(rows.select_related("product", "plan").order_by("-term_end", "id")[:MOST_CHOICES])


def seats_to_give(actor: Actor, product_id: int) -> list[Subscription]:
    """The subscriptions of a product from which the actor may give a free license, in the order in which seats are taken.

    Central ones first, then those taken over, then the actor's own, the latest end first (product §7.4). One query.
    """
    rows = _with_free_seats(actor, product_id).annotate(
        place=Case(
            When(channel=Subscription.Channel.CENTRAL, then=Value(0)),
            When(owner_kind=Subscription.Owner.ORGANIZATION, then=Value(1)),
            default=Value(2),
            output_field=IntegerField(),
        )
    )
    return list(rows.order_by("place", "-term_end", "id")[:MOST_CHOICES])


def _with_free_seats(actor: Actor, product_id: int) -> QuerySet[Subscription]:
    rows: QuerySet[Subscription] = Subscription.objects.visible_to(actor, Capability.ASSIGN).filter(
        product_id=product_id,
        state__in=GIVES_ACCESS,
        assigned__lt=Least(F("quantity"), Coalesce(F("next_quantity"), F("quantity"))),
    )
    return rows
