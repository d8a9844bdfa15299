"""Another identity provider, before people sign in there: kept, and tried out by who wants it (I-23; docs/adr/0035)."""

import secrets
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible
from config.kit.secrets import encrypt
from config.kit.tenancy import atomic, tenant_atomic
from directory import discovery
from directory.id_token import Identity
from directory.models import AccountLink, IdentityProvider, Tenant, User
from directory.operations.audit import record
from directory.operations.people import PROVIDER_KEPT, require_may_manage
from directory.permissions import Capability


class ProviderAway(DomainError):
    """The address does not answer as an identity provider does."""

    code = "provider_away"
    status = 422
    message = _(
        "At this address no identity provider answers that can be used here. Nothing was saved. Check the issuer: it must be"
        " exactly what your provider shows, with https."
    )


class ChangeUnderWay(Conflict):
    """One change at a time."""

    code = "provider_change_under_way"
    message = _("A change of the identity provider is waiting already. Stop it first. Nothing was saved.")


class SubjectTaken(Conflict):
    """Somebody else of the organization is, or proved to be, who signed in there."""

    code = "provider_subject_taken"
    message = _(
        "Whoever you signed in as there is linked with another account here. Sign in there as yourself. Nothing was linked."
    )


def prepare_provider(
    *, actor: Actor, issuer: str, client_id: str, client_secret: str, at: datetime
) -> IdentityProvider:
    """Keep a configuration to be tried out; it decides nothing, and takes the place of one that was only prepared.

    Not inside a transaction: the provider is asked what it says of itself.

    :raises NotAllowed: the actor may not manage the organization's settings.
    :raises Malformed: no usable issuer, client or secret. :raises ProviderAway: no provider answers there.
    :raises ChangeUnderWay: a change is waiting.
    """
    issuer, client_id = issuer.strip(), client_id.strip()
    with tenant_atomic(actor):
        require_settings(actor)
    check_issuer(issuer)
    _check_line(client_id, 200, "client_id", _("Enter the client's id, as your provider shows it."))
    _check_line(
        client_secret, 1000, "client_secret", _("Enter the client's secret, as your provider shows it.")
    )
    key = secrets.token_hex(10)
    try:
        discovery.ask_anew(key, issuer)
    except discovery.ProviderUnusable as error:
        raise ProviderAway from error
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        refuse_second_change(actor)
        prepared(actor).delete()
        provider: IdentityProvider = IdentityProvider.objects.create(
            tenant_id=actor.tenant_id,
            key=key,
            issuer=issuer,
            client_id=client_id,
            client_secret_encrypted=encrypt(client_secret),
            is_active=False,
            created_at=at,
        )
        record_provider(actor, "prepared", provider, at, after={"issuer": issuer, "client_id": client_id})
    return provider


def discard_provider(*, actor: Actor, key: str, at: datetime) -> None:
    """Forget a configuration that is only prepared.

    :raises NotAllowed: the actor may not manage the organization's settings. :raises NotVisible: there is none.
    """
    with tenant_atomic(actor):
        require_settings(actor)
        lock_tenant(actor)
        provider: IdentityProvider | None = prepared(actor).filter(key=key).first()
        if provider is None:
            raise NotVisible
        record_provider(actor, "discarded", provider, at, before={"issuer": provider.issuer})
        provider.delete()


def record_test(*, actor: Actor, key: str, identity: Identity, at: datetime) -> AccountLink:
    """Note as whom the person of this session signed in at a provider that is not in force.

    Nobody is signed in, made or changed by it. An admin may try out every one that can come into force, everybody else
    of the organization the one that a change is waiting for: so the own account goes on there.

    :raises NotVisible: nothing that this person could try out. :raises SubjectTaken: as somebody else.
    """
    with tenant_atomic(actor):
        lock_tenant(actor)
        provider = provider_to_try(actor, key, at=at)
        user: User = User.objects.active().members().get(tenant_id=actor.tenant_id, pk=actor.user_id)
        others = User.objects.filter(
            tenant_id=actor.tenant_id, issuer=provider.issuer, subject=identity.subject
        )
        if others.exclude(pk=user.pk).exists():
            raise SubjectTaken
        said = {
            "name": identity.name,
            "email": identity.email,
            "amr": list(identity.methods),
            "has_second_factor": identity.has_second_factor,
            "is_guest": identity.is_guest,
        }
        try:
            with atomic():
                link, _is_new = AccountLink.objects.update_or_create(
                    tenant_id=actor.tenant_id,
                    provider=provider,
                    user=user,
                    defaults={"subject": identity.subject, "said": said, "proved_at": at},
                )
        except IntegrityError as error:
            raise SubjectTaken from error
        record_provider(
            actor, "tested", provider, at, after={"issuer": provider.issuer, "subject": identity.subject}
        )
    return link


def provider_to_try(actor: Actor, key: str, *, at: datetime) -> IdentityProvider:
    """One that is not in force and that this person may sign in at to prove who they are there.

    :raises NotVisible: there is none.
    """
    if actor.user_id is None or actor.is_partner or actor.is_guest:
        raise NotVisible
    rows = can_come(actor, at=at)
    if not actor.may(Capability.MANAGE_SETTINGS):
        rows = rows.filter(switch_at__isnull=False)
    provider: IdentityProvider | None = rows.filter(key=key).first()
    if provider is None:
        raise NotVisible
    return provider


def check_issuer(issuer: str) -> None:
    """:raises Malformed: no http(s) address without query and fragment."""
    is_address = issuer.startswith(("https://", "http://")) and issuer.isprintable()
    if not is_address or set("?#@\\<>\"' ") & set(issuer) or len(issuer) > 500:
        raise Malformed(_("Enter the issuer's address, beginning with https://."), field="issuer")


def require_settings(actor: Actor) -> None:
    require_may_manage(actor, Capability.MANAGE_SETTINGS, sees=Capability.SEE_SETTINGS)


def lock_tenant(actor: Actor) -> None:
    """Changes of an organization's identity provider come one after the other."""
    Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)


def active_provider(actor: Actor) -> IdentityProvider | None:
    return IdentityProvider.objects.filter(tenant_id=actor.tenant_id, is_active=True).first()


def prepared(actor: Actor) -> Any:
    """The one that is only prepared: neither planned nor ever in force."""
    rows = IdentityProvider.objects.filter(tenant_id=actor.tenant_id, is_active=False)
    return rows.filter(ended_at=None, switch_at=None)


def can_come(actor: Actor, *, at: datetime) -> Any:
    """Those that may come into force: prepared, planned, or in force until lately."""
    rows = IdentityProvider.objects.filter(tenant_id=actor.tenant_id, is_active=False)
    return rows.exclude(ended_at__lte=at - PROVIDER_KEPT)


def refuse_second_change(actor: Actor) -> None:
    """:raises ChangeUnderWay: a change is waiting."""
    if IdentityProvider.objects.filter(tenant_id=actor.tenant_id, switch_at__isnull=False).exists():
        raise ChangeUnderWay


def record_provider(actor: Actor, what: str, provider: IdentityProvider, at: datetime, **facts: Any) -> None:
    """A line of the audit trail about a configuration; never its secret."""
    record(
        actor,
        f"directory.identity_provider.{what}",
        at=at,
        target_type="identity_provider",
        target_id=provider.key,
        target_label=provider.issuer[:200],
        **facts,
    )


def _check_line(text: str, longest: int, field: str, problem: Any) -> None:
    if not text or len(text) > longest or not text.isprintable():
        raise Malformed(problem, field=field)
