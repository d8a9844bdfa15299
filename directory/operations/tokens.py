"""Making, using and revoking tokens for the API (product §16)."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor, Door
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.actors import build_actor, service_actor, tenant_row
from directory.models import ApiToken, Tenant, User
from directory.models.tokens import LONGEST
from directory.operations.audit import record
from directory.permissions import Capability, Role, suspended
from directory.tokens import (
    BILLING_SCOPES,
    FULL,
    SCIM,
    SCOPES,
    digest_of,
    is_well_formed,
    narrowed,
    new_secret,
)

MOST_LIVE = 50
NAME_LENGTH = 100
# Last use is written at most this often.
SEEN_EVERY = timedelta(minutes=1)


class NotAuthenticated(DomainError):
    """No token, or none that is good: unknown, expired, revoked, or of a person who may not sign in."""

    code = "unauthenticated"
    status = 401
    message = _("Send a valid token: Authorization: Bearer ...")


class ScopeTooLow(NotAllowed):
    code = "scope_too_low"
    message = _("This token is not for this: it lacks the scope.")


class TooManyTokens(DomainError):
    code = "too_many_tokens"
    message = _("There are 50 live tokens already. Revoke one that is no longer used.")


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token. Its secret is here and nowhere else: shown once, never stored, never logged."""

    token: ApiToken
    secret: str

    def __repr__(self) -> str:
        return f"Issued({self.token.key})"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls with a token: the actor whose rights are already narrowed by the token's scopes.

    `name` tells callers apart, the same for all tokens of one person.
    """

    actor: Actor
    tenant: Tenant
    scopes: frozenset[str]
    name: str


def issue_personal_token(
    *, actor: Actor, name: str, scopes: Collection[str], days: int, at: datetime, real_at: datetime
) -> Issued:
    """A token that stands for the actor, at most for a year; never wider than the rights at each request.

    :raises NotVisible: who acts for a customer, and who may have no token.
    :raises Malformed: no name, unknown scopes, or a length outside 1 to 366 days.
    :raises TooManyTokens: 50 are live.
    """
    if actor.user_id is None or actor.is_partner or not actor.may(Capability.PERSONAL_TOKENS):
        raise NotVisible
    return issue_for_person(actor=actor, name=name, scopes=scopes, days=days, at=at, real_at=real_at)


def issue_for_person(
    *, actor: Actor, name: str, scopes: Collection[str], days: int, at: datetime, real_at: datetime
) -> Issued:
    """The same without asking whether the person may have one: the installation's operator decides.

    :raises Malformed, TooManyTokens: as `issue_personal_token`.
    """
    chosen = _checked(scopes, allowed=SCOPES.keys() - {SCIM})
    with tenant_atomic(actor):
        # The person's row is the queue in which new tokens are counted.
        if not User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).exists():
            raise NotVisible
        rows = ApiToken.objects.filter(tenant_id=actor.tenant_id, user=actor.user_id)
        _check_count(rows.filter(revoked_at__isnull=True, expires_at__gt=real_at).count())
        token = ApiToken(kind=ApiToken.Kind.PERSONAL, user_id=actor.user_id, scopes=chosen)
        return _issue(actor, token, name, days, at=at, real_at=real_at)


def issue_service_token(
    *, actor: Actor, name: str, scopes: Collection[str], days: int, at: datetime, real_at: datetime
) -> Issued:
    """A token that stands for the organization, with the rights of the role that the actor makes it with.

    :raises NotVisible: the actor does not see service tokens.
    :raises NotAllowed: sees them and may make none, or none with these scopes (I-25).
    :raises Malformed, TooManyTokens: as `issue_personal_token`.
    """
    if not actor.may(Capability.SEE_SERVICE_TOKENS):
        raise NotVisible
    allowed = service_scopes(actor)
    if not allowed:
        raise NotAllowed
    chosen = _checked(scopes, allowed=SCOPES.keys())
    if not set(chosen) <= allowed:
        raise NotAllowed
    ceiling = Role.GLOBAL_ADMIN if actor.may(Capability.SERVICE_TOKENS_ALL) else Role.BILLING_ADMIN
    with tenant_atomic(actor):
        Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        rows = ApiToken.objects.filter(tenant_id=actor.tenant_id, kind=ApiToken.Kind.SERVICE)
        _check_count(rows.filter(revoked_at__isnull=True, expires_at__gt=real_at).count())
        token = ApiToken(kind=ApiToken.Kind.SERVICE, ceiling=ceiling, scopes=chosen)
        return _issue(actor, token, name, days, at=at, real_at=real_at)


def service_scopes(actor: Actor) -> frozenset[str]:
    """The scopes that the actor may give to a service token; empty when none."""
    if actor.may(Capability.SERVICE_TOKENS_ALL):
        return frozenset(SCOPES)
    return BILLING_SCOPES if actor.may(Capability.SERVICE_TOKENS_BILLING) else frozenset()


def revoke_token(*, actor: Actor, key: uuid.UUID, at: datetime, real_at: datetime) -> None:
    """End a token: its next request is refused. Twice is once.

    :raises NotVisible: no such token for the actor.
    :raises NotAllowed: a service token that the actor could not have made.
    """
    with tenant_atomic(actor):
        token = ApiToken.objects.visible_to(actor).select_for_update().filter(key=key).first()
        if token is None:
            raise NotVisible
        if token.kind == ApiToken.Kind.SERVICE and not set(token.scopes) <= service_scopes(actor):
            raise NotAllowed
        if token.is_revoked:
            return
        token.revoked_at, token.revoked_by_id, token.revoked_by = real_at, actor.user_id, actor.label
        token.save(update_fields=["revoked_at", "revoked_by_id", "revoked_by"])
        _record(actor, "directory.token.revoked", token, at)


def use_token(*, secret: str, at: datetime, correlation_id: str = "", door: Door = "api") -> Caller:
    """Whoever a token stands for, with rights read now (I-24); its last use is noted at most once a minute.

    Opens transactions of its own, so that a request which fails takes no note back and waits for none.

    :raises NotAuthenticated: the token is not good, whatever the reason.
    """
    if not is_well_formed(secret):
        raise NotAuthenticated
    with connection().cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM tenant_of_token(%s)", [digest_of(secret)])
        found = cursor.fetchone()
    if found is None:
        raise NotAuthenticated
    tenant_id, token_id = found
    with tenant_atomic(tenant_id):
        token = ApiToken.objects.select_related("user").filter(pk=token_id, revoked_at__isnull=True).first()
        if token is None:
            raise NotAuthenticated
        tenant = tenant_row(tenant_id)
        actor = _actor(token, at=at, correlation_id=correlation_id, door=door)
        _note_use(token_id)
    grants = actor.grants
    if tenant.standing == Tenant.Standing.SUSPENDED:
        grants = suspended(grants)
    scopes = frozenset(token.scopes)
    name = f"user:{token.user_id}" if token.user_id else f"token:{token.pk}"
    return Caller(replace(actor, grants=narrowed(grants, scopes)), tenant, scopes, name)


def _actor(token: ApiToken, *, at: datetime, correlation_id: str, door: Door) -> Actor:
    if token.kind == ApiToken.Kind.SERVICE:
        return service_actor(token, correlation_id=correlation_id, door=door)
    user = token.user
    if user is None or not user.is_active:
        raise NotAuthenticated
    actor = build_actor(
        user, acting_tenant_id=user.tenant_id, at=at, door=door, correlation_id=correlation_id
    )
    if actor is None:
        raise NotAuthenticated
    return actor


def _note_use(token_id: int) -> None:
    """By the database's clock; a row that somebody holds is left alone rather than waited for."""
    with connection().cursor() as cursor:
        cursor.execute(
            """
            UPDATE directory_apitoken SET last_used_at = clock_timestamp()
             WHERE id = (SELECT id FROM directory_apitoken
                          WHERE id = %s AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - make_interval(secs => %s))
                            FOR NO KEY UPDATE SKIP LOCKED)
            """,
            [token_id, SEEN_EVERY.total_seconds()],
        )


