"""Accounts and groups."""

import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, NotVisible, constraint_of
from config.kit.tenancy import atomic, connection, tenant_atomic
from directory.hooks import (
    Departure,
    MembershipChange,
    membership_changed,
    person_leaving,
    person_left,
)
from directory.models import (
    AccountLink,
    ApiToken,
    BrowserSession,
    Group,
    GroupMembership,
    IdentityProvider,
    RoleAssignment,
    Tenant,
    User,
)
from directory.operations.audit import record
from directory.permissions import Capability

# How long the identity provider before can be gone back to, and its people can come along.
PROVIDER_KEPT = timedelta(days=30)


class AccountExists(Conflict):
    """The account of that issuer and subject is already in this organization."""

    code = "account_exists"
    message = _("This person already has an account here.")


class LastGlobalAdmin(Conflict):
    """Somebody must keep the organization's settings (I-25)."""

    code = "last_global_admin"
    message = _("An organization keeps at least one active global admin. Make somebody else one first.")


class OwnAccount(Conflict):
    """Nobody ends the own access: somebody else decides about it."""

    code = "own_account"
    message = _("You cannot disable or delete your own account. Ask another admin. Nothing was changed.")


class GroupNameTaken(Conflict):
    """Another group of this organization has the name."""

    code = "group_name_taken"
    message = _("A group of this name exists.")
    scim_type = "uniqueness"


class GroupExternalIdTaken(Conflict):
    code = "group_external_id_taken"
    message = _("Another group of this organization has this externalId.")
    scim_type = "uniqueness"


class AccountUnknown(DomainError):
    """The organization's identity provider vouches for a person who has no account here and gets none."""

    code = "account_unknown"
    status = 403
    message = _("Your organization does not let new people in by themselves. Ask your IT admin for access.")


class AccountDisabled(DomainError):
    """The account exists and is disabled."""

    code = "account_disabled"
    status = 403
    message = _("Your account is disabled.")


def create_user(
    *,
    actor: Actor,
    name: str,
    email: str,
    at: datetime,
    issuer: str = "",
    subject: str = "",
    source: str = User.Source.CLOUD,
    language: str = "",
) -> User:
    """Add a member to the acting tenant.

    :raises NotAllowed: the actor may not manage people.
    :raises AccountExists: issuer and subject are known here.
    """
    return _create(
        actor,
        at=at,
        kind=User.Kind.MEMBER,
        name=name,
        email=email,
        issuer=issuer,
        subject=subject,
        source=source,
        language=language,
    )


def create_guest(
    *, actor: Actor, name: str, email: str, issuer: str, subject: str, at: datetime, language: str = ""
) -> User:
    """Invite a person of another organization: an own row here, with the issuer and subject of their home.

    :raises NotAllowed: the actor may not manage people.
    :raises AccountExists: issuer and subject are known here.
    """
    return _create(
        actor,
        at=at,
        kind=User.Kind.GUEST,
        name=name,
        email=email,
        issuer=issuer,
        subject=subject,
        source=User.Source.CLOUD,
        language=language,
    )


def create_member_at_sign_in(
    *,
    tenant_id: int,
    issuer: str,
    subject: str,
    name: str,
    email: str,
    at: datetime,
    is_guest: bool = False,
    external_ids: Collection[str] = (),
    correlation_id: str = "",
) -> User:
    """The account of a person whom the tenant's identity provider vouched for just now (product §3.2).

    Known by (tenant, issuer, subject) alone, never by mail. The first time, a member whom the organization's
    directory made is known by one of the `external_ids` of the verified token, and from then on by the account key. An
    unknown person becomes a member, or a guest where the provider says so, if the organization lets that happen and
    no directory keeps its accounts. Two first sign-ins at once make one row.

    :raises AccountUnknown: not known, or deleted, and the organization creates no members.
    :raises AccountDisabled: known and disabled.
    """
    with tenant_atomic(tenant_id):
        account = {"tenant_id": tenant_id, "issuer": issuer, "subject": subject}
        user: User | None = User.objects.select_for_update().filter(**account).first()
        if user is None or user.status == User.Status.DELETED:
            user = _claim_provisioned(account, external_ids, at, is_guest=is_guest, former=user) or user
        if user is None:
            if not Tenant.objects.get(pk=tenant_id).creates_members or is_kept_by_directory(tenant_id):
                raise AccountUnknown
            user, is_new = _insert_once(
                **account,
                kind=User.Kind.GUEST if is_guest else User.Kind.MEMBER,
                name=name,
                email=email,
                created_at=at,
            )
            if is_new:
                system = Actor.system(tenant_id, label="Sign-in", door="web")
                record(
                    system, "directory.user.created_at_sign_in", at=at, **target_of(user), after=_facts(user)
                )
        if user.status == User.Status.DELETED:
            raise AccountUnknown
        if user.status == User.Status.DISABLED:
            raise AccountDisabled
        return user


