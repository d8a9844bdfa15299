"""Outgoing webhooks: where an organization wants to be told, and each message with what became of it (product §16)."""

import uuid
from typing import override

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class WebhookQuerySet(ScopedQuerySet):
    @override
    def visible_to(self, actor: Actor) -> "WebhookQuerySet":
        """The organization's, for whoever sees its service tokens (product §2)."""
        rows = self.filter(tenant_id=actor.tenant_id)
        return rows if actor.may(Capability.SEE_SERVICE_TOKENS) else rows.none()


class WebhookEndpoint(TenantModel):
    """An address that is told of events of the chosen types. The secrets that sign are kept encrypted.

    `former_secret_encrypted` signs beside the new one until `former_until`, in real time. While it is paused its
    messages wait. `failing_since`: the last message failed, since then none arrived.
    """

    class State(models.TextChoices):
        ACTIVE = "active", _("Active")
        PAUSED = "paused", _("Paused")

    class Because(models.TextChoices):
        ASKED = "asked", _("Paused by an admin")
        FAILING = "failing", _("Paused: a message did not arrive for three days")
        GONE = "gone", _("Paused: the address answered that it is gone (410)")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    url = models.CharField(max_length=500)
    name = models.CharField(max_length=100)
    types = ArrayField(models.CharField(max_length=40))
    secret_encrypted = models.TextField()
    former_secret_encrypted = models.TextField(blank=True)
    former_until = models.DateTimeField(null=True)
    state = models.CharField(max_length=6, choices=State.choices, default=State.ACTIVE)
    paused_because = models.CharField(max_length=7, choices=Because.choices, blank=True)
    paused_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    created_by_id = models.BigIntegerField(null=True)
    created_by = models.CharField(max_length=200)

    objects = WebhookQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.CheckConstraint(
                condition=Q(state="active", paused_because="", paused_at=None)
                | Q(state="paused", paused_because__in=["asked", "failing", "gone"], paused_at__isnull=False),
                name="directory_webhookendpoint_why_paused",
            ),
            models.CheckConstraint(
                condition=Q(former_secret_encrypted="", former_until=None)
                | (~Q(former_secret_encrypted="") & Q(former_until__isnull=False)),
                name="directory_webhookendpoint_former",
            ),
        ]
        indexes = [models.Index(fields=["tenant"], name="directory_webhook_tenant")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.state == self.State.PAUSED


class WebhookDelivery(TenantModel):
    """One message for one endpoint; made by a trigger on the audit trail, in the transaction of what it tells of.

    `key` is its webhook-id, the same on every try. Queued until the receiver answers 2xx; given up (dead) after the
    last try. `next_try_at` is when the next try is due; while one runs, when it counts as died. `status`,
    `answer` and `error` are of the last try.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Waits")
        DELIVERED = "delivered", _("Delivered")
        DEAD = "dead", _("Given up")

    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_constraint=False,
        db_index=False,
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(max_length=40)
    at = models.DateTimeField()
    data = models.JSONField(default=dict)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.CharField(max_length=500, blank=True, db_default="")
    error = models.CharField(max_length=300, blank=True, db_default="")
    milliseconds = models.PositiveIntegerField(null=True)

    objects = WebhookQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="endpoint", name="directory_webhookdelivery_endpoint"),
        ]
        indexes = [
            models.Index(
                fields=["endpoint", "next_try_at"], condition=Q(state="queued"), name="directory_webhook_due"
            ),
            models.Index(fields=["endpoint", "-id"], name="directory_webhook_latest"),
            models.Index(fields=["at"], name="directory_webhook_age"),
        ]