def _checked(scopes: Collection[str], *, allowed: Collection[str]) -> list[str]:
    """The scopes in their order, `full` alone where it is among them."""
    if not scopes:
        raise Malformed(_("Choose at least one scope."), field="scopes")
    if not set(scopes) <= set(allowed):
        raise Malformed(_("There is no such scope."), field="scopes")
    if SCIM in scopes and len(set(scopes)) > 1:
        raise Malformed(_("A token for provisioning (scim) has no other scope."), field="scopes")
    return [FULL] if FULL in scopes else [scope for scope in SCOPES if scope in scopes]


def _check_count(live: int) -> None:
    if live >= MOST_LIVE:
        raise TooManyTokens


def _issue(actor: Actor, token: ApiToken, name: str, days: int, *, at: datetime, real_at: datetime) -> Issued:
    name = name.strip()
    if not name or len(name) > NAME_LENGTH or "\0" in name:
        raise Malformed(_("Give it a name of up to 100 characters."), field="name")
    if not 1 <= days <= LONGEST.days:
        raise Malformed(_("A token lasts from 1 to 366 days."), field="days")
    secret = new_secret(token.kind)
    token.tenant_id = actor.tenant_id
    token.name = name
    token.digest, token.ending = digest_of(secret), secret[-4:]
    token.created_at, token.expires_at = real_at, real_at + timedelta(days=days)
    token.issued_by_id, token.issued_by = actor.user_id, actor.label
    token.save(force_insert=True)
    _record(actor, "directory.token.issued", token, at)
    return Issued(token, secret)


def _record(actor: Actor, code: str, token: ApiToken, at: datetime) -> None:
    record(
        actor,
        code,
        at=at,
        target_type="token",
        target_id=token.key,
        target_label=token.name,
        after={
            "kind": token.kind,
            "scopes": token.scopes,
            "ending": token.ending,
            "expires_at": token.expires_at.isoformat(),
        },
    )
