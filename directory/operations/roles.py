"""Who holds which role: given and taken by a global admin, who says why (product §2; I-25)."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import RoleAssignment, Tenant, User
from directory.operations.audit import record
from directory.operations.mail import mails, queue_mails
from directory.operations.people import (
    last_admin_refused,
    lock_managed,
    require_may_manage,
    target_of,
)
from directory.permissions import ROLES, Capability, Role

LONGEST_REASON = 300


def set_roles(*, actor: Actor, user_id: int, roles: Collection[str], reason: str, at: datetime) -> bool:
    """Make `roles` the roles of a person of the acting tenant; whether that changed any.

    All or nothing. A role that was taken ends with the person's next request. The person and the other global admins
    are told. Changes of one organization's roles come one after the other, and each is judged by the roles that hold
    when its turn comes: who lost theirs a moment ago changes nothing.

    :raises NotVisible: nobody of the acting tenant, or no such role.
    :raises NotAllowed: the actor may not manage roles, or nobody disabled and no guest gets one.
    :raises Malformed: no reason, or one of more than 300 characters.
    :raises LastGlobalAdmin: nobody else could manage the organization.
    """
    with tenant_atomic(actor):
        user, held = _lock(actor, user_id)
        if not set(roles) <= set(ROLES):
            raise NotVisible
        given, taken = sorted(set(roles) - held), sorted(held - set(roles))
        if not given and not taken:
            return False
        for role in (*given, *taken):
            _refuse_above_own(actor, role)
        if given:
            _refuse_who_gets_none(user)
        reason = _checked_reason(actor, reason)
        RoleAssignment.objects.bulk_create(
            RoleAssignment(
                tenant_id=actor.tenant_id,
                user=user,
                role=role,
                granted_at=at,
                granted_by_id=actor.user_id,
                granted_by=actor.label,
            )
            for role in given
        )
        if taken:
            with last_admin_refused():
                RoleAssignment.objects.filter(tenant_id=actor.tenant_id, user=user, role__in=taken).delete()
        why = {"reason": reason} if reason else {}
        for role in given:
            record(actor, "directory.role.granted", at=at, **target_of(user), after={"role": role} | why)
        for role in taken:
            record(
                actor,
                "directory.role.revoked",
                at=at,
                **target_of(user),
                before={"role": role},
                after=why or None,
            )
        _tell(actor, user, given, taken, reason, at)
    return True


def grant_role(*, actor: Actor, user_id: int, role: str, at: datetime, reason: str = "") -> None:
    """Give a member of the acting tenant a role. Twice is once. Raises as `set_roles` does."""
    with tenant_atomic(actor):
        _user, held = _lock(actor, user_id)
        set_roles(actor=actor, user_id=user_id, roles=held | {role}, reason=reason, at=at)


def revoke_role(*, actor: Actor, user_id: int, role: str, at: datetime, reason: str = "") -> None:
    """Take a role back. Twice is once. Raises as `set_roles` does."""
    with tenant_atomic(actor):
        _user, held = _lock(actor, user_id)
        set_roles(actor=actor, user_id=user_id, roles=held - {role}, reason=reason, at=at)


def _lock(actor: Actor, user_id: int) -> tuple[User, set[str]]:
    """A person and the roles held, of which none of the organization's comes or goes until the transaction ends.

    The person first, then the organization: the order of whatever ends an account.
    """
    require_may_manage(actor, Capability.MANAGE_SETTINGS, sees=Capability.SEE_SETTINGS)
    user = lock_managed(actor, user_id, is_checked=True)
    Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
    held = RoleAssignment.objects.filter(tenant_id=actor.tenant_id, user=user)
    return user, set(held.values_list("role", flat=True))


def _refuse_above_own(actor: Actor, role: str) -> None:
    """I-25: a global admin holds every role's rights; anybody else gives at most what they hold, as of now."""
    if actor.is_system:
        return
    own = set(
        RoleAssignment.objects.filter(tenant_id=actor.tenant_id, user_id=actor.user_id or 0).values_list(
            "role", flat=True
        )
    )
    if Role.GLOBAL_ADMIN not in own and role not in own:
        raise NotAllowed(_("Nobody gives or takes a role above their own. Nothing was changed."))


def _refuse_who_gets_none(user: User) -> None:
    if user.kind == User.Kind.GUEST:
        raise NotAllowed(_("A guest has no role here. Nothing was changed."))
    if not user.is_active:
        raise NotAllowed(_("Enable the account before you give it a role. Nothing was changed."))


def _checked_reason(actor: Actor, reason: str) -> str:
    """The reason as one line; the installation itself needs none."""
    text = " ".join(reason.split())
    is_missing = not text and not actor.is_system
    if is_missing or len(text) > LONGEST_REASON or not text.isprintable():
        raise Malformed(_("Say why in up to 300 characters."), field="reason")
    return text


def _tell(actor: Actor, user: User, given: list[str], taken: list[str], reason: str, at: datetime) -> None:
    """The person, and every active global admin but who did it."""
    if actor.is_system:
        return
    admins = User.objects.active().filter(tenant_id=actor.tenant_id, role_assignments__role=Role.GLOBAL_ADMIN)
    others = admins.exclude(pk__in=[actor.user_id, user.pk])
    tenant = Tenant.objects.get(pk=actor.tenant_id)
    facts = {
        "name": user.name,
        "by": actor.label,
        "given": given,
        "taken": taken,
        "why": reason,
        "organization": tenant.name,
        "at": at.isoformat(),
        "time_zone": tenant.time_zone,
    }
    told = [
        mail
        for readers, is_own, address in (
            ([user], True, reverse("licensing:home")),
            (others, False, reverse("portal:person", args=[user.key])),
        )
        for mail in mails(
            "role_changed",
            event_key=f"{user.pk}:{at.isoformat()}",
            to=readers,
            tenant_id=actor.tenant_id,
            context=facts | {"is_own": is_own, "link": f"{settings.PUBLIC_URL}{address}"},
            at=at,
        )
    ]
    queue_mails(told)
