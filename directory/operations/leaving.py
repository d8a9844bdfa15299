"""Deleting an account, and what an organization decides about those who leave (product §11; docs/adr/0025)."""

from dataclasses import replace
from datetime import datetime

from allauth.mfa.models import Authenticator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from config.kit.actors import Actor
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.hooks import Departure, person_leaving, person_left
from directory.models import (
    AccountLink,
    ApiToken,
    BrowserSession,
    GroupMembership,
    MailPreference,
    RelationshipAssignment,
    RoleAssignment,
    StaffAssignment,
    Tenant,
    User,
)
from directory.models.people import fold
from directory.models.tenants import MOST_SEATS_KEPT_DAYS
from directory.operations.audit import record
from directory.operations.inbox import forget_notices_of
from directory.operations.people import (
    last_admin_refused,
    lock_managed,
    refuse_own_account,
    require_may_manage,
    target_of,
)
from directory.permissions import Capability


def delete_user(*, actor: Actor, user_id: int, at: datetime, real_at: datetime) -> None:
    """End an account for good: sessions, tokens, roles, groups; then the own licenses are free (product §11).

    The row stays, for bills and audit, and for the identity provider, which cannot make a second one of it; its name
    becomes *Former user* in the organization's language, its mail is forgotten. What the person bought stays.
    Later transactions free the licenses and forget the name elsewhere (`directory.names`), or the sweeps if this process
    dies in between. Not inside a transaction.

    :raises NotVisible: nobody of the acting tenant, or deleted already.
    :raises NotAllowed: the actor may not manage this person. :raises OwnAccount: it is the actor's own.
    :raises LastGlobalAdmin: nobody else could manage the organization.
    """
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id)
        refuse_own_account(actor, user)
        departure = Departure(user, actor, at, is_deletion=True)
        former = former_name(Tenant.objects.get(pk=actor.tenant_id).language)
        with last_admin_refused():
            User.objects.filter(pk=user.pk).update(
                status=User.Status.DELETED,
                deleted_at=at,
                sessions_valid_from=at,
                name=former,
                sort_name=fold(former),
                email="",
                changed_at=at,
                **dict.fromkeys(
                    ("user_name", "user_name_folded", "external_id", "given_name", "family_name"), ""
                ),
            )
        own = {"tenant_id": actor.tenant_id, "user_id": user.pk}
        roles = sorted(RoleAssignment.objects.filter(**own).values_list("role", flat=True))
        RoleAssignment.objects.filter(**own).delete()
        StaffAssignment.objects.filter(**own).delete()
        Authenticator.objects.filter(user=user).delete()
        groups, _rows = GroupMembership.objects.filter(**own).delete()
        MailPreference.objects.filter(**own).delete()
        BrowserSession.objects.filter(**own).delete()
        AccountLink.objects.filter(**own).delete()
        RelationshipAssignment.objects.filter(partner_tenant_id=actor.tenant_id, user_id=user.pk).delete()
        forget_notices_of(user=user, at=at)
        tokens = ApiToken.objects.filter(**own, revoked_at__isnull=True).update(
            revoked_at=real_at, revoked_by_id=actor.user_id, revoked_by=actor.label
        )
        record(
            actor,
            "directory.user.deleted",
            at=at,
            **target_of(user),
            before={"status": user.status, "roles": roles, "groups": groups},
            after={"status": User.Status.DELETED.value, "tokens_revoked": tokens},
        )
        person_leaving(departure)
    person_left(departure)


def former_name(language: str) -> str:
    """What a deleted person is called where the name is not kept."""
    with override(language):
        return _("Former user")


def record_download(*, user: User, actor: Actor, at: datetime) -> None:
    """Note in the own organization's trail that somebody took what is stored about them."""
    with tenant_atomic(user.tenant_id):
        own = replace(actor, tenant_id=user.tenant_id, relationship_label="")
        record(own, "directory.user.data_downloaded", at=at, **target_of(user))


def set_seats_kept(*, actor: Actor, days: int | None, at: datetime) -> None:
    """For how many days the licenses of a disabled person are kept: 0 to 90.

    It holds for those who are disabled already, too.

    :raises NotVisible, NotAllowed: not the actor's to set. :raises Malformed: not such a number.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_SETTINGS, sees=Capability.SEE_SETTINGS)
        if days is None or not 0 <= days <= MOST_SEATS_KEPT_DAYS:
            raise Malformed(gettext_lazy("Enter a number of days from 0 to 90."), field="days")
        tenant: Tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        if tenant.seats_kept_days == days:
            return
        Tenant.objects.filter(pk=tenant.pk).update(seats_kept_days=days)
        record(
            actor,
            "directory.tenant.seats_kept_changed",
            at=at,
            target_type="tenant",
            target_id=tenant.key,
            target_label=tenant.name,
            before={"days": tenant.seats_kept_days},
            after={"days": days},
        )
