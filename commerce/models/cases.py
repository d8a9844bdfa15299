"""Support cases: what the vendor's staff are asked to do for an organization (product §11, §14)."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from commerce.models.subscriptions import Subscription
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class SupportCaseQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        """The organization's for its admins and readers; those that one opened oneself."""
        rows = self.filter(tenant_id=actor.tenant_id)
        scopes = actor.scopes(Capability.SEE_CASES)
        if "org" in scopes:
            return rows
        return rows.filter(asked_by_id=actor.user_id) if "own" in scopes and actor.user_id else rows.none()

    def open(self) -> Self:
        return self.filter(state=SupportCase.State.OPEN)


class SupportCase(TenantModel):
    """One thing that the vendor's staff are asked to do, and what they answered.

    Open until they carried it out or declined. To cancel a leaver's purchase: one open case a purchase. The columns
    that name who asked are plain, since a partner's user belongs to another tenant.
    """

    class Kind(models.TextChoices):
        CANCEL_FOR_LEAVER = "cancel", _("Cancel on behalf of a purchaser who left")

    class State(models.TextChoices):
        OPEN = "open", _("With support")
        DONE = "done", _("Carried out")
        DECLINED = "declined", _("Declined")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="cases", db_constraint=False
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    message = models.CharField(max_length=1000, blank=True)
    asked_at = models.DateTimeField()
    asked_by_id = models.BigIntegerField(null=True)
    asked_by = models.CharField(max_length=200)
    answer = models.CharField(max_length=1000, blank=True)
    answered_at = models.DateTimeField(null=True)
    answered_by = models.CharField(max_length=200, blank=True)

    objects = SupportCaseQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="commerce_supportcase_subscription"),
            models.UniqueConstraint(
                fields=["subscription", "kind"],
                condition=Q(state="open"),
                name="commerce_supportcase_one_open",
            ),
            models.CheckConstraint(
                condition=Q(state="open", answered_at__isnull=True)
                | (~Q(state="open") & Q(answered_at__isnull=False)),
                name="commerce_supportcase_answered",
            ),
        ]
        indexes = [
            models.Index(fields=["asked_at", "id"], condition=Q(state="open"), name="commerce_case_open"),
        ]
