"""Licenses: who holds a seat of which subscription, and who ever did."""

from django.db import models
from django.db.models import Q

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class AssignmentQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "AssignmentQuerySet":
        """All of the tenant's, those of the own purchases, and always the own licenses."""
        scopes = actor.scopes(Capability.SEE_LICENSES)
        rows = self.filter(tenant_id=actor.tenant_id)
        if "all" in scopes:
            return rows
        own = Q(user_id=actor.user_id)
        if actor.is_purchaser:
            own |= Q(subscription__in=Subscription.objects.visible_to(actor))
        return rows.filter(own)

    def live(self) -> "AssignmentQuerySet":
        return self.filter(ended_at__isnull=True)


class Assignment(TenantModel):
    """One seat of one subscription held by one user; live until `ended_at` is set, kept ever after.

    `last_used_on`: the day, in UTC, of the last entitlement check that it answered; None when there was none yet.
    `group_license`: the group that the seat came from, and goes with; None for one that somebody gave.

    The columns that name who gave and who took it are plain, since a partner's user belongs to another tenant.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    subscription = models.ForeignKey(
        "commerce.Subscription",
        on_delete=models.PROTECT,
        related_name="assignments",
        db_constraint=False,
        db_index=False,
    )
    user = models.ForeignKey(
        "directory.User",
        on_delete=models.PROTECT,
        related_name="assignments",
        db_constraint=False,
        db_index=False,
    )
    product_id = models.BigIntegerField()
    assigned_at = models.DateTimeField()
    assigned_by_id = models.BigIntegerField(null=True)
    assigned_by = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True)
    ended_by_id = models.BigIntegerField(null=True)
    ended_by = models.CharField(max_length=200, blank=True)
    last_used_on = models.DateField(null=True)
    group_license = models.ForeignKey(
        "licensing.GroupLicense",
        null=True,
        on_delete=models.PROTECT,
        related_name="seats",
        db_constraint=False,
        db_index=False,
    )

    objects = AssignmentQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="licensing_assignment_subscription"),
            SameTenant(field="user", name="licensing_assignment_user"),
            SameTenant(field="group_license", name="licensing_assignment_group"),
            models.UniqueConstraint(
                fields=["subscription", "user"],
                condition=Q(ended_at__isnull=True),
                name="licensing_assignment_one_live",
            ),
        ]
        indexes = [
            models.Index(
                fields=["user", "product_id"],
                condition=Q(ended_at__isnull=True),
                name="licensing_assignment_holder",
            ),
            models.Index(fields=["subscription", "-id"], name="licensing_assignment_latest"),
            models.Index(
                fields=["group_license", "id"],
                condition=Q(ended_at__isnull=True, group_license__isnull=False),
                name="licensing_assignment_of_group",
            ),
        ]
