"""What a tenant allows its people to buy (product §9)."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.tenancy import SameTenant, TenantModel
from policies import data_rule, rule


class PolicyValue(models.TextChoices):
    """The three values of `AllowSelfServicePurchase`, as they go over the wire."""

    ENABLED = rule.ENABLED, _("Allow")
    TRIALS_ONLY = rule.TRIALS_ONLY, _("Allow for trials only")
    DISABLED = rule.DISABLED, _("Do not allow")


class NewProducts(models.TextChoices):
    """What holds for products that are new in the catalogue."""

    ENABLED = rule.ENABLED, _("Allow")
    TRIALS_ONLY = rule.TRIALS_ONLY, _("Allow for trials only")
    DISABLED = rule.DISABLED, _("Do not allow")
    ASK = rule.ASK, _("Ask an admin each time")


class OfferType(models.TextChoices):
    """Offers of third parties, by type. Nothing of these is sold here; the policy keeps their switch."""

    SAAS = "SaaS", _("SaaS offers")
    POWER_BI_VISUALS = "POWERBIVISUALS", _("Power BI visuals")
    DYNAMICS_CE = "DYNAMICSCE", _("Dynamics 365 apps")
    DYNAMICS_BC = "DYNAMICSBC", _("Business Central apps")


class Basis(models.TextChoices):
    """What a limit counts."""

    PURCHASE = "purchase", _("For each purchase")
    PERSON_MONTH = "person_month", _("For each person and month")


class TenantPolicy(TenantModel):
    """A tenant's default, limits and own words for people who may not buy; no row means the built-in defaults.

    `new_products_since`: products that came into the catalogue later are new to the tenant. Set when a rule for
    them is made, and kept while it only changes. `requests_are_on`: people ask for licenses here (product §7.5), else they
    read `requests_text` with its link. Limits are minor units of `limits_currency`, without tax.
    """

    default_value = models.CharField(max_length=32, choices=PolicyValue.choices, default=PolicyValue.ENABLED)
    it_contact_text = models.TextField(blank=True, max_length=1000)
    it_contact_url = models.URLField(blank=True, max_length=500)
    requests_are_on = models.BooleanField(
        default=True, db_default=True, help_text=_("People may ask for licenses here.")
    )
    requests_text = models.TextField(blank=True, default="", db_default="", max_length=1000)
    requests_url = models.URLField(blank=True, default="", db_default="", max_length=500)
    new_products_value = models.CharField(
        max_length=32, choices=NewProducts.choices, blank=True, default="", db_default=""
    )
    new_products_since = models.DateTimeField(null=True)
    limits_currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    cap_minor = models.BigIntegerField(null=True)
    cap_basis = models.CharField(max_length=12, choices=Basis.choices, blank=True, default="", db_default="")
    threshold_minor = models.BigIntegerField(null=True)
    threshold_basis = models.CharField(
        max_length=12, choices=Basis.choices, blank=True, default="", db_default=""
    )

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant"], name="policies_tenantpolicy_one"),
            models.CheckConstraint(
                condition=Q(new_products_value="") | Q(new_products_since__isnull=False),
                name="policies_tenantpolicy_since",
            ),
            models.CheckConstraint(
                condition=(Q(cap_minor__isnull=True) | Q(cap_minor__gte=0, cap_basis__in=Basis.values))
                & (
                    Q(threshold_minor__isnull=True)
                    | Q(threshold_minor__gte=0, threshold_basis__in=Basis.values)
                ),
                name="policies_tenantpolicy_limits",
            ),
        ]


class _Value(TenantModel):
    """One value with who set it and when."""

    value = models.CharField(max_length=32, choices=PolicyValue.choices)
    changed_at = models.DateTimeField()
    changed_by_id = models.BigIntegerField(null=True)
    changed_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        abstract = True


class ProductPolicy(_Value):
    """One tenant's value for one product, named by its current key (former ids are aliases of it)."""

    product_key = models.CharField(max_length=40)

    class Meta(_Value.Meta):
        abstract = False
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "product_key"], name="policies_productpolicy_one"),
        ]


class CategoryPolicy(_Value):
    """One tenant's value for the products of one category that have none of their own."""

    category = models.CharField(max_length=40)

    class Meta(_Value.Meta):
        abstract = False
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "category"], name="policies_categorypolicy_one"),
        ]


