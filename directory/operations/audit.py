"""Writing the audit trail, in the transaction of the change (I-26)."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry


def entry(
    actor: Actor,
    code: str,
    *,
    at: datetime,
    target_type: str,
    target_id: object,
    target_label: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """One unsaved row; bulk operations collect many and write them with `record_all`."""
    return AuditEntry(
        tenant_id=actor.tenant_id,
        at=at,
        code=code,
        actor_user_id=actor.user_id,
        actor_tenant_id=actor.home_tenant_id,
        actor_label=actor.label,
        on_behalf_of=actor.relationship_label,
        door=actor.door,
        correlation_id=actor.correlation_id,
        target_type=target_type,
        target_id=str(target_id),
        target_label=target_label[:200],
        before=before,
        after=after,
    )


def record(actor: Actor, code: str, **facts: Any) -> None:
    """Write one row; the keywords of `entry`. `code` is `app.noun.past_tense`."""
    entry(actor, code, **facts).save(force_insert=True)


def record_for(tenant_ids: Collection[int], actor: Actor, code: str, **facts: Any) -> None:
    """Write the same row into the trail of each organization that it concerns; the keywords of `entry`."""
    for tenant_id in tenant_ids:
        with tenant_atomic(tenant_id):
            record(replace(actor, tenant_id=tenant_id), code, **facts)


def record_all(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.bulk_create(entries)
