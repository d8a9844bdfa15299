"""An admin asks a purchaser to cancel (product §10)."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from commerce.models.subscriptions import Subscription
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel


class CancelRequestQuerySet(ScopedQuerySet):
    def open(self) -> Self:
        return self.filter(state=CancelRequest.State.ASKED)


class CancelRequest(TenantModel):
    """One purchaser was asked to cancel one purchase; asked until it is answered one way or another.

    Canceled: its renewal stopped, or it ended at once. Declined: the purchaser keeps it. Ended: it ended for another reason, or has another owner.
    `reminders` were sent so far; `next_reminder_at`, the next one, is None once all were, and when it is closed.
    The columns that name who asked are plain, since a partner's user belongs to another tenant.
    """

    class State(models.TextChoices):
        ASKED = "asked", _("Asked")
        CANCELED = "canceled", _("Canceled")
        DECLINED = "declined", _("Declined")
        TAKEN_OVER = "taken_over", _("Taken over")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        ENDED = "ended", _("Ended")

    # Days after the request on which the purchaser is reminded; after the last one taking over is offered.
    REMINDED = (3, 7, 14)

    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="cancel_requests", db_constraint=False
    )
    purchaser = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    message = models.CharField(max_length=500, blank=True)
    asked_at = models.DateTimeField()
    asked_by_id = models.BigIntegerField(null=True)
    asked_by = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ASKED)
    reminders = models.PositiveSmallIntegerField(default=0)
    next_reminder_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_by_id = models.BigIntegerField(null=True)
    closed_by = models.CharField(max_length=200, blank=True)

    objects = CancelRequestQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="commerce_cancelrequest_subscription"),
            SameTenant(field="purchaser", name="commerce_cancelrequest_purchaser"),
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(state="asked"), name="commerce_cancelrequest_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state="asked", closed_at__isnull=True)
                | (~Q(state="asked") & Q(closed_at__isnull=False, next_reminder_at__isnull=True)),
                name="commerce_cancelrequest_closed",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_reminder_at", "id"],
                condition=Q(next_reminder_at__isnull=False),
                name="commerce_cancelreq_reminder",
            ),
        ]

    @property
    def was_reminded_in_vain(self) -> bool:
        """Whether every reminder was sent and the purchaser has not answered: now taking over is offered."""
        return self.state == self.State.ASKED and self.reminders >= len(self.REMINDED)