class OfferTypePolicy(_Value):
    """One tenant's value for one type of third-party offers; allowed while there is no row."""

    offer_type = models.CharField(max_length=20, choices=OfferType.choices)

    class Meta(_Value.Meta):
        abstract = False
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "offer_type"], name="policies_offertypepolicy_one"),
            models.CheckConstraint(
                condition=Q(value__in=[rule.ENABLED, rule.DISABLED], offer_type__in=OfferType.values),
                name="policies_offertypepolicy_value",
            ),
        ]


class GroupPolicy(_Value):
    """An exception for a group's members at one level: the tenant, a category or a product (`key`)."""

    class Level(models.TextChoices):
        TENANT = "tenant", _("Every product")
        CATEGORY = "category", _("A category")
        PRODUCT = "product", _("A product")

    level = models.CharField(max_length=8, choices=Level.choices)
    key = models.CharField(max_length=40, blank=True)
    group = models.ForeignKey(
        "directory.Group", on_delete=models.CASCADE, related_name="+", db_constraint=False
    )

    class Meta(_Value.Meta):
        abstract = False
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="group", name="policies_grouppolicy_group"),
            models.UniqueConstraint(
                fields=["tenant", "level", "key", "group"], name="policies_grouppolicy_one"
            ),
            models.CheckConstraint(
                condition=Q(level="tenant", key="") | (Q(level__in=["category", "product"]) & ~Q(key="")),
                name="policies_grouppolicy_level",
            ),
        ]


class PolicyChange(TenantModel):
    """One change of what a tenant allows, for its history and for undo. Append-only.

    `before` and `after` are what was stored under the target: {"value": ...} with null for nothing of its own, the
    rule for new products with its `since`, a limit with its basis. The actor's columns are plain, since a partner's
    user belongs to another tenant. `undoes`: the change that this one takes back.
    """

    class Target(models.TextChoices):
        DEFAULT = "default", _("Default for every product")
        NEW_PRODUCTS = "new_products", _("New products")
        CATEGORY = "category", _("Category")
        PRODUCT = "product", _("Product")
        OFFER_TYPE = "offer_type", _("Offer type")
        GROUP = "group", _("Group")
        CAP = "cap", _("Spending limit")
        THRESHOLD = "threshold", _("Approval threshold")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    at = models.DateTimeField()
    target = models.CharField(max_length=12, choices=Target.choices)
    target_key = models.CharField(max_length=40, blank=True)
    target_label = models.CharField(max_length=200, blank=True, help_text=_("The name at that time."))
    level = models.CharField(max_length=8, choices=GroupPolicy.Level.choices, blank=True)
    group_id = models.BigIntegerField(null=True)
    group_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField()
    after = models.JSONField()
    why = models.CharField(max_length=500, blank=True)
    actor_user_id = models.BigIntegerField(null=True)
    actor_label = models.CharField(max_length=200)
    on_behalf_of = models.CharField(max_length=200, blank=True)
    door = models.CharField(max_length=4)
    undoes = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="undone_by", db_constraint=False
    )

    app_grants = grants.APPEND_ONLY
    worker_grants = f"{grants.APPEND_ONLY}, UPDATE (actor_label)"

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="undoes", name="policies_policychange_undoes"),
            models.UniqueConstraint(
                fields=["undoes"], condition=Q(undoes__isnull=False), name="policies_policychange_undone_once"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="policies_change_latest"),
            models.Index(fields=["tenant", "target", "target_key", "-id"], name="policies_change_target"),
        ]


class Creators(models.TextChoices):
    """Who may make workspaces in a product."""

    EVERYONE = data_rule.EVERYONE, _("Everybody in the organization")
    HOLDERS = data_rule.HOLDERS, _("Who has a license")
    ADMINS = data_rule.ADMINS, _("Admins alone")


