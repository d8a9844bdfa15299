"""Central price lists: what an organization agreed with the vendor."""

from django.db import models

from config.kit.tenancy import SameTenant, TenantModel


class Agreement(TenantModel):
    """An organization's price list and payment terms.

    Once it has ended nothing is bought or taken over under it; what runs under it goes on at its prices and terms.
    """

    name = models.CharField(max_length=200)
    payment_days = models.PositiveSmallIntegerField(default=30)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]

    def __str__(self) -> str:
        return self.name


class AgreementPrice(TenantModel):
    """The agreed price per seat and billing period of one plan, without tax."""

    agreement = models.ForeignKey(
        Agreement, on_delete=models.CASCADE, related_name="prices", db_constraint=False
    )
    plan = models.ForeignKey("commerce.Plan", on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    unit_price_minor = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="agreement", name="commerce_agreementprice_agreement"),
            models.UniqueConstraint(fields=["agreement", "plan"], name="commerce_agreementprice_once"),
        ]
