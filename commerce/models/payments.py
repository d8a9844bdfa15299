"""Cards, charges and what the processor told us (architecture §8)."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel, VendorWall
from directory.models import User
from directory.permissions import Capability


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
        """The own cards, and the organization's for who may pay its bills. Nobody sees another's card."""
        condition = Q(user__isnull=False, user_id=actor.user_id)
        if "org" in actor.scopes(Capability.PAY_BILLS):
            condition |= Q(user__isnull=True)
        return self.live().filter(condition, tenant_id=actor.tenant_id)

    def live(self) -> "CardQuerySet":
        return self.filter(removed_at__isnull=True)

    def of_payer(self, actor: Actor, payer: User | None) -> "CardQuerySet":
        """The cards that the actor may pay with for a payer: the own ones, or as its admin the organization's."""
        if payer is not None:
            return self.visible_to(actor).filter(user=payer)
        if not actor.reaches(Capability.PAY_BILLS, is_own=False, is_org=True):
            return self.none()
        return self.live().filter(tenant_id=actor.tenant_id, user__isnull=True)


class Card(TenantModel):
    """A payer's card, as the processor describes it: never a number, never a code (I-27).

    `user` null: the organization's. `fingerprint` is the processor's own mark of the number, the same whenever the
    same card is entered: a payer has a card once, and entering it again renews its row (another `processor_id`,
    perhaps another expiry). What it was known by before becomes a row that is removed at once. A removed card is
    nobody's any more; `detached_at` says when the processor forgot it too.
    """

    user = models.ForeignKey(
        "directory.User", null=True, on_delete=models.PROTECT, related_name="cards", db_constraint=False
    )
    processor_id = models.CharField(max_length=80, unique=True)
    fingerprint = models.CharField(max_length=40, blank=True, default="", db_default="")
    brand = models.CharField(max_length=20)
    last4 = models.CharField(max_length=4)
    expires_year = models.PositiveSmallIntegerField()
    expires_month = models.PositiveSmallIntegerField()
    is_default = models.BooleanField(default=False)
    expiry_noticed_at = models.DateTimeField(null=True)
    added_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)
    detached_at = models.DateTimeField(null=True)

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
            models.UniqueConstraint(
                fields=["tenant", "user", "fingerprint"],
                condition=Q(removed_at__isnull=True) & ~Q(fingerprint=""),
                nulls_distinct=False,
                name="commerce_card_once",
            ),
            models.CheckConstraint(
                condition=Q(detached_at__isnull=True) | Q(removed_at__isnull=False),
                name="commerce_card_detached",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(removed_at__isnull=False, detached_at__isnull=True),
                name="commerce_card_to_detach",
            ),
            # Cards whose expiry was not announced yet.
            models.Index(
                fields=["expires_year", "expires_month", "id"],
                condition=Q(removed_at__isnull=True, expiry_noticed_at__isnull=True),
                name="commerce_card_expiring",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.brand} {self.last4}"


