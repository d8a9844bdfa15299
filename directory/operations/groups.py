"""Taking people out of groups, renaming and deleting them, and as the organization's own directory keeps them;
`people` makes groups."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import Count, Max
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.hooks import (
    GroupEnding,
    GroupRenamed,
    MembershipChange,
    group_ending,
    group_renamed,
    membership_changed,
)
from directory.models import Group, GroupMembership
from directory.operations.audit import entry, record, record_all
from directory.operations.people import group_taken_refused, lock_managed, require_may_manage
from directory.operations.provisioning import Moved
from directory.permissions import Capability
from directory.profiles import GroupState


class MemberUnknown(Malformed):
    """Somebody who is to be put into a group is nobody of this organization."""

    code = "member_unknown"

    def __init__(self) -> None:
        super().__init__(_("A member is not an account of this organization."), field="members")


def remove_member(*, actor: Actor, group_key: uuid.UUID, user_id: int, at: datetime) -> None:
    """Take a person of the acting tenant out of a group. Twice is once.

    :raises NotVisible: no such group or person in the acting tenant.
    :raises NotAllowed: the actor may not manage people and groups.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
        group = Group.objects.visible_to(actor).select_for_update().filter(key=group_key).first()
        if group is None:
            raise NotVisible
        user = lock_managed(actor, user_id, is_checked=True)
        gone, _rows = GroupMembership.objects.filter(
            tenant_id=actor.tenant_id, group=group, user=user
        ).delete()
        if gone:
            record(
                actor,
                "directory.group.member_removed",
                at=at,
                target_type="group",
                target_id=group.key,
                target_label=group.name,
                before={"user": str(user.key)},
            )
            Group.objects.filter(pk=group.pk).update(changed_at=at)
            membership_changed(MembershipChange(actor, group.pk, at, removed=[user.pk]))


def state_of(group: Group) -> GroupState:
    """The group as its directory sees it; under the group's lock nothing of it changes. One query."""
    rows = GroupMembership.objects.filter(tenant_id=group.tenant_id, group=group)
    sums = rows.aggregate(members=Count("id"), last=Coalesce(Max("id"), 0))
    return GroupState(group.name, group.external_id, sums["members"], sums["last"])


def keep_group(
    *,
    actor: Actor,
    group_key: uuid.UUID,
    name: str,
    external_id: str,
    added: Collection[uuid.UUID],
    removed: Collection[uuid.UUID],
    seen: GroupState,
    at: datetime,
) -> Group:
    """Make a group what the organization's directory says; people by key, all at once or nothing.

    `seen` is what the change was made from. Who is in it already, or out of it, stays so.

    :raises NotVisible: no such group in the acting tenant. :raises Moved: no longer as seen.
    :raises NotAllowed: the actor may not manage people and groups.
    :raises MemberUnknown: somebody to add is nobody of the acting tenant.
    :raises GroupNameTaken, GroupExternalIdTaken: as named.
    """
    with tenant_atomic(actor):
        group = lock_group(actor, group_key)
        if state_of(group) != seen:
            raise Moved
        _call(actor, group, name, external_id, at)
        fill_group(actor=actor, group=group, added=added, removed=removed, at=at)
    return group


def rename_group(*, actor: Actor, group_key: uuid.UUID, name: str, at: datetime) -> Group:
    """Give a group another name; what higher apps keep under its name follows.

    :raises NotVisible: no such group in the acting tenant. :raises GroupNameTaken: as named.
    :raises NotAllowed: the actor may not manage people and groups.
    """
    with tenant_atomic(actor):
        group = lock_group(actor, group_key)
        _call(actor, group, name, group.external_id, at)
    return group


def _call(actor: Actor, group: Group, name: str, external_id: str, at: datetime) -> None:
    """Give a locked group its names. :raises GroupNameTaken, GroupExternalIdTaken: as named."""
    before = {"name": group.name, "external_id": group.external_id}
    after = {"name": name, "external_id": external_id}
    if before == after:
        return
    with group_taken_refused():
        Group.objects.filter(pk=group.pk).update(**after, changed_at=at)
    group.name, group.external_id = name, external_id
    record(actor, "directory.group.changed", at=at, **_target(group), before=before, after=after)
    if name != before["name"]:
        group_renamed(GroupRenamed(group, actor, at))


