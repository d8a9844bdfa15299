"""Moving the users of self-service purchases to a central subscription, as a job that can be undone (product §10)."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class CentralizationQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "CentralizationQuerySet":
        """All of the tenant's, for whoever sees all of its purchases: what is moved may be anybody's."""
        rows = self.filter(tenant_id=actor.tenant_id)
        return rows if "all" in actor.scopes(Capability.SEE_PURCHASES) else rows.none()


class Centralization(TenantModel):
    """One run: purchases of one product, whose users get licenses of `target`, and which end afterwards.

    Running while a job gives licenses and takes over or asks; waiting from then to `money_at`, until which it can be
    undone; done once what money had to move is ordered. Or undoing, by a job, and undone. `refund_at` is the instant
    of the start, whose refunds are given; `tried_at` that at which its last job began. `undo_until` is before `money_at` where a purchase runs out sooner.
    `ends_now`: what gives no refund ends with the money, rather than running out.

    The columns that name who started it are plain, since a partner's user belongs to another tenant. `job_key` is
    that of the last job; jobs are forgotten before this is.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        WAITING = "waiting", _("Moved, can be undone")
        DONE = "done", _("Done")
        UNDOING = "undoing", _("Being undone")
        UNDONE = "undone", _("Undone")

    class Ending(models.TextChoices):
        TAKE_OVER = "take_over", _("Take over and end")
        ASK = "ask", _("Ask the purchasers to cancel")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    target = models.ForeignKey(
        "commerce.Subscription", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    ending = models.CharField(max_length=9, choices=Ending.choices)
    ends_now = models.BooleanField(default=False)
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    job_key = models.UUIDField(null=True)
    refund_at = models.DateTimeField()
    tried_at = models.DateTimeField()
    moved_at = models.DateTimeField(null=True)
    money_at = models.DateTimeField(null=True)
    undo_until = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    started_by_id = models.BigIntegerField(null=True)
    started_by = models.CharField(max_length=200)

    objects = CentralizationQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="target", name="licensing_centralization_target"),
            models.CheckConstraint(
                condition=Q(state__in=["done", "undone"], closed_at__isnull=False)
                | (~Q(state__in=["done", "undone"]) & Q(closed_at__isnull=True)),
                name="licensing_centralization_closed",
            ),
            models.CheckConstraint(
                condition=~Q(state="waiting") | Q(moved_at__isnull=False, money_at__isnull=False),
                name="licensing_centralization_waiting",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="licensing_centralize_latest"),
            models.Index(
                fields=["money_at"], condition=Q(state="waiting"), name="licensing_centralize_money"
            ),
        ]

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.RUNNING, self.State.WAITING, self.State.UNDOING)


class CentralizedPurchase(TenantModel):
    """One purchase of a run. `before` is what a take-over changed of it, for undoing.

    Waiting until all its users hold a central license; then taken over, asked about, or left, where it ends without
    that; ended with the money; undone. Blocked with its `problem` where somebody would lose access, or it changed
    since the dry run; it can be tried again. `version` and `refund_minor` are those of the dry run.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        TAKEN_OVER = "taken_over", _("Taken over")
        ASKED = "asked", _("Purchaser asked to cancel")
        LEFT = "left", _("Ends by itself")
        BLOCKED = "blocked", _("Not ended")
        ENDED = "ended", _("Ended")
        UNDONE = "undone", _("As before")

    # Those whose users hold central licenses, so that the purchase may end.
    MOVED = (State.TAKEN_OVER, State.ASKED, State.LEFT, State.ENDED)

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    centralization = models.ForeignKey(
        Centralization, on_delete=models.PROTECT, related_name="purchases", db_constraint=False
    )
    subscription = models.ForeignKey(
        "commerce.Subscription", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    problem = models.CharField(max_length=300, blank=True)
    refund_minor = models.BigIntegerField(default=0)
    refunded_minor = models.BigIntegerField(null=True)
    seen = models.JSONField(default=dict)
    before = models.JSONField(default=dict)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="centralization", name="licensing_centralizedpurchase_run"),
            SameTenant(field="subscription", name="licensing_centralizedpurchase_sub"),
            models.UniqueConstraint(
                fields=["centralization", "subscription"], name="licensing_centralizedpurchase_once"
            ),
            # One run at a time for each purchase.
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(state__in=["waiting", "taken_over"]),
                name="licensing_centralizedpurchase_one_run",
            ),
        ]


class CentralizedPerson(TenantModel):
    """What became of one holder of one purchase. `given` is the central license that the run gave."""

    class Outcome(models.TextChoices):
        MOVED = "moved", _("Got a central license")
        HELD = "held", _("Had a central license already")
        GUEST = "guest", _("Guest, this product is for members only")
        SERVICE_OFF = "service_off", _("Switched off for them")
        DISABLED = "disabled", _("Account is disabled")
        NO_SEAT = "no_seat", _("No central license was free")
        UNDONE = "undone", _("Central license taken back")
        KEPT = "kept", _("Kept the central license")

    # Who would lose access if the purchase ended.
    STRANDED = (Outcome.GUEST, Outcome.NO_SEAT)

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    purchase = models.ForeignKey(
        CentralizedPurchase,
        on_delete=models.PROTECT,
        related_name="people",
        db_constraint=False,
        db_index=False,
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    outcome = models.CharField(max_length=11, choices=Outcome.choices)
    given = models.ForeignKey(
        "licensing.Assignment",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="purchase", name="licensing_centralizedperson_purchase"),
            SameTenant(field="user", name="licensing_centralizedperson_user"),
            SameTenant(field="given", name="licensing_centralizedperson_given"),
            models.UniqueConstraint(fields=["purchase", "user"], name="licensing_centralizedperson_once"),
            models.CheckConstraint(
                condition=Q(outcome__in=["moved", "undone", "kept"], given__isnull=False)
                | (~Q(outcome__in=["moved", "undone", "kept"]) & Q(given__isnull=True)),
                name="licensing_centralizedperson_given_or_not",
            ),
        ]
