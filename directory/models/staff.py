"""Who of the vendor works at what, and whose rows they looked at, why and how long."""

import uuid
from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import PairKey, SameTenant, ScopedQuerySet, TenantModel, TenantWall
from directory.staff import STAFF_ROLES, StaffRole

STAFF_SESSION_LASTS = timedelta(minutes=60)


class StaffAssignment(TenantModel):
    """One staff role held by one person of the vendor; a trigger refuses it in any other tenant."""

    class Role(models.TextChoices):
        CATALOGUE = StaffRole.CATALOGUE, _("Catalogue")
        SUPPORT = StaffRole.SUPPORT, _("Support")
        SUPERUSER = StaffRole.SUPERUSER, _("Superuser")

    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="staff_assignments", db_constraint=False
    )
    role = models.CharField(max_length=16, choices=Role.choices)
    granted_at = models.DateTimeField()
    granted_by_id = models.BigIntegerField(null=True)
    granted_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_staffassignment_user_same"),
            models.UniqueConstraint(fields=["user", "role"], name="directory_staffassignment_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=STAFF_ROLES), name="directory_staffassignment_known"
            ),
        ]


class StaffSessionQuerySet(ScopedQuerySet):
    def of(self, *, user_id: int, home_tenant_id: int) -> Self:
        """Those that one person of the vendor opened."""
        return self.filter(user_id=user_id, staff_tenant_id=home_tenant_id)

    def running(self, at: datetime) -> Self:
        return self.filter(opened_at__lte=at, ends_at__gt=at)


class StaffSession(TenantModel):
    """A member of the vendor's staff reads one organization's pages, for a reason, for an hour at most (product §2).

    `tenant` is the organization; both sides see the row. `ends_at` is moved forward where it is ended early. A trigger
    refuses whoever is not of the vendor's staff; the columns that name them are plain, since they belong to another tenant.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    staff_tenant_id = models.BigIntegerField()
    user_id = models.BigIntegerField()
    staff_name = models.CharField(max_length=200)
    organization = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    opened_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    objects = StaffSessionQuerySet.as_manager()

    class Meta:
        constraints = [
            TenantWall(name="directory_staffsession_wall", also="staff_tenant_id"),
            PairKey(name="directory_staffsession_pair"),
            models.CheckConstraint(
                condition=~models.Q(staff_tenant_id=models.F("tenant")),
                name="directory_staffsession_elsewhere",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    ends_at__gte=models.F("opened_at"),
                    ends_at__lte=models.F("opened_at") + STAFF_SESSION_LASTS,
                ),
                name="directory_staffsession_an_hour",
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="directory_staffsession_has_reason"),
        ]
        indexes = [
            models.Index(fields=["staff_tenant_id", "user_id", "-id"], name="directory_staffsession_own"),
            models.Index(fields=["tenant", "-id"], name="directory_staffsession_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.staff_name}: {self.organization}"
