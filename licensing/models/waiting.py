"""Who waits for a license of a subscription of the organization, first come, first served."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel


class WaitingPlaceQuerySet(ScopedQuerySet):
    def live(self) -> "WaitingPlaceQuerySet":
        """Those who wait still, to be ordered by id: that is the line."""
        return self.filter(ended_at__isnull=True)


class WaitingPlace(TenantModel):
    """One person's place in the line for one subscription; live until `ended_at` is set, kept ever after.

    The columns that name who added and who removed are plain, since a partner's user belongs to another tenant.
    """

    class Outcome(models.TextChoices):
        GIVEN = "given", _("Got a license")
        REMOVED = "removed", _("Taken off the list")
        HELD = "held", _("Had a license by then")
        CLOSED = "closed", _("The list ended")

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    subscription = models.ForeignKey(
        "commerce.Subscription",
        on_delete=models.PROTECT,
        related_name="waiting_places",
        db_constraint=False,
        db_index=False,
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    added_at = models.DateTimeField()
    added_by_id = models.BigIntegerField(null=True)
    added_by = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True)
    ended_by_id = models.BigIntegerField(null=True)
    ended_by = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=7, choices=Outcome.choices, blank=True)
    assignment = models.ForeignKey(
        "licensing.Assignment",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )

    objects = WaitingPlaceQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="licensing_waitingplace_subscription"),
            SameTenant(field="user", name="licensing_waitingplace_user"),
            SameTenant(field="assignment", name="licensing_waitingplace_assignment"),
            models.UniqueConstraint(
                fields=["subscription", "user"],
                condition=Q(ended_at__isnull=True),
                name="licensing_waitingplace_one_live",
            ),
            models.UniqueConstraint(
                fields=["assignment"],
                condition=Q(assignment__isnull=False),
                name="licensing_waitingplace_one_seat",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, outcome="", assignment__isnull=True)
                | Q(ended_at__isnull=False, outcome="given", assignment__isnull=False)
                | Q(
                    ended_at__isnull=False,
                    outcome__in=["removed", "held", "closed"],
                    assignment__isnull=True,
                ),
                name="licensing_waitingplace_outcome",
            ),
        ]
        indexes = [
            models.Index(
                fields=["subscription", "id"],
                condition=Q(ended_at__isnull=True),
                name="licensing_waiting_line",
            ),
        ]