class PaymentAttempt(TenantModel):
    """One charge asked of the processor, committed before the call (I-09).

    created -> intent (its id committed) -> confirming -> succeeded | failed, or action (3-D Secure) first.
    `unknown` is a confirmation whose answer was lost; it is settled by retrieving that intent, never by another.
    For exactly one of a checkout (the buyer is there) or a bill; `on_session` says that the payer of a bill is
    there too and can answer the bank. `pays_from_now_on`: once it succeeded, its card is the subscription's.
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
    on_session = models.BooleanField(default=False, db_default=False)
    pays_from_now_on = models.BooleanField(default=False, db_default=False)
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
            models.Index(
                fields=["id"], condition=Q(decline_code="to_refund"), name="commerce_attempt_to_refund"
            ),
        ]


class Payment(TenantModel):
    """Money received for a bill: an immutable ledger row, with the card that paid it.

    `moved_from`: no new money, but that of another payment, whose bill was credited and issued anew. A payment
    without an attempt was booked by the vendor's staff, with its `reference`.
    """

    bill = models.ForeignKey(
        "commerce.Bill", on_delete=models.PROTECT, related_name="payments", db_constraint=False
    )
    attempt = models.OneToOneField(
        PaymentAttempt, null=True, on_delete=models.PROTECT, related_name="payment", db_constraint=False
    )
    card = models.ForeignKey(
        Card,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="payments",
        db_constraint=False,
        db_index=False,
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    received_at = models.DateTimeField()
    processor_charge_id = models.CharField(max_length=80, blank=True)
    moved_from = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="moved_to",
        db_constraint=False,
    )
    reference = models.CharField(max_length=100, blank=True, default="", db_default="")

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="bill", name="commerce_payment_bill"),
            SameTenant(field="attempt", name="commerce_payment_attempt"),
            SameTenant(field="card", name="commerce_payment_card"),
            SameTenant(field="moved_from", name="commerce_payment_moved_from"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="commerce_payment_positive"),
        ]


class Refund(TenantModel):
    """Money given back of one payment: an immutable ledger row.

    With a `credit_note`, of money that was booked; without payment and note, a charge that came too late.
    `attempt` is the charge that it came out of, also where the payment was moved from a corrected bill.
    `reverses`: the bank sent that refund back, and this row takes it off again.
    """

    payment = models.ForeignKey(
        Payment, null=True, on_delete=models.PROTECT, related_name="refunds", db_constraint=False
    )
    attempt = models.ForeignKey(
        PaymentAttempt, null=True, on_delete=models.PROTECT, related_name="refunds", db_constraint=False
    )
    credit_note = models.ForeignKey(
        "commerce.Bill",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="refunds",
        db_constraint=False,
    )
    reverses = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="reversed_by",
        db_constraint=False,
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
            SameTenant(field="credit_note", name="commerce_refund_credit_note"),
            SameTenant(field="reverses", name="commerce_refund_reverses"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="commerce_refund_positive"),
            models.CheckConstraint(
                condition=Q(attempt__isnull=False) | Q(payment__isnull=False, credit_note__isnull=False),
                name="commerce_refund_cause",
            ),
        ]


class RefundAttempt(TenantModel):
    """One refund asked of the processor for a credit note, committed before the call (I-09).

    created -> succeeded, whereupon a `Refund` is booked, or failed, which gives the sum back to the bill's
    refundable rest and waits for the vendor's staff. Repeating the call with the same key gives the same refund.
    succeeded -> failed when the cardholder's bank sends the money back. `payment` is the credited bill's own;
    the charge may be that of an older bill from which it was moved.
    """

    class State(models.TextChoices):
        CREATED = "created", _("Under way")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")

    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="refund_attempts", db_constraint=False
    )
    credit_note = models.ForeignKey(
        "commerce.Bill", on_delete=models.PROTECT, related_name="refund_attempts", db_constraint=False
    )
    key = models.CharField(max_length=80, unique=True)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=9, choices=State.choices, default=State.CREATED)
    processor_refund_id = models.CharField(max_length=80, null=True, unique=True)  # noqa: DJ001 - unique when known
    failure_code = models.CharField(max_length=60, blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="payment", name="commerce_refundattempt_payment"),
            SameTenant(field="credit_note", name="commerce_refundattempt_credit_note"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="commerce_refundattempt_positive"),
            # At most one refund of a credit note is under way or done.
            models.UniqueConstraint(
                fields=["credit_note"],
                condition=~Q(state="failed"),
                name="commerce_refundattempt_one_live",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_try_at", "id"],
                condition=Q(state="created"),
                name="commerce_refundattempt_due",
            ),
            models.Index(fields=["id"], condition=Q(state="failed"), name="commerce_refundattempt_failed"),
        ]


class Dispute(TenantModel):
    """A charge that the cardholder contested at the bank, as the processor tells it (product §5.6)."""

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        WON = "won", _("Won")
        LOST = "lost", _("Lost")

    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, related_name="disputes", db_constraint=False
    )
    processor_id = models.CharField(max_length=80, unique=True)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=60, blank=True)
    status = models.CharField(max_length=4, choices=Status.choices, default=Status.OPEN)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="payment", name="commerce_dispute_payment"),
            models.CheckConstraint(
                condition=Q(status="open", closed_at__isnull=True)
                | Q(status__in=["won", "lost"], closed_at__isnull=False),
                name="commerce_dispute_closed",
            ),
        ]


class CardSetupQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "CardSetupQuerySet":
        """A card being added is seen by who adds it; the organization's as long as that person may pay for it."""
        condition = Q(user__isnull=False, user_id=actor.user_id)
        if "org" in actor.scopes(Capability.PAY_BILLS):
            condition |= Q(user__isnull=True)
        return self.filter(condition, tenant_id=actor.tenant_id, asked_by_id=actor.user_id)


