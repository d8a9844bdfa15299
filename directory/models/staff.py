"""Who of the vendor works at what."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import SameTenant, TenantModel
from directory.staff import STAFF_ROLES, StaffRole


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
