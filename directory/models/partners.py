"""Delegated administration: what a customer lets a partner do (product §12; docs/partners.md)."""

import uuid
from datetime import datetime, timedelta
from typing import Self, override

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import PairKey, SameTenant, ScopedQuerySet, TenantModel, TenantWall
from directory.models.people import GroupMembership

# By how much a relationship that extends is longer each time.
EXTENSION = timedelta(days=180)


class RelationshipQuerySet(ScopedQuerySet):
    @override
    def visible_to(self, actor: Actor) -> Self:
        """Those of the acting organization, on either side; who acts for a customer sees the own organization's."""
        if actor.is_partner:
            return self.filter(tenant_id=actor.tenant_id, partner_tenant_id=actor.home_tenant_id)
        return self.filter(models.Q(tenant_id=actor.tenant_id) | models.Q(partner_tenant_id=actor.tenant_id))

    def running(self, at: datetime) -> Self:
        """Those that give something at `at`."""
        return self.filter(status=Relationship.Status.ACTIVE, starts_at__lte=at, ends_at__gt=at)


class Relationship(TenantModel):
    """One delegation, from the customer's approval on. `tenant` is the customer; both sides see the row, so it carries
    both names.

    It gives something while it is active and `starts_at <= at < ends_at`; a sweep notes the end, or moves it when the
    relationship `extends`. `key` is that of the invitation that it came from.
    """

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        ENDED = "ended", _("Ended")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    partner_tenant_id = models.BigIntegerField()
    customer_name = models.CharField(max_length=200)
    partner_name = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    roles = ArrayField(models.CharField(max_length=16))
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.ACTIVE)
    extends = models.BooleanField(default=False)
    requested_at = models.DateTimeField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    objects = RelationshipQuerySet.as_manager()

    class Meta:
        constraints = [
            TenantWall(name="directory_relationship_wall", also="partner_tenant_id"),
            PairKey(name="directory_relationship_pair"),
            models.CheckConstraint(
                condition=~models.Q(partner_tenant_id=models.F("tenant")),
                name="directory_relationship_of_two",
            ),
            models.CheckConstraint(
                condition=models.Q(starts_at__isnull=False, ends_at__isnull=False),
                name="directory_relationship_has_ends",
            ),
        ]
        indexes = [
            models.Index(fields=["partner_tenant_id"], name="directory_relationship_partner"),
            models.Index(
                fields=["ends_at"], condition=models.Q(status="active"), name="directory_relationship_due"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def is_running(self, at: datetime) -> bool:
        return self.status == self.Status.ACTIVE and self.starts_at <= at < self.ends_at


class AssignmentQuerySet(ScopedQuerySet):
    def held_by(self, *, user_id: int, partner_tenant_id: int) -> Self:
        """Those of a partner's user: by name, or by a group that they are in now."""
        groups = GroupMembership.objects.filter(tenant_id=partner_tenant_id, user_id=user_id).values(
            "group_id"
        )
        return self.filter(
            models.Q(user_id=user_id) | models.Q(group_id__in=groups), partner_tenant_id=partner_tenant_id
        )

    def running(self, at: datetime) -> Self:
        """Those of relationships that give something at `at`."""
        return self.filter(
            relationship__tenant_id=models.F("tenant_id"),
            relationship__status=Relationship.Status.ACTIVE,
            relationship__starts_at__lte=at,
            relationship__ends_at__gt=at,
        )


class RelationshipAssignment(TenantModel):
    """A subset of a relationship's roles for one user or one group of the partner. Nobody has them merely by working there.

    User and group belong to the partner's tenant, so their ids are plain, never composite keys of this tenant.
    `holder_name` is how the customer reads who that is; the row of the user is behind the partner's wall.
    """

    relationship = models.ForeignKey(
        Relationship, on_delete=models.CASCADE, related_name="assignments", db_constraint=False
    )
    partner_tenant_id = models.BigIntegerField()
    user_id = models.BigIntegerField(null=True, blank=True)
    group_id = models.BigIntegerField(null=True, blank=True)
    holder_name = models.CharField(max_length=200, blank=True, db_default="", default="")
    roles = ArrayField(models.CharField(max_length=16))

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        constraints = [
            TenantWall(name="directory_relationshipassignment_wall", also="partner_tenant_id"),
            PairKey(name="directory_relationshipassignment_pair"),
            SameTenant(field="relationship", name="directory_relationshipassignment_relationship"),
            models.UniqueConstraint(
                fields=["relationship", "user_id"], name="directory_relationshipassignment_once"
            ),
            models.UniqueConstraint(
                fields=["relationship", "group_id"], name="directory_relationshipassignment_group_once"
            ),
            models.CheckConstraint(
                condition=models.Q(user_id__isnull=False, group_id__isnull=True)
                | models.Q(user_id__isnull=True, group_id__isnull=False),
                name="directory_relationshipassignment_one_holder",
            ),
        ]
        indexes = [
            models.Index(fields=["partner_tenant_id", "user_id"], name="directory_relassign_user"),
            models.Index(fields=["partner_tenant_id", "group_id"], name="directory_relassign_group"),
        ]


class InvitationQuerySet(ScopedQuerySet):
    @override
    def visible_to(self, actor: Actor) -> Self:
        """Those that the acting organization made or that were made for it; nobody's who acts for a customer."""
        if actor.is_partner:
            return self.none()
        return self.filter(models.Q(tenant_id=actor.tenant_id) | models.Q(customer_tenant_id=actor.tenant_id))

    def waiting(self, at: datetime) -> Self:
        """Those that can still be answered at `at`."""
        return self.filter(state=Invitation.State.WAITING, expires_at__gt=at)


class Invitation(TenantModel):
    """What a partner asks of a customer, until the customer approves it or not. `tenant` is the partner.

    `customer_tenant_id` is the organization of the domain when it was made, empty where there was none; the partner is
    never told which. Waiting, then approved (a `Relationship` of the same key begins), declined, withdrawn or lapsed:
    each is final.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for the customer")
        APPROVED = "approved", _("Approved")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        LAPSED = "lapsed", _("Lapsed")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    customer_tenant_id = models.BigIntegerField(null=True, blank=True)
    customer_domain = models.CharField(max_length=253)
    partner_name = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    roles = ArrayField(models.CharField(max_length=16))
    days = models.PositiveSmallIntegerField()
    extends = models.BooleanField(default=False)
    message = models.TextField(blank=True)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    requested_at = models.DateTimeField()
    requested_by_id = models.BigIntegerField(null=True, blank=True)
    requested_by = models.CharField(max_length=200)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            TenantWall(name="directory_invitation_wall", also="customer_tenant_id"),
            PairKey(name="directory_invitation_pair"),
            models.CheckConstraint(
                condition=models.Q(customer_tenant_id__isnull=True)
                | ~models.Q(customer_tenant_id=models.F("tenant")),
                name="directory_invitation_of_two",
            ),
            models.CheckConstraint(
                condition=models.Q(state="waiting", decided_at__isnull=True)
                | (~models.Q(state="waiting") & models.Q(decided_at__isnull=False)),
                name="directory_invitation_decided",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="directory_invitation_partner"),
            models.Index(fields=["customer_tenant_id", "-id"], name="directory_invitation_customer"),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(state="waiting"),
                name="directory_invitation_due",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def is_open(self, at: datetime) -> bool:
        return self.state == self.State.WAITING and at < self.expires_at
