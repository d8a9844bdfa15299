"""What partners offer beside a product (product §12; docs/partners.md)."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from commerce.models.catalogue import Product
from config.kit.tenancy import TenantModel


class Solution(TenantModel):
    """A partner's page for one product; `tenant` is the partner.

    Waiting for the vendor's staff, who approve or decline it; the partner withdraws it at any time. What is approved is
    shown to everybody beside the product. Its text is never changed: another one is sent in instead.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for the vendor")
        APPROVED = "approved", _("Approved")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    partner_name = models.CharField(max_length=200)
    title = models.CharField(max_length=100)
    description = models.CharField(max_length=500)
    url = models.URLField(max_length=500)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    sent_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=500, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(url__startswith="https://"), name="commerce_solution_https"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="commerce_solution_partner"),
            models.Index(
                fields=["product", "title"],
                condition=models.Q(state="approved"),
                name="commerce_solution_shown",
            ),
        ]

    def __str__(self) -> str:
        return self.title
