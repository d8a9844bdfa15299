"""Taking people out of groups; `people` makes groups and fills them."""

import uuid
from datetime import datetime

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import tenant_atomic
from directory.hooks import MembershipChange, membership_changed
from directory.models import Group, GroupMembership
from directory.operations.audit import record
from directory.operations.people import lock_managed, require_may_manage
from directory.permissions import Capability


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
            membership_changed(MembershipChange(actor, group.pk, at, removed=[user.pk]))
