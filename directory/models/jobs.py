"""Work that takes longer than a request (architecture §10): PostgreSQL is its queue, its log and its result."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel


class JobQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        """Own jobs, and those of others, as far as the actor still holds what each was started with.

        A result is of rows that the starter saw then, so whoever reads it must reach at least as far now. What
        was done with the rights over one's own things is nobody else's, nor is what names no capability.
        """
        if actor.is_system:
            return super().visible_to(actor)
        reach = Q(pk__in=())
        if actor.user_id is not None:
            reach |= Q(capability="", actor_user_id=actor.user_id)
        for capability, scopes in actor.grants.items():
            if "all" in scopes:
                reach |= Q(capability=capability) & (
                    Q(actor_user_id=actor.user_id) | ~Q(scopes__contains=["own"])
                )
            else:
                within = Q(capability=capability, scopes__contained_by=sorted(scopes))
                reach |= within & (Q(actor_user_id=actor.user_id) | ~Q(scopes__contains=["own"]))
        return super().visible_to(actor).filter(reach)

    def live(self) -> Self:
        """Those that a worker has still to do something for."""
        return self.filter(state__in=Job.LIVE)


class Job(TenantModel):
    """One piece of work for one tenant, done in chunks by workers, in the name of whoever started it.

    Queued; running from the first chunk, between chunks and after a worker died; interrupted by a person, who may
    resume it; done, failed with its `reason`, or canceled. `done` and `failed` count its rows, `total` is unknown
    while null. `cursor` is where the next chunk begins: it moves in the transaction of what the chunk did.

    The columns that name the actor are plain, since a partner's user belongs to another tenant. `scopes` are those
    of `capability` at the start. Lease and turns are on real time by the database's clock; the other instants
    on the portal's.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        INTERRUPTED = "interrupted", _("Paused")
        DONE = "done", _("Done")
        FAILED = "failed", _("Stopped")
        CANCELED = "canceled", _("Canceled")

    LIVE = (State.QUEUED, State.RUNNING)
    ENDED = (State.DONE, State.FAILED, State.CANCELED)

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    back = models.CharField(max_length=200, blank=True)
    capability = models.CharField(max_length=40)
    scopes = models.JSONField(default=list)
    actor_user_id = models.BigIntegerField(null=True)
    actor_tenant_id = models.BigIntegerField()
    actor_label = models.CharField(max_length=200)
    door = models.CharField(max_length=4)
    correlation_id = models.CharField(max_length=64, blank=True)
    language = models.CharField(max_length=10, default="en")
    parameters = models.JSONField(default=dict)
    total = models.IntegerField(null=True)
    done = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    state = models.CharField(max_length=11, choices=State.choices, default=State.QUEUED)
    reason = models.CharField(max_length=500, blank=True)
    cursor = models.JSONField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    turn = models.IntegerField(default=0)
    tries = models.SmallIntegerField(default=0)
    taken_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)
    file_name = models.CharField(max_length=120, blank=True)
    file_type = models.CharField(max_length=100, blank=True)
    file_bytes = models.BigIntegerField(default=0)

    objects = JobQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.CheckConstraint(
                condition=Q(done__gte=0, failed__gte=0)
                & (Q(total=None) | Q(total__gte=models.F("done") + models.F("failed"))),
                name="directory_job_counts",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("done", "failed", "canceled"), finished_at__isnull=False)
                | Q(state__in=("queued", "running", "interrupted"), finished_at=None),
                name="directory_job_finished",
            ),
            models.CheckConstraint(
                condition=Q(leased_until=None) | Q(state="running"), name="directory_job_leased"
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], condition=Q(state__in=("queued", "running")), name="directory_job_live"
            ),
            models.Index(fields=["id"], condition=Q(state="failed"), name="directory_job_stopped"),
            models.Index(fields=["tenant", "-taken_at"], name="directory_job_turns"),
            models.Index(fields=["tenant", "-id"], name="directory_job_latest"),
            models.Index(
                fields=["finished_at"], condition=Q(finished_at__isnull=False), name="directory_job_ended"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE

    @property
    def has_file(self) -> bool:
        """Whether the result is whole; what a job has written before its end is given to nobody."""
        return bool(self.file_name) and self.state == self.State.DONE and self.file_bytes > 0


class JobRow(TenantModel):
    """What became of one row of a job; written in the transaction of what was done to it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="rows", db_constraint=False)
    number = models.IntegerField()
    subject = models.CharField(max_length=300)
    code = models.CharField(max_length=40)
    message = models.CharField(max_length=500, blank=True)
    is_failed = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="job", name="directory_jobrow_job"),
            models.UniqueConstraint(fields=["job", "number"], name="directory_jobrow_once"),
        ]
        indexes = [
            models.Index(
                fields=["job", "number"], condition=Q(is_failed=True), name="directory_jobrow_failed"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.subject}"


class JobPart(TenantModel):
    """A piece of a job's result file. In the database, so that every web machine can give it out (I-28)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="parts", db_constraint=False)
    number = models.IntegerField()
    content = models.BinaryField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="job", name="directory_jobpart_job"),
            models.UniqueConstraint(fields=["job", "number"], name="directory_jobpart_once"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number}"
