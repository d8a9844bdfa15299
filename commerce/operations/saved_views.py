"""Keeping views of Your products, for oneself (product §8).

Nothing of the organization's changes, so nothing is audited.
"""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import SavedView
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import connection, tenant_atomic

MOST_VIEWS = 20
_KEEPING = 0x5EA7_0B6


class TooManyViews(Conflict):
    """The person keeps as many as one may."""

    code = "too_many_views"
    message = _("You keep twenty views already. Nothing was saved. Delete one first.")


def save_view(*, actor: Actor, name: str, query: str, at: datetime) -> bool:
    """Keep `query` under `name`; one of the same name is replaced. Whether it is new.

    :raises NotVisible: the installation itself keeps none.
    :raises Malformed: no name, too long, or a query that is too long.
    :raises TooManyViews: the person keeps twenty.
    """
    if actor.user_id is None:
        raise NotVisible
    name = " ".join(name.replace("\0", "").split())
    if not name:
        raise Malformed(_("Give the view a name."), field="name")
    if len(name) > 60:
        raise Malformed(_("A name has at most 60 characters."), field="name")
    if len(query) > 1000:
        raise Malformed(_("The filter is too long to be saved."), field="name")
    with tenant_atomic(actor):
        _lock_person(actor)
        mine = SavedView.objects.visible_to(actor)
        if mine.filter(name=name).update(query=query):
            return False
        if mine.count() >= MOST_VIEWS:
            raise TooManyViews
        SavedView.objects.create(
            tenant_id=actor.tenant_id, user_id=actor.user_id, name=name, query=query, created_at=at
        )
    return True


def delete_view(*, actor: Actor, view_id: int) -> None:
    """Forget one.

    :raises NotVisible: none of the actor's.
    """
    with tenant_atomic(actor):
        deleted, _rows = SavedView.objects.visible_to(actor).filter(pk=view_id).delete()
    if not deleted:
        raise NotVisible


def _lock_person(actor: Actor) -> None:
    """One person's saves count one after the other."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_KEEPING, (actor.user_id or 0) % 2**31])
