"""Giving the users of a purchase licenses of the organization's, so that they keep the product when it ends (product §11)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.operations.assignments import FULL, AssignmentResult, assign_licenses
from licensing.queries.giving import users_of


class NotEnoughFree(Conflict):
    """All of them get one, or nobody does; `needed` and `free` say how many."""

    code = "not_enough_free"

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(
            _("%(needed)d licenses are needed and %(free)d are free there. Nothing was assigned.")
            % {"needed": needed, "free": free},
            needed=needed,
            free=free,
        )


class NobodyToGive(Conflict):
    code = "nobody_to_give"
    message = _("Everybody who uses it has a license of the organization's already. Nothing was assigned.")


def give_central_licenses_to_users(
    *, actor: Actor, source_key: uuid.UUID, central_key: uuid.UUID, at: datetime
) -> AssignmentResult:
    """Give each active user of somebody's purchase a license of the organization's, at most 1,000 at a time.

    All of them or nobody, in one statement of `assign_licenses`. The purchase stays as it is, and so do its licenses.
    Who has the product from the organization already is left out. Again gives only to who came since.

    :raises NotVisible: the actor sees no such purchase, or the two are not of one product.
    :raises NotAllowed: visible, and the organization's licenses are not the actor's to assign.
    :raises NobodyToGive, NotEnoughFree: as named. :raises NotAssignable, Busy: as `assign_licenses`.
    """
    with tenant_atomic(actor):
        source = purchase_for(actor, source_key)
        central: Subscription | None = (
            Subscription.objects.visible_to(actor, Capability.SEE_LICENSES)
            .filter(
                key=central_key,
                product_id=source.product_id,
                owner_kind=Subscription.Owner.ORGANIZATION,
            )
            .first()
        )
        if central is None:
            raise NotVisible
        need = users_of(source).need
        if not need:
            raise NobodyToGive
        result = assign_licenses(
            actor=actor, subscription_key=central.key, user_ids=need, at=at, confirmed=True
        )
        short = result.with_outcome(*FULL)
        if short:
            raise NotEnoughFree(len(need), len(need) - len(short))
    return result


def purchase_for(actor: Actor, key: uuid.UUID) -> Subscription:
    """A purchase that a person owns, whose users the actor may give licenses of the organization's. One query.

    :raises NotVisible: missing, not seen, or the organization's own. :raises NotAllowed: not the actor's to assign.
    """
    source: Subscription | None = (
        Subscription.objects.visible_to(actor, Capability.SEE_LICENSES)
        .select_related("product", "owner_user")
        .filter(key=key, owner_kind=Subscription.Owner.PERSON)
        .first()
    )
    if source is None:
        raise NotVisible
    if not actor.reaches(Capability.ASSIGN, is_own=False, is_org=True):
        raise NotAllowed
    return source