def _claim_provisioned(
    account: Mapping[str, Any],
    external_ids: Collection[str],
    at: datetime,
    *,
    is_guest: bool,
    former: User | None,
) -> User | None:
    """Give the one account that the directory made for this person its key, once and for ever (I-23).

    Only an active one that has no key yet, or one of the provider before (`_left_behind`). Whom the provider calls a guest
    becomes one. `former`: the person's deleted row, which gives the key up.
    """
    tenant_id = account["tenant_id"]
    named = User.objects.active().members().filter(tenant_id=tenant_id)
    named = named.filter(external_id__in=set(external_ids) - {""})
    unclaimed = named.filter(Q(subject="") | _left_behind(tenant_id, at))
    found = list(unclaimed.select_for_update().order_by("id")[:2])
    if len(found) != 1:
        # Of two first sign-ins at once the second finds what the first has just claimed.
        again: User | None = None if former else User.objects.filter(**account).first()
        return again
    if former is not None:
        User.objects.filter(pk=former.pk).update(issuer="", subject="")
    user: User = found[0]
    _keep_links(user, at)
    user.issuer, user.subject = account["issuer"], account["subject"]
    user.kind = User.Kind.GUEST if is_guest else user.kind
    user.save(update_fields=["issuer", "subject", "kind"])
    system = Actor.system(tenant_id, label="Sign-in", door="web")
    record(
        system,
        "directory.user.claimed_at_sign_in",
        at=at,
        **target_of(user),
        after={"issuer": user.issuer, "external_id": user.external_id},
    )
    return user


def _left_behind(tenant_id: int, at: datetime) -> Exists:
    """Accounts whose key is of a provider that another one took the place of lately, and that did not come along.

    Never of who holds a role: whoever writes externalIds could become that admin (docs/adr/0035).
    """
    came_along = AccountLink.objects.filter(provider=OuterRef("pk"), user=OuterRef(OuterRef("pk")))
    roles = RoleAssignment.objects.filter(user=OuterRef(OuterRef("pk")))
    return Exists(
        _lately_ended(tenant_id, at)
        .filter(issuer=OuterRef("issuer"), ended_at__gt=OuterRef("created_at"))
        .filter(~Exists(came_along), ~Exists(roles))
    )


def _lately_ended(tenant_id: int, at: datetime) -> QuerySet[IdentityProvider]:
    rows = IdentityProvider.objects.filter(tenant_id=tenant_id, has_moved_people=True)
    ended: QuerySet[IdentityProvider] = rows.filter(ended_at__gt=at - PROVIDER_KEPT)
    return ended


def _keep_links(user: User, at: datetime) -> None:
    """Remember as whom the person was known at the providers before, for the way back; and that they came along."""
    AccountLink.objects.bulk_create(
        (
            AccountLink(
                tenant_id=user.tenant_id,
                provider=provider,
                user=user,
                subject=user.subject if provider.issuer == user.issuer else "",
            )
            for provider in _lately_ended(user.tenant_id, at)
        ),
        ignore_conflicts=True,
    )


def is_kept_by_directory(tenant_id: int) -> bool:
    """Whether the organization's directory keeps its accounts over SCIM: a token for that was used and not revoked."""
    return ApiToken.objects.filter(
        tenant_id=tenant_id,
        scopes__contains=["scim"],
        revoked_at__isnull=True,
        last_used_at__isnull=False,
    ).exists()


