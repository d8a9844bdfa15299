"""Where a person of a tenant asks for a license (product §7.5)."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef

from config.kit.actors import Actor
from directory.models import RoleAssignment, User
from directory.permissions import TABLE, Capability
from policies.models import TenantPolicy
from policies.queries.data import data_policy_for

# The roles of those who answer: with a free license, and with money or policy.
GIVING_ROLES = tuple(
    role
    for role in ("global_admin", "license_admin", "user_admin", "billing_admin")
    if getattr(TABLE[Capability.GIVE_FREE_SEAT], role)
)
PAYING_ROLES = tuple(
    role
    for role in ("global_admin", "license_admin", "user_admin", "billing_admin")
    if getattr(TABLE[Capability.ANSWER_WITH_MONEY], role)
)


@dataclass(frozen=True, slots=True)
class RequestProcess:
    """How the organization takes requests. `text` and `url`: its own way, read where the queue is off."""

    is_on: bool = True
    text: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class RequestDoor:
    """What one person sees in place of Buy. `is_open`: may ask here, and somebody can decide."""

    process: RequestProcess
    is_open: bool

    @property
    def has_own_way(self) -> bool:
        return not self.process.is_on and bool(self.process.text or self.process.url)


def request_process(*, actor: Actor) -> RequestProcess:
    """The acting tenant's process; the queue, unless it said otherwise. One query."""
    row = (
        TenantPolicy.objects.visible_to(actor)
        .values_list("requests_are_on", "requests_text", "requests_url")
        .first()
    )
    return RequestProcess(*row) if row else RequestProcess()


def request_door(*, actor: Actor, needs_money: bool = False, product_id: int | None = None) -> RequestDoor:
    """Whether the person may ask for a license here. Two queries, four at most of a product, inside `tenant_atomic`.

    `needs_money`: only billing and global admins could decide. `product_id`: of this product, which a data policy may
    have switched off for the person. A partner's people ask at home.
    """
    process = request_process(actor=actor)
    may = actor.may(Capability.REQUEST_LICENSE) and actor.user_id is not None
    if may and process.is_on and product_id is not None:
        may = data_policy_for(actor=actor, product_id=product_id, user_id=actor.user_id).service_on
    return RequestDoor(process, process.is_on and may and can_decide(actor=actor, needs_money=needs_money))


def can_decide(*, actor: Actor, needs_money: bool = False) -> bool:
    """Whether the tenant has an active person who can answer. One query."""
    roles = PAYING_ROLES if needs_money else (*GIVING_ROLES, *PAYING_ROLES)
    held = RoleAssignment.objects.filter(user=OuterRef("pk"), role__in=roles)
    return bool(User.objects.visible_to(actor).active().filter(Exists(held)).exists())
