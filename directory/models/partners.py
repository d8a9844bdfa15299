"""Delegated administration: what a customer lets a partner do (product §12)."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import PairKey, SameTenant, TenantModel, TenantWall


class Relationship(TenantModel):
    """One delegation. `tenant` is the customer; both sides see the row, so it carries both names."""

    class Status(models.TextChoices):
        REQUESTED = "requested", _("Requested")
        ACTIVE = "active", _("Active")
        ENDED = "ended", _("Ended")
        LAPSED = "lapsed", _("Lapsed")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    partner_tenant_id = models.BigIntegerField()
    customer_name = models.CharField(max_length=200)
    partner_name = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    roles = ArrayField(models.CharField(max_length=16))
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.REQUESTED)
    extends = models.BooleanField(default=False)
    requested_at = models.DateTimeField()
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            TenantWall(name="directory_relationship_wall", also="partner_tenant_id"),
            PairKey(name="directory_relationship_pair"),
        ]
        indexes = [models.Index(fields=["partner_tenant_id"], name="directory_relationship_partner")]

    def __str__(self) -> str:
        return self.name


class RelationshipAssignment(TenantModel):
    """A subset of a relationship's roles for one user of the partner. Nobody has them merely by working there.

    The user belongs to the partner's tenant, so `user_id` is plain, never a composite key.
    """

    relationship = models.ForeignKey(
        Relationship, on_delete=models.CASCADE, related_name="assignments", db_constraint=False
    )
    partner_tenant_id = models.BigIntegerField()
    user_id = models.BigIntegerField()
    roles = ArrayField(models.CharField(max_length=16))

    class Meta:
        constraints = [
            TenantWall(name="directory_relationshipassignment_wall", also="partner_tenant_id"),
            PairKey(name="directory_relationshipassignment_pair"),
            SameTenant(field="relationship", name="directory_relationshipassignment_relationship"),
            models.UniqueConstraint(
                fields=["relationship", "user_id"], name="directory_relationshipassignment_once"
            ),
        ]
        indexes = [
            models.Index(fields=["partner_tenant_id", "user_id"], name="directory_relassign_user"),
        ]
