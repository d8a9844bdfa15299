"""Bills: what is to be paid for one period or change (product §6)."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import Func, Q
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class BillTo(TenantModel):
    """Whom a bill is made out to. Immutable: a correction is a new row. Emptied but for the country after BILLS_KEPT."""

    name = models.CharField(max_length=200)
    street = models.CharField(max_length=200)
    postal_code = models.CharField(max_length=20, blank=True)
    city = models.CharField(max_length=100)
    country = models.CharField(max_length=2)
    vat_number = models.CharField(max_length=20, blank=True)
    vat_is_verified = models.BooleanField(null=True, help_text=_("Null: not checked against the register."))
    own_reference = models.CharField(max_length=60, blank=True)
    email = models.EmailField(max_length=254, blank=True)

    app_grants = grants.APPEND_ONLY
    worker_grants = (
        f"{grants.APPEND_ONLY}, UPDATE (name, street, postal_code, city, vat_number, own_reference, email)"
    )

    class Meta(TenantModel.Meta):
        constraints = [*TenantModel.Meta.constraints]

    def __str__(self) -> str:
        return self.name


class BillSeries(models.Model):
    """The counter of one vendor entity and calendar year; its row is taken in the bill's own statement (I-19)."""

    vendor_entity = models.ForeignKey("commerce.VendorEntity", on_delete=models.PROTECT, related_name="+")
    year = models.PositiveSmallIntegerField()
    next_number = models.PositiveIntegerField(default=1)

    app_grants = "SELECT, INSERT, UPDATE"
    worker_grants = "SELECT, INSERT, UPDATE"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["vendor_entity", "year"], name="commerce_billseries_once")
        ]

    def __str__(self) -> str:
        return f"{self.vendor_entity_id}/{self.year}"


class TsTzRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


def reach_of(actor: Actor, capability: str = Capability.SEE_BILLS) -> Q:
    """Which of a tenant's bills a capability covers: the own ones, the organization's for its admins, or all.

    `SEE_BILL_AMOUNTS` also covers those of which only the amount is shown.
    """
    scopes = actor.scopes(capability)
    if "all" in scopes:
        return Q()
    condition = Q(pk__in=[])
    if "own" in scopes and actor.user_id is not None:
        condition |= Q(payer_id=actor.user_id)
    if "org" in scopes:
        condition |= Q(payer__isnull=True)
    return condition


class BillQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor, capability: str = Capability.SEE_BILLS) -> "BillQuerySet":
        """The bills over which the actor holds a capability, by default those that the actor may open."""
        return self.filter(reach_of(actor, capability), tenant_id=actor.tenant_id)

    def open(self) -> "BillQuerySet":
        """Bills that wait for the payer's money; never a credit note, which waits for ours."""
        return self.filter(status__in=[Bill.Status.OPEN, Bill.Status.PAST_DUE], credits__isnull=True)


PERIOD_TYPES = ["purchase", "renewal", "monthly_charge", "trial_conversion"]
LIVE_PERIOD_BILL = Q(type__in=PERIOD_TYPES) & ~Q(status__in=["credited", "void"])


