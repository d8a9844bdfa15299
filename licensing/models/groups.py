"""Groups that have licenses of a subscription: their members get seats, and lose them with the group."""

import uuid

from django.db import models
from django.db.models import Q

from config.kit.tenancy import SameTenant, TenantModel


class GroupLicense(TenantModel):
    """One group that was assigned to one subscription; live until `ended_at` is set, kept ever after.

    `Assignment.group_license` says which seats came from it. A group that is gone leaves its name; the sweep ends
    what is left of it. `is_short`: a member may wait for a free seat, as far as is known. The columns that name who gave and who ended it are plain, since a partner's user belongs to
    another tenant.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    subscription = models.ForeignKey(
        "commerce.Subscription",
        on_delete=models.PROTECT,
        related_name="group_licenses",
        db_constraint=False,
    )
    group = models.ForeignKey(
        "directory.Group", null=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    group_name = models.CharField(max_length=200)
    assigned_at = models.DateTimeField()
    assigned_by_id = models.BigIntegerField(null=True)
    assigned_by = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True)
    ended_by_id = models.BigIntegerField(null=True)
    ended_by = models.CharField(max_length=200, blank=True)
    is_short = models.BooleanField(default=True, db_default=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="licensing_grouplicense_subscription"),
            SameTenant(field="group", name="licensing_grouplicense_group"),
            models.UniqueConstraint(
                fields=["subscription", "group"],
                condition=Q(ended_at__isnull=True),
                name="licensing_grouplicense_one_live",
            ),
        ]


class GroupExclusion(TenantModel):
    """A member whose seat somebody took back, or who gave it back: the group gives no other.

    Ends when the person leaves the group, or the group loses the license.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    group_license = models.ForeignKey(
        GroupLicense, on_delete=models.CASCADE, related_name="exclusions", db_constraint=False, db_index=False
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="+", db_constraint=False
    )
    excluded_at = models.DateTimeField()
    excluded_by_id = models.BigIntegerField(null=True)
    excluded_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="group_license", name="licensing_groupexclusion_license"),
            SameTenant(field="user", name="licensing_groupexclusion_user"),
            models.UniqueConstraint(fields=["group_license", "user"], name="licensing_groupexclusion_once"),
        ]


class GroupTouch(TenantModel):
    """A group whose members changed, until a worker has followed. Only ever inserted and deleted: nobody waits.

    The group's id is plain: a key would make who follows wait for who changes the group.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    group_id = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]