def fill_group(
    *, actor: Actor, group: Group, added: Collection[uuid.UUID], removed: Collection[uuid.UUID], at: datetime
) -> None:
    """Put people into a locked group and take others out, by key, in a few statements whatever their number.

    :raises MemberUnknown: somebody to add is nobody of the acting tenant.
    """
    here = {"tenant_id": actor.tenant_id, "group": group}
    gone = dict(
        GroupMembership.objects.filter(user__key__in=removed, **here).values_list("user_id", "user__key")
    )
    GroupMembership.objects.filter(user_id__in=gone, **here).delete()
    people = _held(actor, added)
    known = set(GroupMembership.objects.filter(user_id__in=people, **here).values_list("user_id", flat=True))
    new = {pk: key for pk, key in people.items() if pk not in known}
    GroupMembership.objects.bulk_create(
        (GroupMembership(tenant_id=actor.tenant_id, group=group, user_id=pk) for pk in new), batch_size=1_000
    )
    if not gone and not new:
        return
    Group.objects.filter(pk=group.pk).update(changed_at=at)
    record_all(
        [
            *(
                entry(
                    actor,
                    "directory.group.member_removed",
                    at=at,
                    **_target(group),
                    before={"user": str(key)},
                )
                for key in gone.values()
            ),
            *(
                entry(
                    actor, "directory.group.member_added", at=at, **_target(group), after={"user": str(key)}
                )
                for key in new.values()
            ),
        ]
    )
    membership_changed(MembershipChange(actor, group.pk, at, added=list(new), removed=list(gone)))


def delete_group(*, actor: Actor, group_key: uuid.UUID, at: datetime, seen: GroupState | None = None) -> None:
    """Delete a group: its members go out of it, and what higher apps hang on it ends (docs/people.md).

    :raises NotVisible: no such group in the acting tenant. :raises Moved: no longer as `seen`, where that is given.
    :raises NotAllowed: the actor may not manage people and groups.
    """
    with tenant_atomic(actor):
        group = lock_group(actor, group_key)
        if seen is not None and state_of(group) != seen:
            raise Moved
        here = {"tenant_id": actor.tenant_id, "group": group}
        members = list(GroupMembership.objects.filter(**here).values_list("user_id", flat=True))
        GroupMembership.objects.filter(**here).delete()
        if members:
            membership_changed(MembershipChange(actor, group.pk, at, removed=members))
        group_ending(GroupEnding(group, actor, at))
        record(
            actor,
            "directory.group.deleted",
            at=at,
            **_target(group),
            before={"name": group.name, "members": len(members)},
        )
        Group.objects.filter(pk=group.pk).delete()


def lock_group(actor: Actor, group_key: uuid.UUID) -> Group:
    """One group of the acting tenant, locked, which the actor may manage.

    :raises NotVisible, NotAllowed: as named.
    """
    require_may_manage(actor, Capability.MANAGE_MEMBERS, sees=Capability.SEE_PEOPLE)
    group: Group | None = Group.objects.visible_to(actor).select_for_update().filter(key=group_key).first()
    if group is None:
        raise NotVisible
    return group


def _held(actor: Actor, keys: Collection[uuid.UUID]) -> dict[int, uuid.UUID]:
    """Who the keys name, in order of id, kept from leaving until the transaction ends.

    :raises MemberUnknown: one of them names nobody of the acting tenant.
    """
    if not keys:
        return {}
    with connection().cursor() as cursor:
        cursor.execute(
            """
            SELECT id, key FROM directory_user
             WHERE tenant_id = %s AND key = ANY(%s) AND status <> 'deleted'
             ORDER BY id FOR KEY SHARE
            """,
            [actor.tenant_id, list(keys)],
        )
        people = dict(cursor.fetchall())
    if len(people) != len(set(keys)):
        raise MemberUnknown
    return people


def _target(group: Group) -> dict[str, Any]:
    return {"target_type": "group", "target_id": group.key, "target_label": group.name}