class DataPolicy(TenantModel):
    """What a tenant says of the data in a product, in one place (product §14): of everything, a product, a group, or both.

    `product_id` is the catalogue's row, which stays when a product's id on the wire changes; None: every product.
    What is None, or empty, is not said here. How long data is kept is said of products, not of groups.
    """

    product_id = models.BigIntegerField(null=True)
    group = models.ForeignKey(
        "directory.Group", null=True, on_delete=models.CASCADE, related_name="+", db_constraint=False
    )
    service_on = models.BooleanField(null=True)
    external_sharing = models.BooleanField(null=True)
    retention_days = models.PositiveIntegerField(null=True)
    creators = models.CharField(max_length=8, choices=Creators.choices, blank=True, default="")
    changed_at = models.DateTimeField()
    changed_by_id = models.BigIntegerField(null=True)
    changed_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="group", name="policies_datapolicy_group"),
            models.UniqueConstraint(
                fields=["tenant", "product_id", "group"],
                nulls_distinct=False,
                name="policies_datapolicy_one",
            ),
            models.CheckConstraint(
                condition=Q(retention_days__isnull=True)
                | Q(
                    group__isnull=True,
                    retention_days__gte=data_rule.SHORTEST_DAYS,
                    retention_days__lte=data_rule.LONGEST_DAYS,
                ),
                name="policies_datapolicy_retention",
            ),
            models.CheckConstraint(
                condition=Q(creators__in=["", *Creators.values]), name="policies_datapolicy_creators"
            ),
        ]


class PolicyTemplate(TenantModel):
    """What a partner wants its customers' policies to say (product §12). `tenant` is the partner.

    `said` holds what it speaks of, by name, in the shapes of `policies.drift`; what is not there is left to each customer.
    It changes nobody's policy by itself. `version` counts its changes from 1.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField(default=1)
    said = models.JSONField(default=dict)
    changed_at = models.DateTimeField()
    changed_by_id = models.BigIntegerField(null=True)
    changed_by = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            models.UniqueConstraint(fields=["tenant", "name"], name="policies_policytemplate_name"),
        ]

    def __str__(self) -> str:
        return self.name


class MonthSpend(TenantModel):
    """What one person has spent or is about to spend in one calendar month of the tenant's zone, without tax.

    One conditional update of it takes what is left, so that two at once cannot both. It equals the sum of the `Spend`
    rows that were not released.
    """

    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    month = models.DateField()
    currency = models.CharField(max_length=3)
    spent_minor = models.BigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="policies_monthspend_user"),
            models.UniqueConstraint(
                fields=["tenant", "user", "month", "currency"], name="policies_monthspend_one"
            ),
            models.CheckConstraint(condition=Q(spent_minor__gte=0), name="policies_monthspend_positive"),
        ]


class Permit(TenantModel):
    """An approval: this person may buy this product once, up to so many seats and so much, within 14 days.

    Granted by the answer to a request. It lifts the approval threshold, never the cap. `used_for` is the purchase
    that takes it; a purchase that comes to nothing gives it back.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    product_key = models.CharField(max_length=40)
    seats = models.PositiveIntegerField()
    sum_minor = models.BigIntegerField(help_text=_("Without tax."))
    currency = models.CharField(max_length=3)
    granted_at = models.DateTimeField()
    granted_by_id = models.BigIntegerField(null=True)
    granted_by = models.CharField(max_length=200)
    valid_until = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_for = models.UUIDField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="policies_permit_user"),
            models.CheckConstraint(
                condition=Q(used_at__isnull=True, used_for__isnull=True)
                | Q(used_at__isnull=False, used_for__isnull=False),
                name="policies_permit_used",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "user", "product_key"],
                condition=Q(used_at__isnull=True),
                name="policies_permit_open",
            )
        ]


class Spend(TenantModel):
    """One purchase's part of a person's month: reserved right before the charge, then spent, or released.

    `cause` is the key of the checkout. A declined one is released, and reserved anew when it is tried again.
    """

    class State(models.TextChoices):
        RESERVED = "reserved", _("Reserved")
        SPENT = "spent", _("Spent")
        RELEASED = "released", _("Released")

    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    cause = models.UUIDField()
    month = models.DateField()
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField(help_text=_("Without tax."))
    state = models.CharField(max_length=8, choices=State.choices)
    changed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="policies_spend_user"),
            models.UniqueConstraint(fields=["tenant", "cause"], name="policies_spend_once"),
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="policies_spend_positive"),
        ]
