"""Mails about what a tenant allows, queued in the transaction of what they tell (product §15)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from config.kit.actors import Actor
from directory.actors import tenant_row
from directory.models import User
from directory.operations.mail import queue_mail
from directory.permissions import Role
from policies.models import PolicyChange


def queue_policy_changed(*, actor: Actor, changes: Sequence[PolicyChange], at: datetime) -> None:
    """What was changed and by whom, to the other global and billing admins. One mail for what was saved at once."""
    if not changes:
        return
    queue_mail(
        "policy_changed",
        event_key=str(changes[0].key),
        to=[admin for admin in billing_admins(actor.tenant_id) if admin.pk != actor.user_id],
        tenant_id=actor.tenant_id,
        context={
            "organization": tenant_row(actor.tenant_id).name,
            "by": actor.label,
            "on_behalf_of": actor.relationship_label,
            "why": changes[0].why,
            "changed_at": at.isoformat(),
            "changes": [facts_of(change) for change in changes],
            "link": policy_link(),
        },
        at=at,
    )


def facts_of(change: PolicyChange) -> dict[str, Any]:
    """What a mail says of one change, as plain values."""
    return {
        "target": change.target,
        "name": change.target_label or change.target_key,
        "level": change.level,
        "group": change.group_name,
        "before": change.before,
        "after": change.after,
    }


def policy_link() -> str:
    """The page of the policy. The path, not the name of its address, as `commerce.operations.notices` has it."""
    return f"{settings.PUBLIC_URL}/admin/billing/policy/"


def billing_admins(tenant_id: int) -> list[User]:
    """The active global and billing admins. One query."""
    return list(
        User.objects.active()
        .filter(tenant_id=tenant_id, role_assignments__role__in=(Role.GLOBAL_ADMIN, Role.BILLING_ADMIN))
        .order_by("id")
        .distinct("id")
    )