class Bill(TenantModel):
    """One bill. Its number, amounts and lines never change; a correction is a credit note.

    One whose total is 0 is paid as it is issued, without a payment (docs/adr/0049).

    `payer` is the person charged, null when the organization pays. Card bills are taken by the charge sweep
    when `charge_due_at` has come; `leased_until` keeps two workers from the same bill.

    A credit note is a bill with a negative total that names in `credits` the bill it takes back: open while its
    money is to be refunded, paid when it was, credited at once where no money moves. `credited_minor` sums a
    bill's credit notes, `refunded_minor` what of its money was given back or is being given back (I-07). A bill
    whose money is refunded stays paid, also in full: its period was billed. It becomes credited when nothing of
    it was paid, or when its money was moved to the bill that was issued anew and names it in `replaces`.

    `failed_at`, `dunning_step` and `next_dunning_at` are the place in the calendar of product §5.6;
    `decline_kind` says whether the next step tries the card again (soft) or only writes (hard, auth).
    """

    class Type(models.TextChoices):
        PURCHASE = "purchase", _("Purchase")
        RENEWAL = "renewal", _("Renewal")
        MONTHLY_CHARGE = "monthly_charge", _("Monthly charge")
        TRIAL_CONVERSION = "trial_conversion", _("Trial conversion")
        ADD_SEATS = "add_seats", _("Added licenses")
        REMOVE_SEATS = "remove_seats", _("Removed licenses")
        CANCEL = "cancel", _("Cancellation")
        REACTIVATION = "reactivation", _("Reactivation")
        REFUND = "refund", _("Refund")
        CREDIT = "credit", _("Credit")
        TAKE_OVER = "take_over", _("Take-over")

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        PAID = "paid", _("Paid")
        PAST_DUE = "past_due", _("Past due")
        CREDITED = "credited", _("Credited")
        VOID = "void", _("Void")

    class Collection(models.TextChoices):
        CARD = "card", _("By card")
        ON_ACCOUNT = "on_account", _("On account")

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    number = models.CharField(max_length=30, unique=True)
    vendor_entity = models.ForeignKey("commerce.VendorEntity", on_delete=models.PROTECT, related_name="+")
    series_year = models.PositiveSmallIntegerField()
    series_number = models.PositiveIntegerField()
    order = models.ForeignKey(
        "commerce.Order", on_delete=models.PROTECT, related_name="bills", db_constraint=False
    )
    subscription = models.ForeignKey(
        "commerce.Subscription", on_delete=models.PROTECT, related_name="bills", db_constraint=False
    )
    bill_to = models.ForeignKey(
        BillTo, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    payer = models.ForeignKey(
        "directory.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    credits = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="credit_notes",
        db_constraint=False,
    )
    replaces = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="replaced_by",
        db_constraint=False,
    )
    type = models.CharField(max_length=20, choices=Type.choices)
    status = models.CharField(max_length=8, choices=Status.choices)
    collection = models.CharField(max_length=10, choices=Collection.choices)
    issued_at = models.DateTimeField()
    due_at = models.DateTimeField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    subtotal_minor = models.BigIntegerField()
    tax_name = models.CharField(max_length=40)
    tax_rate = models.DecimalField(max_digits=6, decimal_places=3)
    tax_minor = models.BigIntegerField()
    total_minor = models.BigIntegerField()
    paid_minor = models.BigIntegerField(default=0)
    credited_minor = models.BigIntegerField(default=0, db_default=0)
    refunded_minor = models.BigIntegerField(default=0, db_default=0)
    paid_at = models.DateTimeField(null=True)
    charge_due_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(default=0)
    last_decline = models.CharField(max_length=60, blank=True)
    decline_kind = models.CharField(max_length=6, blank=True, default="", db_default="")
    failed_at = models.DateTimeField(null=True)
    dunning_step = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_dunning_at = models.DateTimeField(null=True)

    app_grants = "SELECT, INSERT, UPDATE"
    worker_grants = "SELECT, INSERT, UPDATE"

    objects = BillQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="order", name="commerce_bill_order"),
            SameTenant(field="subscription", name="commerce_bill_subscription"),
            SameTenant(field="bill_to", name="commerce_bill_bill_to"),
            SameTenant(field="payer", name="commerce_bill_payer"),
            SameTenant(field="credits", name="commerce_bill_credits"),
            SameTenant(field="replaces", name="commerce_bill_replaces"),
            models.UniqueConstraint(
                fields=["vendor_entity", "series_year", "series_number"], name="commerce_bill_series"
            ),
            models.UniqueConstraint(
                fields=["subscription", "period_start"],
                condition=LIVE_PERIOD_BILL,
                name="commerce_bill_period_once",
            ),
            ExclusionConstraint(
                name="commerce_bill_period_overlap",
                expressions=[
                    ("subscription_id", RangeOperators.EQUAL),
                    (TsTzRange("period_start", "period_end", RangeBoundary()), RangeOperators.OVERLAPS),
                ],
                condition=LIVE_PERIOD_BILL,
            ),
            models.CheckConstraint(
                condition=Q(total_minor=models.F("subtotal_minor") + models.F("tax_minor")),
                name="commerce_bill_sum",
            ),
            models.CheckConstraint(
                condition=Q(total_minor__gte=0, paid_minor__gte=0, paid_minor__lte=models.F("total_minor"))
                | Q(total_minor__lt=0, paid_minor__lte=0, paid_minor__gte=models.F("total_minor")),
                name="commerce_bill_paid",
            ),
            models.CheckConstraint(
                condition=Q(total_minor__gte=0, credits__isnull=True)
                | Q(total_minor__lte=0, credits__isnull=False),
                name="commerce_bill_credit_note",
            ),
            models.CheckConstraint(
                condition=Q(credited_minor=0)
                | Q(credited_minor__gte=0, credited_minor__lte=models.F("total_minor")),
                name="commerce_bill_credited",
            ),
            models.CheckConstraint(
                condition=Q(refunded_minor=0)
                | Q(refunded_minor__gte=0, refunded_minor__lte=models.F("paid_minor")),
                name="commerce_bill_refunded",
            ),
            models.CheckConstraint(
                condition=~Q(status="paid") | Q(paid_minor=models.F("total_minor")),
                name="commerce_bill_paid_in_full",
            ),
        ]
        indexes = [
            models.Index(
                fields=["charge_due_at", "id"],
                condition=Q(status__in=["open", "past_due"], collection="card"),
                name="commerce_bill_charge_due",
            ),
            models.Index(fields=["tenant", "payer", "-id"], name="commerce_bill_payer_latest"),
            models.Index(fields=["tenant", "-issued_at", "-id"], name="commerce_bill_latest"),
            models.Index(
                fields=["tenant", "payer", "due_at"],
                condition=Q(status__in=["open", "past_due"]),
                name="commerce_bill_to_pay",
            ),
            models.Index(
                fields=["next_dunning_at", "id"],
                condition=Q(next_dunning_at__isnull=False),
                name="commerce_bill_dunning",
            ),
            # On-account bills that become past due.
            models.Index(
                fields=["due_at", "id"],
                condition=Q(status="open", collection="on_account"),
                name="commerce_bill_on_account_due",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_correctable(self) -> bool:
        """Whether it can be credited and issued anew: a bill, of which nothing was credited yet."""
        statuses = (self.Status.OPEN, self.Status.PAST_DUE, self.Status.PAID)
        is_whole = self.credited_minor == 0 and self.subtotal_minor > 0
        return self.credits_id is None and self.status in statuses and is_whole


class BillLine(TenantModel):
    """One line with its service dates, unit price, quantity, tax rate and amount."""

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="lines", db_constraint=False)
    description = models.CharField(max_length=300)
    quantity = models.IntegerField()
    unit_price_minor = models.BigIntegerField()
    amount_minor = models.BigIntegerField()
    service_start = models.DateTimeField()
    service_end = models.DateTimeField()

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="bill", name="commerce_billline_bill"),
        ]