def record_sign_in(*, actor: Actor, user: User, at: datetime) -> None:
    """Remember when the person signed in last, with an audit row."""
    with tenant_atomic(actor.home_tenant_id):
        User.objects.filter(pk=user.pk).update(signed_in_at=at)
        record(actor, "directory.user.signed_in", at=at, **target_of(user))


def disable_user(*, actor: Actor, user_id: int, at: datetime) -> None:
    """End a person's access at once; what they bought stays (product §11).

    Twice is once. Every session of the person ends, also if the account is enabled again. The own licenses are kept
    for as many days as the organization says, with none at once. Not inside a transaction.

    :raises NotVisible: nobody of the acting tenant.
    :raises NotAllowed: the actor may not manage this person. :raises OwnAccount: it is the actor's own.
    :raises LastGlobalAdmin: nobody else could manage the organization.
    """
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id)
        refuse_own_account(actor, user)
        if user.status != User.Status.ACTIVE:
            return
        with last_admin_refused():
            departure = end_access(actor, user, at)
    person_left(departure)


def enable_user(*, actor: Actor, user_id: int, at: datetime) -> None:
    """Give a disabled person access again; everything is as before. Twice is once.

    :raises NotVisible: nobody of the acting tenant.
    :raises NotAllowed: the actor may not manage this person.
    """
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id)
        if user.status != User.Status.DISABLED:
            return
        restore_access(actor, user, at)


def end_access(actor: Actor, user: User, at: datetime) -> Departure:
    """Disable a locked, active person; `person_left` is to be called with the answer after the commit."""
    departure = Departure(user, actor, at, is_deletion=False)
    User.objects.filter(pk=user.pk).update(
        status=User.Status.DISABLED, disabled_at=at, sessions_valid_from=at, changed_at=at
    )
    BrowserSession.objects.open().filter(tenant_id=actor.tenant_id, user=user).update(ended_at=Now())
    record(
        actor,
        "directory.user.disabled",
        at=at,
        **target_of(user),
        before={"status": User.Status.ACTIVE.value},
        after={"status": User.Status.DISABLED.value},
    )
    person_leaving(departure)
    return departure


def restore_access(actor: Actor, user: User, at: datetime) -> None:
    """Make a locked, disabled person active again."""
    User.objects.filter(pk=user.pk).update(status=User.Status.ACTIVE, disabled_at=None, changed_at=at)
    record(
        actor,
        "directory.user.enabled",
        at=at,
        **target_of(user),
        before={"status": User.Status.DISABLED.value},
        after={"status": User.Status.ACTIVE.value},
    )


def create_group(*, actor: Actor, name: str, at: datetime, external_id: str = "") -> Group:
    """Make a group in the acting tenant; `external_id` is what the organization's directory calls it.

    :raises NotAllowed: the actor may not manage people and groups.
    :raises GroupNameTaken, GroupExternalIdTaken: as named.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
        with group_taken_refused():
            group: Group = Group.objects.create(
                tenant_id=actor.tenant_id, name=name, external_id=external_id, created_at=at
            )
        record(
            actor,
            "directory.group.created",
            at=at,
            target_type="group",
            target_id=group.key,
            target_label=name,
        )
    return group


def add_member(*, actor: Actor, group_key: uuid.UUID, user_id: int, at: datetime) -> None:
    """Put a person of the acting tenant into a group. Twice is once.

    :raises NotVisible: no such group or person in the acting tenant.
    :raises NotAllowed: the actor may not manage people and groups.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
        group = Group.objects.visible_to(actor).select_for_update().filter(key=group_key).first()
        if group is None:
            raise NotVisible
        user = lock_managed(actor, user_id, is_checked=True)
        _membership, is_new = GroupMembership.objects.get_or_create(
            tenant_id=actor.tenant_id, group=group, user=user
        )
        if is_new:
            record(
                actor,
                "directory.group.member_added",
                at=at,
                target_type="group",
                target_id=group.key,
                target_label=group.name,
                after={"user": str(user.key)},
            )
            Group.objects.filter(pk=group.pk).update(changed_at=at)
            membership_changed(MembershipChange(actor, group.pk, at, added=[user.pk]))


