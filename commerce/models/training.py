"""What an organization shows its own people beside a product (product §14)."""

import uuid

from django.db import models

from commerce.models.catalogue import Product
from config.kit.tenancy import TenantModel


class TrainingLink(TenantModel):
    """A page of the organization's about one product; shown by `position` to whoever is signed in there."""

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+", db_index=False)
    title = models.CharField(max_length=100)
    url = models.URLField(max_length=500)
    position = models.PositiveIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(url__startswith="https://"), name="commerce_traininglink_https"
            ),
            models.UniqueConstraint(
                fields=["tenant", "product", "position"],
                name="commerce_traininglink_place",
                deferrable=models.Deferrable.DEFERRED,
            ),
        ]

    def __str__(self) -> str:
        return self.title