class CardSetup(TenantModel):
    """One card being added without a charge, by a SetupIntent: for a payer, or to start a trial.

    open -> confirming -> (action) -> done | failed; abandoned when nobody came back. `user` null: the
    organization's card. `replaces`: whatever this card pays is paid by the new one afterwards, and it is removed.
    `subscription`: that one is paid by the new card afterwards. `key` is the client's intent id: one page, whatever
    is clicked on it, is one setup (F-18).
    """

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        CONFIRMING = "confirming", _("Being confirmed")
        ACTION = "action", _("Waiting for the bank's confirmation")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        ABANDONED = "abandoned", _("Abandoned")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        "directory.User", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    asked_by_id = models.BigIntegerField()
    checkout = models.ForeignKey(
        "commerce.Checkout", null=True, on_delete=models.PROTECT, related_name="setups", db_constraint=False
    )
    replaces = models.ForeignKey(
        Card, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    subscription = models.ForeignKey(
        "commerce.Subscription",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    card = models.ForeignKey(
        Card, null=True, on_delete=models.PROTECT, related_name="setups", db_constraint=False
    )
    customer_processor_id = models.CharField(max_length=80, blank=True)
    confirmation_token = models.CharField(max_length=80, blank=True)
    intent_id = models.CharField(max_length=80, null=True, unique=True)  # noqa: DJ001 - unique when known
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    decline_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    FINAL = ("done", "failed", "abandoned")

    objects = CardSetupQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="commerce_cardsetup_user"),
            SameTenant(field="checkout", name="commerce_cardsetup_checkout"),
            SameTenant(field="replaces", name="commerce_cardsetup_replaces"),
            SameTenant(field="card", name="commerce_cardsetup_card"),
            SameTenant(field="subscription", name="commerce_cardsetup_subscription"),
            models.CheckConstraint(
                condition=~Q(state="done") | Q(card__isnull=False), name="commerce_cardsetup_done"
            ),
        ]
        indexes = [
            models.Index(
                fields=["updated_at"],
                condition=Q(state__in=["open", "confirming", "action"]),
                name="commerce_cardsetup_unsettled",
            ),
        ]


class UnmatchedCharge(models.Model):
    """A charge that the processor has and this database does not know, as after a restore (F-26).

    Found by its metadata; holds ids alone and waits for the vendor's staff, so it has no tenant.
    """

    intent_id = models.CharField(max_length=80, unique=True)
    tenant_number = models.CharField(max_length=20, blank=True)
    attempt_key = models.CharField(max_length=80, blank=True)
    cause = models.CharField(max_length=80, blank=True)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    found_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=200, blank=True)

    app_grants = grants.READ_ONLY

    def __str__(self) -> str:
        return self.intent_id


class BillingControl(models.Model):
    """One row: whether sweeps may bill and charge, and the database to which that was last said (F-26).

    `fingerprint` names the running database; a restored copy has another one, and begins with billing paused.
    `checked_at`: when a sweep last found it right, so in a copy the instant from which charges may be unknown.
    `reconciled_at`: when the processor's charges were brought in, since it was paused.
    """

    fingerprint = models.CharField(max_length=120, blank=True)
    paused_at = models.DateTimeField(null=True)
    paused_reason = models.CharField(max_length=200, blank=True)
    checked_at = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField(null=True)

    # The vendor's staff pause it; what names the database is the worker's to write.
    app_grants = "SELECT, UPDATE (paused_at, paused_reason, reconciled_at)"
    worker_grants = "SELECT, INSERT, UPDATE"

    class Meta:
        constraints = [
            VendorWall(name="commerce_billingcontrol_vendor"),
            models.CheckConstraint(condition=Q(pk=1), name="commerce_billingcontrol_one"),
        ]

    def __str__(self) -> str:
        return "paused" if self.paused_at else "running"


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
