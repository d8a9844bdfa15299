"""Who of the vendor works at what: given and taken by the installation's operator (product §2)."""

from collections.abc import Collection
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import StaffAssignment, Tenant, User
from directory.operations.audit import record
from directory.operations.people import lock_managed, target_of
from directory.staff import STAFF_ROLES


class NotOfVendor(NotAllowed):
    """Somebody of a customer is no staff of the vendor."""

    code = "not_of_vendor"
    message = _("Only people of the vendor's own organization work here. Nothing was changed.")


def set_staff_roles(*, actor: Actor, user_id: int, roles: Collection[str], at: datetime) -> bool:
    """Make `roles` what a person of the vendor works at; whether that changed anything. The installation alone.

    A role that was taken ends with the person's next request.

    :raises NotAllowed: the actor is not the installation, or nobody disabled and no guest gets one.
    :raises NotVisible: nobody of the acting tenant, or no such role.
    :raises NotOfVendor: the acting tenant is not the vendor.
    """
    if not actor.is_system:
        raise NotAllowed
    if not set(roles) <= set(STAFF_ROLES):
        raise NotVisible
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id, is_checked=True)
        if Tenant.objects.get(pk=actor.tenant_id).kind != Tenant.Kind.VENDOR:
            raise NotOfVendor
        rows = StaffAssignment.objects.filter(tenant_id=actor.tenant_id, user=user)
        held = set(rows.values_list("role", flat=True))
        given, taken = sorted(set(roles) - held), sorted(held - set(roles))
        if given and (user.kind == User.Kind.GUEST or not user.is_active):
            raise NotAllowed(_("Only an active member of the vendor works here. Nothing was changed."))
        StaffAssignment.objects.bulk_create(
            StaffAssignment(
                tenant_id=actor.tenant_id,
                user=user,
                role=role,
                granted_at=at,
                granted_by_id=actor.user_id,
                granted_by=actor.label,
            )
            for role in given
        )
        rows.filter(role__in=taken).delete()
        for role in given:
            record(actor, "directory.staff_role.granted", at=at, **target_of(user), after={"role": role})
        for role in taken:
            record(actor, "directory.staff_role.revoked", at=at, **target_of(user), before={"role": role})
    return bool(given or taken)
