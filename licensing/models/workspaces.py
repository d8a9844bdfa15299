"""What people make in a product, and for how long it is kept."""

import uuid

from django.db import models
from django.db.models import Q

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class WorkspaceQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "WorkspaceQuerySet":
        """All of the tenant's for who sees them all; else those that the person has; nothing for others."""
        rows = self.filter(tenant_id=actor.tenant_id)
        scopes = actor.scopes(Capability.SEE_WORKSPACES)
        if "all" in scopes:
            return rows
        return rows.of(actor) if "own" in scopes else rows.none()

    def of(self, actor: Actor) -> "WorkspaceQuerySet":
        """Those that the person has; none for who acts for another organization."""
        if actor.is_partner or actor.user_id is None:
            return self.none()
        return self.filter(tenant_id=actor.tenant_id, holder_id=actor.user_id)


class Workspace(TenantModel):
    """What somebody made in a product (product §14). It is the tenant's, and outlives purchase, license and maker.

    `holder` has it now: its maker, until it is handed to somebody else. `kept_from`: since when nobody may use it, as
    the sweep found it; `deletes_at`: when it is deleted if that stays so. Both None while it is in use. Only the
    sweep deletes, under the worker's login.
    """

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    product = models.ForeignKey("commerce.Product", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    maker = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    holder = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    made_at = models.DateTimeField()
    is_shared = models.BooleanField(default=False)
    kept_from = models.DateTimeField(null=True)
    deletes_at = models.DateTimeField(null=True)

    objects = WorkspaceQuerySet.as_manager()

    app_grants = "SELECT, INSERT, UPDATE"

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="maker", name="licensing_workspace_maker"),
            SameTenant(field="holder", name="licensing_workspace_holder"),
            models.CheckConstraint(
                condition=Q(kept_from__isnull=True, deletes_at__isnull=True)
                | Q(kept_from__isnull=False, deletes_at__gt=models.F("kept_from")),
                name="licensing_workspace_kept",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="licensing_workspace_latest"),
            models.Index(fields=["tenant", "product", "-id"], name="licensing_workspace_product"),
        ]

    def __str__(self) -> str:
        return self.name
