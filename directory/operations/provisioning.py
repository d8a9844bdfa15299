"""Accounts as the organization's own directory keeps them, over SCIM (docs/scim.md, docs/adr/0029).

What ends and returns is what ends and returns when an admin does it in the portal.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible, constraint_of
from config.kit.tenancy import atomic, tenant_atomic
from directory.hooks import person_left
from directory.models import RoleAssignment, User
from directory.models.people import fold, fold_user_name
from directory.operations.audit import record
from directory.operations.people import (
    end_access,
    last_admin_refused,
    lock_managed,
    require_may_manage,
    restore_access,
    target_of,
)
from directory.permissions import Capability
from directory.profiles import Profile


class UserNameTaken(Conflict):
    """Another account of this organization is called so; others' are not looked at."""

    code = "user_name_taken"
    message = _("Another account of this organization has this userName.")
    scim_type = "uniqueness"


class ExternalIdTaken(Conflict):
    code = "external_id_taken"
    message = _("Another account of this organization has this externalId.")
    scim_type = "uniqueness"


class Moved(Conflict):
    """Somebody else changed it since it was read."""

    code = "moved"
    status = 412


class ExternalIdFixed(NotAllowed):
    """The first sign-in of an admin is matched by it, so whoever could change it could become that admin (I-23)."""

    code = "external_id_fixed"
    message = _("The externalId of an admin who has not signed in yet cannot be changed.")


def profile_of(user: User) -> Profile:
    """What the directory sees of an account. Who was never named by it goes by mail, or by key where there is none."""
    return Profile(
        user_name=user.user_name or user.email or str(user.key),
        external_id=user.external_id,
        name=user.name,
        given_name=user.given_name,
        family_name=user.family_name,
        email=user.email,
        language=user.language,
        source=user.source,
        is_active=user.is_active,
    )


def create_account(*, actor: Actor, profile: Profile, at: datetime) -> User:
    """Add a member whom the directory names; the first sign-in is matched by the external id alone.

    :raises NotAllowed: the actor may not manage people.
    :raises UserNameTaken, ExternalIdTaken: in this organization.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
        _refuse_shadow(actor, profile, None)
        user = User(tenant_id=actor.tenant_id, created_at=at, kind=User.Kind.MEMBER, **_columns(profile))
        if not profile.is_active:
            user.status, user.disabled_at = User.Status.DISABLED, at
        with _taken_refused():
            user.save(force_insert=True)
        record(actor, "directory.user.provisioned", at=at, **target_of(user), after=asdict(profile))
    return user


def keep_account(*, actor: Actor, user_key: uuid.UUID, profile: Profile, seen: Profile, at: datetime) -> User:
    """Make an account what the directory says, all of it or nothing; disabling is *someone leaves* (product §11).

    `seen` is what the change was made from. Nothing to change is no change. Not inside a transaction.

    :raises NotVisible: nobody of the acting tenant, or deleted.
    :raises NotAllowed: the actor may not manage this person. :raises Moved: no longer as seen.
    :raises UserNameTaken, ExternalIdTaken: in this organization.
    :raises ExternalIdFixed: an admin's, before the first sign-in.
    :raises LastGlobalAdmin: nobody else could manage the organization.
    """
    departure = None
    with tenant_atomic(actor):
        user = _locked(actor, user_key)
        before = profile_of(user)
        if before != seen:
            raise Moved
        if profile == before:
            return user
        _refuse_shadow(actor, profile, user)
        if profile.external_id != before.external_id and not user.subject and _is_admin(user):
            raise ExternalIdFixed
        _write(actor, user, before, profile, at)
        if before.is_active and not profile.is_active:
            with last_admin_refused():
                departure = end_access(actor, user, at)
        elif profile.is_active and not before.is_active:
            restore_access(actor, user, at)
        user.refresh_from_db()
    if departure:
        person_left(departure)
    return user


def _write(actor: Actor, user: User, before: Profile, profile: Profile, at: datetime) -> None:
    """The columns that differ, with an audit row of them; the status has rows of its own."""
    old, new = asdict(before), asdict(profile)
    changed = [name for name in new if new[name] != old[name] and name != "is_active"]
    if not changed:
        return
    columns = _columns(profile)
    if (profile.user_name, profile.email) == (before.user_name, before.email):
        # What stands in for a name goes on doing so.
        columns |= {"user_name": user.user_name, "user_name_folded": user.user_name_folded}
    with _taken_refused():
        User.objects.filter(pk=user.pk).update(**columns, sort_name=fold(profile.name), changed_at=at)
    record(
        actor,
        "directory.user.profile_changed",
        at=at,
        **target_of(user),
        before={name: old[name] for name in changed},
        after={name: new[name] for name in changed},
    )


def _columns(profile: Profile) -> dict[str, Any]:
    return {
        "user_name": profile.user_name,
        "user_name_folded": fold_user_name(profile.user_name),
        "external_id": profile.external_id,
        "name": profile.name,
        "given_name": profile.given_name,
        "family_name": profile.family_name,
        "email": profile.email,
        "language": profile.language,
        "source": profile.source,
    }


def _locked(actor: Actor, user_key: uuid.UUID) -> User:
    found = User.objects.visible_to(actor).filter(key=user_key).values_list("pk", flat=True).first()
    if found is None:
        raise NotVisible
    return lock_managed(actor, found)


def _is_admin(user: User) -> bool:
    return RoleAssignment.objects.filter(tenant_id=user.tenant_id, user=user).exists()


def _refuse_shadow(actor: Actor, profile: Profile, user: User | None) -> None:
    """Refuse a name that an account which the directory never named goes by, which no constraint sees."""
    if user is not None and profile.user_name == profile_of(user).user_name:
        return
    others = User.objects.visible_to(actor).filter(
        user_name_folded="", email=profile.user_name.strip().lower()
    )
    others = others.exclude(status=User.Status.DELETED).exclude(pk=user.pk if user else None)
    if profile.user_name and others.exists():
        raise UserNameTaken


@contextmanager
def _taken_refused() -> Iterator[None]:
    """Translates the two unique constraints by name."""
    try:
        with atomic():
            yield
    except IntegrityError as error:
        match constraint_of(error):
            case "directory_user_user_name":
                raise UserNameTaken from error
            case "directory_user_external_id":
                raise ExternalIdTaken from error
        raise
