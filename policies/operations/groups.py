"""What becomes of a group's exceptions when the group is deleted."""

from django.utils.translation import gettext as _

from directory.hooks import GroupEnding
from directory.operations import audit
from policies.models import GroupPolicy, PolicyChange


def end_exceptions(ending: GroupEnding) -> None:
    """Take the group's exceptions away, each with its line in the policy's history.

    Registered on `directory.hooks.group_ending`.
    """
    actor, group = ending.actor, ending.group
    rows = list(GroupPolicy.objects.filter(tenant_id=actor.tenant_id, group=group).order_by("id"))
    changes = [
        PolicyChange(
            tenant_id=actor.tenant_id,
            at=ending.at,
            target=PolicyChange.Target.GROUP,
            target_key=row.key,
            target_label=row.key,
            level=row.level,
            group_id=group.pk,
            group_name=group.name,
            before={"value": row.value},
            after={"value": None},
            why=_("The group was deleted."),
            actor_user_id=actor.user_id,
            actor_label=actor.label,
            on_behalf_of=actor.relationship_label,
            door=actor.door,
        )
        for row in rows
    ]
    PolicyChange.objects.bulk_create(changes)
    audit.record_all(
        [
            audit.entry(
                actor,
                "policies.group_policy.changed",
                at=ending.at,
                target_type=row.level,
                target_id=row.key or actor.tenant_id,
                target_label=group.name,
                before={"value": row.value},
                after={"value": None, "why": _("The group was deleted.")},
            )
            for row in rows
        ]
    )
    GroupPolicy.objects.filter(pk__in=[row.pk for row in rows]).delete()
