"""What people made in products, and what the data policy lets one person make (product §14)."""

from dataclasses import dataclass

from django.db.models import Q

from commerce.models import Product
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from directory.models import RoleAssignment, User
from licensing.models import Workspace, WorkspaceQuerySet
from licensing.queries.entitlements import entitlement_of
from policies import data_rule
from policies.queries.data import data_policy_for

MOST_OF_ONE = 500


@dataclass(frozen=True, slots=True)
class Data:
    """The data policy for one person and product. `may_create`: whether the person may make a workspace."""

    policy: data_rule.DataPolicy
    may_create: bool


def data_for(*, actor: Actor, product: Product, user: User) -> Data:
    """What holds for a person. Four queries at most. A guest makes workspaces by a license alone."""
    policy = data_policy_for(actor=actor, product_id=product.pk, user_id=user.pk)
    is_entitled = entitlement_of(user_id=user.pk, product=product) is not None
    may = may_make(policy, user_id=user.pk, is_entitled=is_entitled)
    return Data(policy, may and (is_entitled or user.kind == User.Kind.MEMBER))


def may_make(policy: data_rule.DataPolicy, *, user_id: int, is_entitled: bool) -> bool:
    """Whether a member may make a workspace. One query at most, where admins alone may."""
    creators = policy.creators.value
    is_admin = (
        creators == data_rule.ADMINS
        and RoleAssignment.objects.filter(user_id=user_id, role__in=data_rule.ADMIN_ROLES).exists()
    )
    return data_rule.may_create(
        service_on=policy.service_on, creators=creators, is_entitled=is_entitled, is_admin=is_admin
    )


def workspaces_page(
    actor: Actor,
    *,
    cursor: str,
    product_id: int | None = None,
    person: str = "",
    is_ending: bool = False,
) -> Page[Workspace]:
    """Those that the person may see, the latest first, 50 a page. `person`: part of the name or address of who made it
    or has it. `is_ending`: only those that will be deleted. One query.
    """
    rows: WorkspaceQuerySet = Workspace.objects.visible_to(actor).select_related("product", "maker", "holder")
    if product_id is not None:
        rows = rows.filter(product_id=product_id)
    for word in person.split()[:5]:
        named = Q()
        for who in ("maker", "holder"):
            named |= Q(**{f"{who}__name__icontains": word}) | Q(**{f"{who}__email__icontains": word})
        rows = rows.filter(named)
    if is_ending:
        rows = rows.filter(deletes_at__isnull=False)
    return paginate(rows, order=("-id",), cursor=cursor, key=lambda row: (row.pk,))


def workspace_for(actor: Actor, key: object) -> Workspace:
    """:raises NotVisible: no such workspace for the person."""
    found: Workspace | None = (
        Workspace.objects.visible_to(actor)
        .select_related("product", "maker", "holder")
        .filter(key=key)
        .first()
    )
    if found is None:
        raise NotVisible
    return found


def own_workspaces(actor: Actor, product: Product) -> list[Workspace]:
    """What the person has in a product, by name. One query."""
    return list(Workspace.objects.of(actor).filter(product=product).order_by("name", "id")[:MOST_OF_ONE])
