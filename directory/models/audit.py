"""The audit trail: append-only, one row at least for each change (I-26); gone after AUDIT_KEPT (`forget_trail`)."""

from django.db import models

from config.kit import grants
from config.kit.tenancy import TenantModel


class AuditEntry(TenantModel):
    """One change: who, on whose behalf, what, before and after. Written in the change's own transaction.

    The columns that name the actor are plain, since a partner's user belongs to another tenant.
    """

    at = models.DateTimeField()
    code = models.CharField(max_length=60)
    actor_user_id = models.BigIntegerField(null=True)
    actor_tenant_id = models.BigIntegerField()
    actor_label = models.CharField(max_length=200)
    on_behalf_of = models.CharField(max_length=200, blank=True)
    door = models.CharField(max_length=4)
    correlation_id = models.CharField(max_length=64, blank=True)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=200, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="directory_audit_latest"),
            models.Index(
                fields=["tenant", "-id"], condition=models.Q(door="scim"), name="directory_audit_scim"
            ),
            models.Index(fields=["tenant", "target_type", "target_id", "-id"], name="directory_audit_target"),
            models.Index(fields=["at"], name="directory_audit_age"),
        ]
