"""Customer organizations, their domains, and how their people sign in."""

import secrets
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed
from config.kit.secrets import encrypt
from config.kit.tenancy import connection, tenant_atomic
from directory.models import IdentityProvider, Tenant
from directory.operations.audit import record
from directory.operations.provider_switch import end_all_sessions
from directory.operations.providers import check_issuer
from directory.operations.sign_in_notices import tell_sign_in_changed
from directory.permissions import Capability


class NoSecondFactor(Conflict):
    """The admin who demands a second factor has signed in without one."""

    code = "no_second_factor"
    message = _("You signed in without a second factor, and would lock yourself out. Sign in with one first.")


def create_tenant(
    *,
    name: str,
    kind: str,
    country: str,
    time_zone: str,
    currency: str,
    at: datetime,
    language: str = "en",
    is_managed: bool = True,
    creates_members: bool = True,
    by: str = "",
) -> Tenant:
    """Set up a customer organization; done by the installation, nobody of the tenant exists yet. `by`: who of the
    vendor's staff let it do so.

    The id comes from the sequence first, since the row is visible to its own tenant alone.
    """
    with connection().cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('directory_tenant', 'id'))")
        tenant_id = int(cursor.fetchone()[0])
    with tenant_atomic(tenant_id):
        tenant = Tenant.objects.create(
            pk=tenant_id,
            name=name,
            kind=kind,
            country=country,
            time_zone=time_zone,
            currency=currency,
            language=language,
            is_managed=is_managed,
            creates_members=creates_members,
            created_at=at,
        )
        record(
            Actor.system(tenant_id, label=by, door="cli") if by else Actor.system(tenant_id),
            "directory.tenant.created",
            at=at,
            target_type="tenant",
            target_id=tenant.key,
            target_label=name,
            after={"kind": kind, "country": country, "currency": currency, "is_managed": is_managed},
        )
    return tenant


def configure_identity_provider(
    *, actor: Actor, issuer: str, client_id: str, client_secret: str, at: datetime
) -> IdentityProvider:
    """Say where the acting tenant's people sign in, as the installation; an organization's own way is `provider_changes`.

    Another client at the same issuer changes the row. Another issuer is a new row: the old one stops, its
    account links no longer lead here, and every session of the tenant's people ends (I-23).

    :raises NotAllowed: not by a person.
    :raises Malformed: the issuer is no http(s) address without query and fragment.
    """
    if not actor.is_system:
        raise NotAllowed
    with tenant_atomic(actor):
        Tenant.objects.select_for_update().get(pk=actor.tenant_id)
        check_issuer(issuer)
        current = IdentityProvider.objects.filter(tenant_id=actor.tenant_id, is_active=True).first()
        before = {"issuer": current.issuer, "client_id": current.client_id} if current else None
        if current and current.issuer == issuer:
            current.client_id = client_id
            current.client_secret_encrypted = encrypt(client_secret)
            current.save(update_fields=["client_id", "client_secret_encrypted"])
            provider: IdentityProvider = current
        else:
            if current:
                IdentityProvider.objects.filter(pk=current.pk).update(is_active=False, ended_at=at)
                end_all_sessions(actor, at)
            provider = IdentityProvider.objects.create(
                tenant_id=actor.tenant_id,
                key=secrets.token_hex(10),
                issuer=issuer,
                client_id=client_id,
                client_secret_encrypted=encrypt(client_secret),
                created_at=at,
            )
        record(
            actor,
            "directory.identity_provider.configured",
            at=at,
            target_type="identity_provider",
            target_id=provider.key,
            target_label=issuer,
            before=before,
            after={"issuer": issuer, "client_id": client_id},
        )
    return provider


def set_member_creation(*, actor: Actor, is_on: bool, at: datetime) -> None:
    """Switch on or off that unknown people of the organization become members at first sign-in.

    :raises NotAllowed: the actor may not manage the organization's settings.
    """
    with tenant_atomic(actor):
        tenant = Tenant.objects.select_for_update().get(pk=actor.tenant_id)
        _require_settings(actor)
        before = tenant.creates_members
        Tenant.objects.filter(pk=tenant.pk).update(creates_members=is_on)
        record(
            actor,
            "directory.tenant.member_creation_set",
            at=at,
            target_type="tenant",
            target_id=tenant.key,
            target_label=tenant.name,
            before={"creates_members": before},
            after={"creates_members": is_on},
        )


def set_second_factor(*, actor: Actor, is_on: bool, has_one: bool, at: datetime) -> bool:
    """Say whether roles count only for who signed in with a second factor; whether that changed anything.

    `has_one`: the actor did, in this session.

    :raises NotAllowed: the actor may not manage the organization's settings.
    :raises NoSecondFactor: the actor would lock themselves out.
    """
    with tenant_atomic(actor):
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        _require_settings(actor)
        if tenant.admins_need_second_factor == is_on:
            return False
        if is_on and not has_one:
            raise NoSecondFactor
        Tenant.objects.filter(pk=tenant.pk).update(admins_need_second_factor=is_on)
        record(
            actor,
            "directory.tenant.second_factor_set",
            at=at,
            target_type="tenant",
            target_id=tenant.key,
            target_label=tenant.name,
            before={"admins_need_second_factor": not is_on},
            after={"admins_need_second_factor": is_on},
        )
        tell_sign_in_changed(
            actor=actor,
            what="second_factor_on" if is_on else "second_factor_off",
            subject=tenant.name,
            at=at,
            page="portal:sign-in-settings",
        )
    return True


def _require_settings(actor: Actor) -> None:
    if not actor.is_system:
        actor.require(Capability.MANAGE_SETTINGS, is_own=False, is_org=True, sees=Capability.SEE_SETTINGS)
