"""Customer organizations and how their people sign in."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import TenantModel, TenantWall

# How long the licenses of a disabled person wait for their return, and how long an organization may make that.
SEATS_KEPT_DAYS = 14
MOST_SEATS_KEPT_DAYS = 90


class Tenant(models.Model):
    """A customer organization (product §1). Its row is visible to itself alone."""

    class Kind(models.TextChoices):
        COMMERCIAL = "commercial", _("Commercial")
        GOVERNMENT = "government", _("Government")
        EDUCATION = "education", _("Education")
        NONPROFIT = "nonprofit", _("Non-profit")
        VENDOR = "vendor", _("Vendor")

    class Standing(models.TextChoices):
        GOOD = "good", _("Good")
        SUSPENDED = "suspended", _("Suspended")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.COMMERCIAL)
    standing = models.CharField(max_length=10, choices=Standing.choices, default=Standing.GOOD)
    is_managed = models.BooleanField(default=True)
    creates_members = models.BooleanField(default=True)
    admins_need_second_factor = models.BooleanField(default=False, db_default=False)
    country = models.CharField(max_length=2)
    time_zone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3)
    language = models.CharField(max_length=10, default="en")
    created_at = models.DateTimeField()
    seats_kept_days = models.PositiveSmallIntegerField(
        default=SEATS_KEPT_DAYS,
        db_default=SEATS_KEPT_DAYS,
        help_text=_("How long a disabled person's licenses are kept before they are free."),
    )

    class Meta:
        constraints = [
            TenantWall(name="directory_tenant_wall", column="id"),
            models.CheckConstraint(
                condition=models.Q(seats_kept_days__lte=MOST_SEATS_KEPT_DAYS),
                name="directory_tenant_seats_kept_days",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Domain(TenantModel):
    """An e-mail domain of a tenant; one that is proved leads sign-in to the tenant (product §3.2).

    Proved by a TXT record with `token`, looked at again each day; `missing_since` says since when it is gone. One
    without a token was set up by the installation and needs no record. Any tenant may add a name, one can prove it.
    """

    name = models.CharField(max_length=253)
    token = models.CharField(max_length=64, blank=True, default="", db_default="")
    verified_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    missing_since = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "name"], name="directory_domain_once"),
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(verified_at__isnull=False),
                name="directory_domain_verified_once",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class IdentityProvider(TenantModel):
    """One OpenID Connect configuration of a tenant. One whose issuer changes is a new row (I-23).

    Prepared by an admin, who signs in there as a test; planned where people are to sign in somewhere else, `switch_at` the
    earliest instant; active until another one takes its place, which `ended_at` says. `held_up_since`: it was due and did
    not answer. `has_moved_people`: when it ended, accounts had to be matched with the next one's subjects.
    """

    key = models.CharField(max_length=40, unique=True)
    issuer = models.URLField(max_length=500)
    client_id = models.CharField(max_length=200)
    client_secret_encrypted = models.TextField(blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    planned_at = models.DateTimeField(null=True)
    planned_by_id = models.BigIntegerField(null=True)
    planned_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    confirmed_by_id = models.BigIntegerField(null=True)
    confirmed_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    switch_at = models.DateTimeField(null=True)
    held_up_since = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    has_moved_people = models.BooleanField(default=False, db_default=False)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(is_active=True),
                name="directory_identityprovider_one_active",
            ),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(switch_at__isnull=False),
                name="directory_identityprovider_one_planned",
            ),
        ]

    secret_fields: ClassVar = ("client_secret_encrypted",)

    def __str__(self) -> str:
        return self.issuer
