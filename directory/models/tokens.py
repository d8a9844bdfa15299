"""Tokens for the API: personal ones of a person, and service ones of the organization (product §16)."""

import uuid
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability, Role

LONGEST = timedelta(days=366)


class ApiTokenQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "ApiTokenQuerySet":
        """The person's own, and the organization's service tokens for whoever sees those."""
        rows = self.filter(tenant_id=actor.tenant_id)
        condition = Q(kind=ApiToken.Kind.PERSONAL, user_id=actor.user_id or 0)
        if actor.may(Capability.SEE_SERVICE_TOKENS):
            condition |= Q(kind=ApiToken.Kind.SERVICE)
        return rows.filter(condition)


class ApiToken(TenantModel):
    """One token; of its secret only a hash is kept. Lives until it is revoked or its last moment has come.

    A personal token stands for `user`, whose rights are read at each request. A service token stands for the
    organization itself: it has the rights of `ceiling`, the role whose holder made it, and outlives that person's
    stay. Both are narrowed by `scopes`. Its instants are real time, whatever the demo's clock says.
    """

    class Kind(models.TextChoices):
        PERSONAL = "personal", _("Personal")
        SERVICE = "service", _("Service")

    class Ceiling(models.TextChoices):
        GLOBAL_ADMIN = Role.GLOBAL_ADMIN, _("Global admin")
        BILLING_ADMIN = Role.BILLING_ADMIN, _("Billing admin")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="tokens", db_constraint=False, null=True
    )
    ceiling = models.CharField(max_length=16, choices=Ceiling.choices, blank=True)
    name = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=32, unique=True)
    ending = models.CharField(max_length=4, help_text=_("The last four signs, to tell tokens apart."))
    scopes = ArrayField(models.CharField(max_length=20))
    created_at = models.DateTimeField()
    issued_by_id = models.BigIntegerField(null=True)
    issued_by = models.CharField(max_length=200)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by_id = models.BigIntegerField(null=True)
    revoked_by = models.CharField(max_length=200, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_apitoken_user_same"),
            models.CheckConstraint(
                condition=Q(kind="personal", user__isnull=False, ceiling="")
                | Q(kind="service", user__isnull=True, ceiling__in=[Role.GLOBAL_ADMIN, Role.BILLING_ADMIN]),
                name="directory_apitoken_stands_for",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at"), expires_at__lte=F("created_at") + LONGEST),
                name="directory_apitoken_one_year",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "kind", "-id"], name="directory_apitoken_latest")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None


class IdempotentCall(TenantModel):
    """A call that its caller named with an Idempotency-Key, and its whole answer once there is one.

    `status` is None while it runs. Kept for a day in real time; the answer may hold what the caller may read.
    """

    caller = models.CharField(max_length=40)
    key = models.CharField(max_length=255)
    request_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "caller", "key"], name="directory_idempotentcall_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="directory_idempotent_age")]
