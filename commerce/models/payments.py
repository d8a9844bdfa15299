"""Cards, charges and what the processor told us (architecture §8)."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel


class ProcessorCustomer(TenantModel):
    """The processor's customer for one payer: a person, or the organization when `user` is null."""

    user = models.ForeignKey(
        "directory.User", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    processor_id = models.CharField(max_length=80, unique=True)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="commerce_processorcustomer_user"),
            models.UniqueConstraint(
                fields=["tenant", "user"], nulls_distinct=False, name="commerce_processorcustomer_once"
            ),
        ]


class CardQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "CardQuerySet":
        """Nobody sees another's card."""
        return self.filter(tenant_id=actor.tenant_id, user_id=actor.user_id, removed_at__isnull=True)


class Card(TenantModel):
    """A payer's card, as the processor describes it: never a number, never a code (I-27)."""

    user = models.ForeignKey(
        "directory.User", null=True, on_delete=models.PROTECT, related_name="cards", db_constraint=False
    )
    processor_id = models.CharField(max_length=80, unique=True)
    brand = models.CharField(max_length=20)
    last4 = models.CharField(max_length=4)
    expires_year = models.PositiveSmallIntegerField()
    expires_month = models.PositiveSmallIntegerField()
    is_default = models.BooleanField(default=False)
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)

    objects = CardQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="commerce_card_user"),
            models.UniqueConstraint(
                fields=["tenant", "user"],
                condition=Q(is_default=True, removed_at__isnull=True),
                nulls_distinct=False,
                name="commerce_card_one_default",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.brand} {self.last4}"


class PaymentAttempt(TenantModel):
    """One charge asked of the processor, committed before the call (I-09).

    created -> intent (its id committed) -> confirming -> succeeded | failed, or action (3-D Secure) first.
    `unknown` is a confirmation whose answer was lost; it is settled by retrieving that intent, never by another.
    For exactly one of a checkout (first purchase) or a bill (renewal).
    """

    class State(models.TextChoices):
        CREATED = "created", _("Created")
        INTENT = "intent", _("Known to the processor")
        CONFIRMING = "confirming", _("Being confirmed")
        ACTION = "action", _("Waiting for the cardholder")
        UNKNOWN = "unknown", _("Answer lost")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELED = "canceled", _("Canceled")

    FINAL = ("succeeded", "failed", "canceled")

    # Set by the query that asks whether somebody is at it.
    is_leased: bool

    checkout = models.ForeignKey(
        "commerce.Checkout", null=True, on_delete=models.PROTECT, related_name="attempts", db_constraint=False
    )
    bill = models.ForeignKey(
        "commerce.Bill", null=True, on_delete=models.PROTECT, related_name="attempts", db_constraint=False
    )
    key = models.CharField(max_length=80, unique=True, help_text=_("Idempotency key of the creation."))
    params_hash = models.CharField(max_length=64)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    customer_processor_id = models.CharField(max_length=80)
    confirmation_token = models.CharField(max_length=80, blank=True)
    card_processor_id = models.CharField(max_length=80, blank=True)
    intent_id = models.CharField(max_length=80, null=True, unique=True)  # noqa: DJ001 - unique when known
    state = models.CharField(max_length=10, choices=State.choices, default=State.CREATED)
    decline_kind = models.CharField(max_length=6, blank=True, help_text=_("soft, hard or auth"))
    decline_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="checkout", name="commerce_paymentattempt_checkout"),
            SameTenant(field="bill", name="commerce_paymentattempt_bill"),
            models.CheckConstraint(
                condition=Q(checkout__isnull=False, bill__isnull=True)
                | Q(checkout__isnull=True, bill__isnull=False),
                name="commerce_paymentattempt_one_cause",
            ),
            # At most one attempt is under way or has succeeded per checkout and per bill (I-10).
            models.UniqueConstraint(
                fields=["checkout"],
                condition=~Q(state__in=["failed", "canceled"]),
                name="commerce_paymentattempt_one_live_checkout",
            ),
            models.UniqueConstraint(
                fields=["bill"],
                condition=~Q(state__in=["failed", "canceled"]),
                name="commerce_paymentattempt_one_live_bill",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["created", "failed", "canceled"]) | Q(intent_id__isnull=False),
                name="commerce_paymentattempt_intent",
            ),
        ]
        indexes = [
            models.Index(
                fields=["updated_at"],
                condition=~Q(state__in=["succeeded", "failed", "canceled"]),
                name="commerce_attempt_unsettled",
            ),
        ]


class Payment(TenantModel):
    """Money received for a bill: an immutable ledger row."""

    bill = models.ForeignKey(
        "commerce.Bill", on_delete=models.PROTECT, related_name="payments", db_constraint=False
    )
    attempt = models.OneToOneField(
        PaymentAttempt, null=True, on_delete=models.PROTECT, related_name="payment", db_constraint=False
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    received_at = models.DateTimeField()
    processor_charge_id = models.CharField(max_length=80, blank=True)

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="bill", name="commerce_payment_bill"),
            SameTenant(field="attempt", name="commerce_payment_attempt"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="commerce_payment_positive"),
        ]


class Refund(TenantModel):
    """Money given back of one payment: an immutable ledger row, for example of a charge that came too late."""

    payment = models.ForeignKey(
        Payment, null=True, on_delete=models.PROTECT, related_name="refunds", db_constraint=False
    )
    attempt = models.ForeignKey(
        PaymentAttempt, on_delete=models.PROTECT, related_name="refunds", db_constraint=False
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    refunded_at = models.DateTimeField()
    processor_refund_id = models.CharField(max_length=80, unique=True)

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="payment", name="commerce_refund_payment"),
            SameTenant(field="attempt", name="commerce_refund_attempt"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="commerce_refund_positive"),
        ]


class WebhookEvent(models.Model):
    """A verified event of the processor, stored once (I-18). A hint: the object is fetched again.

    Arrives before any tenant is known and holds ids alone, so it has no tenant.
    """

    event_id = models.CharField(max_length=80, unique=True)
    type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=80)
    received_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True)

    app_grants = "SELECT, INSERT, UPDATE"

    class Meta:
        indexes = [
            models.Index(
                fields=["received_at"],
                condition=Q(handled_at__isnull=True),
                name="commerce_webhook_unhandled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"
