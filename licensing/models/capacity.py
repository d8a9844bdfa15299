"""How much storage the products of an organization use, as they report it (product §13)."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import ScopedQuerySet, TenantModel
from directory.permissions import Capability

LONGEST_ENVIRONMENT = 100


class ConsumptionQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "ConsumptionQuerySet":
        """All of the organization's to whoever sees all capacity; a purchaser sees only sums of it."""
        rows = self.filter(tenant_id=actor.tenant_id)
        return rows if "all" in actor.scopes(Capability.SEE_CAPACITY) else rows.none()


class Consumption(TenantModel):
    """What one environment of one product was last measured to use of one kind of storage, in MB of 1,000,000 bytes.

    Each report replaces the one before, if it was measured later; zero once the environment is gone.
    """

    class Kind(models.TextChoices):
        DATABASE = "database", _("Database")
        FILE = "file", _("Files")
        LOG = "log", _("Logs")

    product = models.ForeignKey(
        "commerce.Product", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    environment = models.CharField(max_length=LONGEST_ENVIRONMENT)
    used_mb = models.PositiveBigIntegerField()
    measured_at = models.DateTimeField()
    reported_at = models.DateTimeField()

    objects = ConsumptionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(
                fields=["tenant", "product", "kind", "environment"], name="licensing_consumption_once"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["database", "file", "log"]), name="licensing_consumption_kind"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-used_mb", "-id"], name="licensing_consumption_most")]

    def __str__(self) -> str:
        return f"{self.environment}: {self.used_mb} MB"
