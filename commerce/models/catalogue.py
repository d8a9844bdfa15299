"""What is sold, where, and for how much. These tables are the vendor's, not a tenant's."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.tenancy import VendorWall

# The vendor's staff add and change products, their plans and former ids, and delete former ids (`VendorWall`).
_ADDED_AND_CHANGED = "SELECT, INSERT, UPDATE"


class VendorEntity(models.Model):
    """The seller named on a bill; bill numbers run per entity and year.

    Bills show its address and numbers as they are: an entity that changes them is a new row with its own series.
    """

    name = models.CharField(max_length=200, unique=True)
    bill_series = models.CharField(max_length=10, unique=True)
    address = models.TextField(blank=True, default="", db_default="", help_text=_("As printed, by lines."))
    tax_number = models.CharField(max_length=30, blank=True, default="", db_default="")
    bank_account = models.CharField(max_length=60, blank=True, default="", db_default="")

    app_grants = grants.READ_ONLY

    def __str__(self) -> str:
        return self.name


class Market(models.Model):
    """A country in which the vendor sells: its currency, tax and selling entity."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)
    currency = models.CharField(max_length=3)
    tax_name = models.CharField(max_length=40)
    tax_rate = models.DecimalField(max_digits=6, decimal_places=3, help_text=_("Percent."))
    vendor_entity = models.ForeignKey(VendorEntity, on_delete=models.PROTECT, related_name="+")
    self_service = models.BooleanField(default=True)

    app_grants = grants.READ_ONLY

    def __str__(self) -> str:
        return self.name


class ProductQuerySet(models.QuerySet["Product"]):
    def sold_by_self_service(self) -> "ProductQuerySet":
        return self.filter(self_service=True, withdrawn_at=None)


class Product(models.Model):
    """One product with one service plan. `key` is the current product id on the wire.

    `added_at`: when it came into this catalogue, after which it is new to whoever made a rule for new products before.
    `withdrawn_at`: since when nothing new is sold of it; what runs goes on. `database_mb`, `file_mb` and `log_mb` are the
    capacity that each license gives, in megabytes of 1,000,000 bytes (product §13).
    """

    key = models.CharField(max_length=40, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    category = models.CharField(max_length=40)
    tagline = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    features = models.JSONField(default=list, help_text=_("What it does, one sentence each."))
    links = models.JSONField(default=list, help_text=_("Learning path, documentation, samples, community."))
    self_service = models.BooleanField(default=False)
    trial_without_card = models.BooleanField(default=False)
    guests_may_hold = models.BooleanField(default=False)
    sku_id = models.UUIDField(unique=True)
    sku_part_number = models.CharField(max_length=80)
    max_quantity = models.PositiveIntegerField(default=300)
    expired_days = models.PositiveSmallIntegerField(default=30)
    disabled_days = models.PositiveSmallIntegerField(default=90)
    database_mb = models.PositiveBigIntegerField(default=0, db_default=0)
    file_mb = models.PositiveBigIntegerField(default=0, db_default=0)
    log_mb = models.PositiveBigIntegerField(default=0, db_default=0)
    added_at = models.DateTimeField(db_default=Now(), editable=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    app_grants = _ADDED_AND_CHANGED

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [VendorWall(name="commerce_product_vendor")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn_at is not None


class ProductAlias(models.Model):
    """A former product id; everything that is said of it is said of the product."""

    former_key = models.CharField(max_length=40, unique=True)
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="aliases")

    app_grants = "SELECT, INSERT, DELETE"

    class Meta:
        constraints = [VendorWall(name="commerce_productalias_vendor")]

    def __str__(self) -> str:
        return self.former_key


class ProductSite(models.Model):
    """Where a product runs, under the name that people know it by there.

    A page of `origin` may embed the product's purchase prompts and launcher; a purchase that began in the product goes
    back to an address of `origin` at `path` or below it, and nowhere else (docs/embed.md).
    """

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="sites")
    name = models.CharField(max_length=60)
    origin = models.CharField(max_length=255)
    path = models.CharField(max_length=200, default="/")

    app_grants = "SELECT, INSERT, DELETE"

    class Meta:
        constraints = [
            VendorWall(name="commerce_productsite_vendor"),
            models.UniqueConstraint(fields=["product", "origin", "path"], name="commerce_productsite_once"),
            models.CheckConstraint(
                condition=models.Q(path__startswith="/")
                & (
                    models.Q(origin__startswith="https://")
                    | models.Q(origin__regex=r"^http://(127\.0\.0\.1|localhost)(:[0-9]+)?$")
                ),
                name="commerce_productsite_address",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


class MarketExclusion(models.Model):
    """A category that is not sold by self-service in a market."""

    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="exclusions")
    category = models.CharField(max_length=40)

    app_grants = grants.READ_ONLY

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["market", "category"], name="commerce_marketexclusion_once")
        ]

    def __str__(self) -> str:
        return f"{self.category} in {self.market_id}"


class Plan(models.Model):
    """A term one commits to and the period that one bill covers, both in months: 1/1, 12/1 or 12/12."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="plans")
    term_months = models.PositiveSmallIntegerField()
    billing_months = models.PositiveSmallIntegerField()

    app_grants = "SELECT, INSERT"

    class Meta:
        constraints = [
            VendorWall(name="commerce_plan_vendor"),
            models.UniqueConstraint(
                fields=["product", "term_months", "billing_months"], name="commerce_plan_once"
            ),
            models.CheckConstraint(
                condition=models.Q(term_months=1, billing_months=1)
                | models.Q(term_months=12, billing_months__in=[1, 12]),
                name="commerce_plan_known",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def code(self) -> str:
        """`monthly`, `yearly` (paid yearly) or `yearly-monthly` (committed for a year, paid monthly)."""
        if self.term_months == 1:
            return "monthly"
        return "yearly" if self.billing_months == 12 else "yearly-monthly"

    @property
    def label(self) -> str:
        labels = {
            "monthly": _("Monthly"),
            "yearly": _("Yearly, paid yearly"),
            "yearly-monthly": _("Yearly, paid monthly"),
        }
        return str(labels[self.code])


class Price(models.Model):
    """A list price per seat and billing period, without tax, from a day on.

    `published_at`: since when it can be known. A renewal that it raises must have been told of it in time.
    """

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="prices")
    market = models.ForeignKey(Market, on_delete=models.CASCADE, related_name="prices")
    currency = models.CharField(max_length=3)
    unit_price_minor = models.BigIntegerField()
    valid_from = models.DateTimeField()
    published_at = models.DateTimeField(db_default=Now())

    app_grants = grants.EVERYTHING

    class Meta:
        constraints = [
            # One that has begun is nobody's to change, under the app's login.
            VendorWall(name="commerce_price_vendor", changes="valid_from > now()"),
            models.UniqueConstraint(fields=["plan", "market", "valid_from"], name="commerce_price_once"),
            models.CheckConstraint(
                condition=models.Q(unit_price_minor__gte=0), name="commerce_price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.currency} {self.unit_price_minor}"
