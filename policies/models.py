"""What a tenant allows its people to buy (product §9)."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.tenancy import TenantModel


class PolicyValue(models.TextChoices):
    """The three values of `AllowSelfServicePurchase`, as they go over the wire."""

    ENABLED = "Enabled", _("Allow")
    TRIALS_ONLY = "OnlyTrialsWithoutPaymentMethod", _("Allow for trials only")
    DISABLED = "Disabled", _("Do not allow")


class TenantPolicy(TenantModel):
    """A tenant's default and its own words for people who may not buy; no row means the built-in defaults."""

    default_value = models.CharField(max_length=32, choices=PolicyValue.choices, default=PolicyValue.ENABLED)
    it_contact_text = models.TextField(blank=True, max_length=1000)
    it_contact_url = models.URLField(blank=True, max_length=500)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant"], name="policies_tenantpolicy_one"),
        ]


class ProductPolicy(TenantModel):
    """One tenant's value for one product, named by its current key (former ids are aliases of it)."""

    product_key = models.CharField(max_length=40)
    value = models.CharField(max_length=32, choices=PolicyValue.choices)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "product_key"], name="policies_productpolicy_one"),
        ]