def require_active(user_id: int) -> None:
    """Refuse what somebody who was disabled or deleted may not do; they stay active until the transaction ends.

    For what began while the person was active and goes on by itself, such as a payment (F-22). Waits for whoever is
    disabling them right now, and makes the next one wait. Inside `tenant_atomic`.

    :raises AccountDisabled: the person is not active.
    """
    with connection().cursor() as cursor:
        cursor.execute("SELECT status FROM directory_user WHERE id = %s FOR KEY SHARE", [user_id])
        row = cursor.fetchone()
    if row is None or row[0] != User.Status.ACTIVE:
        raise AccountDisabled


def mark_purchaser(user: User, at: datetime) -> None:
    """Open the limited view for a person who bought something; it stays open (product §4).

    Runs inside the transaction of the purchase, which has the audit row.
    """
    User.objects.filter(pk=user.pk, tenant_id=user.tenant_id, purchaser_since=None).update(purchaser_since=at)


def _create(actor: Actor, *, at: datetime, **fields: Any) -> User:
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
        user, is_new = _insert_once(tenant_id=actor.tenant_id, created_at=at, **fields)
        if not is_new:
            raise AccountExists
        record(actor, "directory.user.created", at=at, **target_of(user), after=_facts(user))
    return user


def _insert_once(**fields: Any) -> tuple[User, bool]:
    """The new row, or the one that another transaction inserted first, and whether it is new."""
    fields["email"] = fields["email"].strip().lower()
    fields["name"] = fields["name"].strip()[:200] or fields["email"]
    try:
        with atomic():
            return User.objects.create(**fields), True
    except IntegrityError as error:
        if constraint_of(error) != "directory_user_account_key":
            raise
    account = {name: fields[name] for name in ("tenant_id", "issuer", "subject")}
    return User.objects.select_for_update().get(**account), False


def lock_managed(actor: Actor, user_id: int, *, is_checked: bool = False) -> User:
    """One person of the acting tenant, locked, whom the actor may manage."""
    user: User | None = (
        User.objects.visible_to(actor)
        .select_for_update()
        .filter(pk=user_id)
        .exclude(status=User.Status.DELETED)
        .first()
    )
    if user is None:
        raise NotVisible
    if not is_checked:
        is_admin = RoleAssignment.objects.filter(tenant_id=actor.tenant_id, user=user).exists()
        capability = Capability.MANAGE_ADMINS if is_admin else Capability.MANAGE_MEMBERS
        require_may_manage(actor, capability, sees=Capability.SEE_PEOPLE)
    return user


def refuse_own_account(actor: Actor, user: User) -> None:
    """:raises OwnAccount: the person is the actor."""
    if actor.user_id == user.pk:
        raise OwnAccount


def require_may_manage(actor: Actor, capability: str, *, sees: str) -> None:
    if not actor.is_system:
        actor.require(capability, is_own=False, is_org=True, sees=sees)


@contextmanager
def last_admin_refused() -> Iterator[None]:
    """Translates the refusal of the trigger `directory_keep_global_admin`."""
    try:
        with atomic():
            yield
    except IntegrityError as error:
        if constraint_of(error) == "directory_keep_global_admin":
            raise LastGlobalAdmin from error
        raise


@contextmanager
def group_taken_refused() -> Iterator[None]:
    """Translates the two unique constraints of a group by name."""
    try:
        with atomic():
            yield
    except IntegrityError as error:
        match constraint_of(error):
            case "directory_group_name":
                raise GroupNameTaken from error
            case "directory_group_external_id":
                raise GroupExternalIdTaken from error
        raise


def target_of(user: User) -> dict[str, Any]:
    return {"target_type": "user", "target_id": user.key, "target_label": user.name}


def _facts(user: User) -> dict[str, Any]:
    return {"name": user.name, "email": user.email, "kind": user.kind, "source": user.source}
