"""Checkouts (not yet an order) and orders (one act of buying or changing)."""

import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.models import User
from directory.permissions import Capability

if TYPE_CHECKING:
    from commerce.models.subscriptions import Subscription


class CheckoutQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "CheckoutQuerySet":
        """A checkout is the buyer's alone."""
        return self.filter(tenant_id=actor.tenant_id, user_id=actor.user_id)


class Checkout(TenantModel):
    """One person's way to one order; `key` is the client's intent id (F-18).

    A purchase, a trial, or a change that is paid at once: added seats, a reactivation. A change names its
    subscription; `quantity` is then what is charged for (the seats added, or all of them), and the service
    dates are what the money covers. `card` is a saved card that the person chose in place of a new one. `return_to`:
    where the product runs that a purchase was begun in, registered then.

    open -> paying -> (action) -> paid, back to open after a decline, or abandoned after 24 hours. The amounts
    are the server's snapshot of what the person saw and agreed to; what is charged is this and nothing else.
    """

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        PAYING = "paying", _("Payment under way")
        ACTION = "action", _("Waiting for the bank's confirmation")
        PAID = "paid", _("Paid")
        ABANDONED = "abandoned", _("Abandoned")

    class Kind(models.TextChoices):
        PURCHASE = "purchase", _("Purchase")
        TRIAL = "trial", _("Trial")
        ADD_SEATS = "add_seats", _("Added licenses")
        REACTIVATION = "reactivation", _("Reactivation")

    key = models.UUIDField(default=uuid.uuid4, editable=False)
    kind = models.CharField(
        max_length=12, choices=Kind.choices, default=Kind.PURCHASE, db_default=Kind.PURCHASE
    )
    subscription = models.ForeignKey(
        "commerce.Subscription",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="checkouts",
        db_constraint=False,
    )
    service_start = models.DateTimeField(null=True)
    service_end = models.DateTimeField(null=True)
    card = models.ForeignKey(
        "commerce.Card",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    product = models.ForeignKey("commerce.Product", on_delete=models.PROTECT, related_name="+")
    plan = models.ForeignKey("commerce.Plan", on_delete=models.PROTECT, related_name="+")
    market = models.ForeignKey("commerce.Market", on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    quantity = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    unit_price_minor = models.BigIntegerField()
    subtotal_minor = models.BigIntegerField()
    tax_name = models.CharField(max_length=40)
    tax_rate = models.DecimalField(max_digits=6, decimal_places=3)
    tax_minor = models.BigIntegerField()
    total_minor = models.BigIntegerField()
    takes_first_license = models.BooleanField(default=True)
    bill_to = models.ForeignKey(
        "commerce.BillTo",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    terms_version = models.CharField(max_length=20, blank=True)
    consented_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=60, blank=True)
    return_to = models.CharField(max_length=500, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    objects = CheckoutQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="commerce_checkout_user"),
            SameTenant(field="bill_to", name="commerce_checkout_bill_to"),
            SameTenant(field="subscription", name="commerce_checkout_subscription"),
            SameTenant(field="card", name="commerce_checkout_card"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["purchase", "trial"], subscription__isnull=True)
                | models.Q(
                    kind__in=["add_seats", "reactivation"],
                    subscription__isnull=False,
                    service_start__isnull=False,
                    service_end__isnull=False,
                ),
                name="commerce_checkout_kind",
            ),
            models.UniqueConstraint(fields=["tenant", "key"], name="commerce_checkout_intent"),
            models.CheckConstraint(
                condition=models.Q(total_minor=models.F("subtotal_minor") + models.F("tax_minor")),
                name="commerce_checkout_sum",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["open", "abandoned"]) | models.Q(consented_at__isnull=False),
                name="commerce_checkout_consent",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=models.Q(state="open"),
                name="commerce_checkout_open",
            ),
            # The one under way, and the latest address, at any number of past checkouts.
            models.Index(
                fields=["user", "product"],
                condition=models.Q(state__in=["open", "paying", "action"]),
                name="commerce_checkout_under_way",
            ),
            models.Index(fields=["user", "-id"], name="commerce_checkout_latest"),
        ]

    @property
    def payer(self) -> User | None:
        """Who is charged: the buyer, or whoever owns the subscription that changes; None is the organization."""
        payer: User | None = self.user if self.subscription is None else self.subscription.owner_user
        return payer

    @property
    def changed(self) -> "Subscription":
        """The subscription of a change."""
        assert self.subscription is not None
        changed: Subscription = self.subscription
        return changed


class Order(TenantModel):
    """One act of buying or changing; never without a line (I-06)."""

    class Type(models.TextChoices):
        PURCHASE = "purchase", _("Purchase")
        CENTRAL_PURCHASE = "central_purchase", _("Central purchase")
        TRIAL = "trial", _("Trial")
        TRIAL_CONVERSION = "trial_conversion", _("Trial conversion")
        ADD_SEATS = "add_seats", _("Added licenses")
        REMOVE_SEATS = "remove_seats", _("Removed licenses")
        CANCEL = "cancel", _("Cancellation")
        REACTIVATION = "reactivation", _("Reactivation")
        PLAN_CHANGE = "plan_change", _("Change of plan")
        HAND_OVER = "hand_over", _("Hand-over")
        TAKE_OVER = "take_over", _("Take-over")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(max_length=20, choices=Type.choices)
    checkout = models.OneToOneField(
        Checkout, null=True, blank=True, on_delete=models.PROTECT, related_name="order", db_constraint=False
    )
    placed_at = models.DateTimeField()
    actor_user_id = models.BigIntegerField(null=True)
    actor_label = models.CharField(max_length=200)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="checkout", name="commerce_order_checkout"),
        ]


class OrderLineQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "OrderLineQuerySet":
        from commerce.models.subscriptions import Subscription

        return self.filter(
            tenant_id=actor.tenant_id,
            subscription__in=Subscription.objects.visible_to(actor, Capability.SEE_PURCHASES),
        )


class OrderLine(TenantModel):
    """What an order changed on one subscription, with a snapshot of the price."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines", db_constraint=False)
    subscription = models.ForeignKey(
        "commerce.Subscription", on_delete=models.PROTECT, related_name="order_lines", db_constraint=False
    )
    quantity = models.IntegerField(help_text=_("Seats that this order added; negative when it removed some."))
    currency = models.CharField(max_length=3)
    unit_price_minor = models.BigIntegerField()
    amount_minor = models.BigIntegerField(help_text=_("Without tax."))

    objects = OrderLineQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="order", name="commerce_orderline_order"),
            SameTenant(field="subscription", name="commerce_orderline_subscription"),
        ]
