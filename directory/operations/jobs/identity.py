"""In whose name a job works, and under which name its end is recorded."""

from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import DomainError
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor, tenant_row
from directory.models import AuditEntry, Job, Tenant, User
from directory.operations.jobs.states import STARTED
from directory.permissions import suspended


class StarterGone(DomainError):
    """Whoever started the job is disabled, gone, or may no longer act for the organization."""

    code = "starter_gone"
    message = _("%(name)s, who started it, may no longer act here. What was done before stays done.")

    def __init__(self, name: str) -> None:
        super().__init__(self.message % {"name": name}, name=name)


class StarterDemoted(DomainError):
    """Whoever started the job has lost the right that it needs."""

    code = "starter_demoted"
    message = _(
        "%(name)s, who started it, no longer has the right that it needs. What was done before stays done."
    )

    def __init__(self, name: str) -> None:
        super().__init__(self.message % {"name": name}, name=name)


def actor_of(job: Job, *, at: datetime) -> Actor:
    """Whoever started the job, with the rights of now, read again for each chunk (I-24).

    :raises StarterGone: disabled, deleted, or the partner relationship is over.
    :raises StarterDemoted: the rights no longer reach as far as at the start.
    """
    if job.actor_user_id is None:
        return replace(Actor.system(job.tenant_id), correlation_id=job.correlation_id)
    with tenant_atomic(job.actor_tenant_id):
        user: User | None = User.objects.active().filter(pk=job.actor_user_id).first()
        actor = _rebuilt(user, job, at) if user is not None else None
    if actor is None:
        raise StarterGone(job.actor_label)
    if tenant_row(job.tenant_id).standing == Tenant.Standing.SUSPENDED:
        actor = replace(actor, grants=suspended(actor.grants))
    held = actor.scopes(job.capability)
    if not job.capability:
        return actor
    if not held or ("all" not in held and not set(job.scopes) <= held):
        raise StarterDemoted(job.actor_label)
    return actor


def _rebuilt(user: User, job: Job, at: datetime) -> Actor | None:
    return build_actor(
        user, acting_tenant_id=job.tenant_id, at=at, door="job", correlation_id=job.correlation_id
    )


def name_of(job: Job) -> Actor:
    """The name under which the end is recorded, also of someone who has no rights left: marked as the start was."""
    started = AuditEntry.objects.filter(
        tenant_id=job.tenant_id, target_type="job", target_id=str(job.key), code=STARTED
    )
    marked = (
        "" if job.tenant_id == job.actor_tenant_id else started.values_list("on_behalf_of", flat=True).first()
    )
    return Actor(
        user_id=job.actor_user_id,
        tenant_id=job.tenant_id,
        home_tenant_id=job.actor_tenant_id,
        label=job.actor_label,
        relationship_label=marked or "",
        door="job",
        correlation_id=job.correlation_id,
    )
