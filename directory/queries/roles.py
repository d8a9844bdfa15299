"""Who holds which role."""

from django.db.models import Prefetch

from config.kit.actors import Actor
from config.kit.keyset import Page, paginate
from directory.models import RoleAssignment, User


def role_holders_page(actor: Actor, *, role: str, cursor: str) -> Page[User]:
    """Who holds a role in the acting tenant, or any when `role` is empty, by name, a page by key. Two queries.

    Each has its `role_assignments`, in the roles' order of names.
    """
    held = RoleAssignment.objects.visible_to(actor)
    some = held.filter(role=role) if role else held
    ordered = Prefetch("role_assignments", held.order_by("role"))
    rows = User.objects.visible_to(actor).filter(pk__in=some.values("user_id")).prefetch_related(ordered)
    return paginate(
        rows, order=("sort_name", "id"), cursor=cursor, key=lambda user: (user.sort_name, user.pk)
    )
