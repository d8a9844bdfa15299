"""Subscriptions: seats of one plan for one tenant, and everything that happened to them."""

import uuid
from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.kit import grants
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class SubscriptionQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor, capability: str = Capability.SEE_PURCHASES) -> "SubscriptionQuerySet":
        """The subscriptions over which the actor holds a capability, by default seeing the purchase."""
        scopes = actor.scopes(capability)
        rows = self.filter(tenant_id=actor.tenant_id)
        if "all" in scopes:
            return rows
        condition = models.Q(pk__in=[])
        if "own" in scopes and actor.user_id is not None:
            condition |= models.Q(owner_kind=Subscription.Owner.PERSON, owner_user_id=actor.user_id)
        if "org" in scopes:
            condition |= models.Q(owner_kind=Subscription.Owner.ORGANIZATION)
        return rows.filter(condition)

    def not_deleted(self) -> "SubscriptionQuerySet":
        return self.exclude(state=Subscription.State.DELETED)


class Subscription(TenantModel):
    """A number of licenses of one plan for one tenant (product §1, §5.1).

    Time zone, market, currency, tax and price are copied at purchase. Period n of the
    running plan starts at (anchor_date + offset_months + n * billing_months) at local midnight in `time_zone`, never
    derived from period n - 1 (I-12); `offset_months` are those that earlier plans took since the anchor;
    `period_start` and `period_end` hold the running period, `period_index` its n. `due_at` is the instant of the
    next transition that a sweep must make, whatever the state: end of the period, of Expired, of Disabled.
    `next_quantity` and `next_plan` are changes scheduled for the renewal; while fewer seats are scheduled, no
    more than those can be assigned (I-05). `disabled_reason` says how it came to be Disabled, which decides what
    brings it back. `next_reminder_at`: when the reminder sweep looks at it next. `disputed_at`: a charge is
    contested, no seats are added.
    `assigned` is changed only together with the assignment rows, by one conditional update (I-01).
    """

    class Channel(models.TextChoices):
        CENTRAL = "central", _("Central")
        SELF_SERVICE = "self-service", _("Self-service")
        TRIAL = "trial", _("Trial")

    class Owner(models.TextChoices):
        PERSON = "person", _("Purchaser")
        ORGANIZATION = "organization", _("Organization")

    class State(models.TextChoices):
        SCHEDULED = "scheduled", _("Scheduled")
        ACTIVE = "active", _("Active")
        EXPIRED = "expired", _("Expired")
        DISABLED = "disabled", _("Disabled")
        DELETED = "deleted", _("Deleted")

    class DisabledReason(models.TextChoices):
        ENDED = "ended", _("The grace after its end is over")
        CANCELED = "canceled", _("Canceled with a refund")
        UNPAID = "unpaid", _("Not paid")
        DISPUTED = "disputed", _("A charge was taken back")
        TRIAL_OVER = "trial_over", _("The trial is over")

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    product = models.ForeignKey("commerce.Product", on_delete=models.PROTECT, related_name="subscriptions")
    plan = models.ForeignKey("commerce.Plan", on_delete=models.PROTECT, related_name="+")
    channel = models.CharField(max_length=12, choices=Channel.choices)
    owner_kind = models.CharField(max_length=12, choices=Owner.choices)
    owner_user = models.ForeignKey(
        "directory.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    purchaser = models.ForeignKey(
        "directory.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    agreement = models.ForeignKey(
        "commerce.Agreement",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    card = models.ForeignKey(
        "commerce.Card",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
    )
    bill_to = models.ForeignKey(
        "commerce.BillTo", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    # Copies for lists: sorted and searched by index, without a join.
    product_sort = models.CharField(max_length=200)
    purchaser_name = models.CharField(max_length=200, blank=True)
    purchaser_sort = models.CharField(max_length=200, blank=True)
    search_text = models.TextField(blank=True, help_text=_("Folded product, purchaser's name and mail."))

    quantity = models.PositiveIntegerField()
    assigned = models.PositiveIntegerField(default=0)
    next_quantity = models.PositiveIntegerField(null=True)
    next_plan = models.ForeignKey(
        "commerce.Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    market = models.ForeignKey("commerce.Market", on_delete=models.PROTECT, related_name="+")
    vendor_entity = models.ForeignKey(
        "commerce.VendorEntity", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    currency = models.CharField(max_length=3)
    unit_price_minor = models.BigIntegerField(help_text=_("Per seat and billing period, without tax."))
    period_price_minor = models.BigIntegerField(help_text=_("quantity * unit price, kept for sorting."))
    tax_name = models.CharField(max_length=40)
    tax_rate = models.DecimalField(max_digits=6, decimal_places=3)
    term_months = models.PositiveSmallIntegerField()
    billing_months = models.PositiveSmallIntegerField()
    time_zone = models.CharField(max_length=64)
    anchor_date = models.DateField()
    offset_months = models.PositiveSmallIntegerField(default=0, db_default=0)

    state = models.CharField(max_length=9, choices=State.choices)
    recurring_billing = models.BooleanField(default=True)
    period_index = models.PositiveIntegerField(default=0)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    term_end = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(
        max_length=10, choices=DisabledReason.choices, blank=True, default="", db_default=""
    )
    payment_failed_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True, help_text=_("Of the card, after a failed payment."))
    pay_by_at = models.DateTimeField(
        null=True, help_text=_("When access ends if nothing is paid until then.")
    )
    disputed_at = models.DateTimeField(null=True)
    next_reminder_at = models.DateTimeField(null=True)
    parked_at = models.DateTimeField(null=True)
    parked_reason = models.TextField(blank=True)
    created_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=0)

    objects = SubscriptionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="owner_user", name="commerce_subscription_owner_user"),
            SameTenant(field="purchaser", name="commerce_subscription_purchaser"),
            SameTenant(field="agreement", name="commerce_subscription_agreement"),
            SameTenant(field="card", name="commerce_subscription_card"),
            SameTenant(field="bill_to", name="commerce_subscription_bill_to"),
            models.CheckConstraint(
                condition=models.Q(assigned__gte=0) & models.Q(assigned__lte=models.F("quantity")),
                name="commerce_subscription_seats",
            ),
            models.CheckConstraint(
                condition=models.Q(next_quantity__isnull=True)
                | models.Q(next_quantity__gte=1, assigned__lte=models.F("next_quantity")),
                name="commerce_subscription_next_quantity",
            ),
            models.CheckConstraint(
                condition=models.Q(owner_kind="organization", owner_user__isnull=True)
                | models.Q(owner_kind="person", owner_user__isnull=False),
                name="commerce_subscription_owner",
            ),
            models.CheckConstraint(
                condition=models.Q(period_start__lt=models.F("period_end")),
                name="commerce_subscription_period",
            ),
            models.CheckConstraint(
                condition=models.Q(state="deleted") | models.Q(due_at__isnull=False),
                name="commerce_subscription_due",
            ),
        ]
        indexes = [
            models.Index(
                # Sweeps walk it entity by entity (architecture §7).
                fields=["vendor_entity", "due_at", "id"],
                condition=models.Q(parked_at__isnull=True) & ~models.Q(state="deleted"),
                name="commerce_subscription_due_idx",
            ),
            models.Index(
                fields=["id"],
                condition=models.Q(parked_at__isnull=False),
                name="commerce_subscription_parked",
            ),
            models.Index(fields=["tenant", "product_sort", "id"], name="commerce_sub_product"),
            models.Index(fields=["tenant", "purchaser_sort", "id"], name="commerce_sub_purchaser"),
            models.Index(fields=["tenant", "due_at", "id"], name="commerce_sub_expiry"),
            models.Index(fields=["tenant", "quantity", "id"], name="commerce_sub_quantity"),
            models.Index(fields=["tenant", "period_price_minor", "id"], name="commerce_sub_price"),
            models.Index(fields=["tenant", "owner_user"], name="commerce_sub_owner"),
            models.Index(
                fields=["next_reminder_at", "id"],
                condition=models.Q(next_reminder_at__isnull=False),
                name="commerce_sub_reminder",
            ),
            # The organization's that are not on account: few, and paid by its cards.
            models.Index(
                fields=["tenant", "id"],
                condition=models.Q(owner_kind="organization", agreement__isnull=True),
                name="commerce_sub_org_by_card",
            ),
            # What ends, rather than renews: few, and asked for by day.
            models.Index(
                fields=["tenant", "term_end", "id"],
                condition=models.Q(state="active", recurring_billing=False),
                name="commerce_sub_ending",
            ),
            # Read alone, without the table, by the counts of the channel buttons.
            models.Index(fields=["tenant", "state", "channel"], name="commerce_sub_counts"),
        ]

    def __str__(self) -> str:
        return f"{self.product} ({self.quantity})"

    @property
    def free(self) -> int:
        return int(self.quantity - self.assigned)

    @property
    def assignable(self) -> int:
        """How many more can be assigned: the free ones, without those that the renewal takes away (I-05)."""
        return int(min(self.quantity, self.next_quantity or self.quantity) - self.assigned)

    def is_owned_by(self, actor: Actor) -> bool:
        return self.owner_kind == self.Owner.PERSON and self.owner_user_id == actor.user_id

    @property
    def is_organizations(self) -> bool:
        return self.owner_kind == self.Owner.ORGANIZATION

    @property
    def is_on_account(self) -> bool:
        """Whether it is billed under the organization's agreement, rather than charged to a card."""
        return self.is_organizations and self.agreement_id is not None


class Trial(TenantModel):
    """The one trial of a product that a person ever gets (product §3.6).

    Kind A has a card and turns paid at its end; kind B has none and ends into Disabled.
    """

    class Kind(models.TextChoices):
        WITH_CARD = "card", _("With a card")
        WITHOUT_CARD = "free", _("Without a card")

    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="trials", db_constraint=False
    )
    product = models.ForeignKey("commerce.Product", on_delete=models.PROTECT, related_name="+")
    subscription = models.OneToOneField(
        Subscription, on_delete=models.PROTECT, related_name="trial", db_constraint=False
    )
    kind = models.CharField(max_length=4, choices=Kind.choices)
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    extended_at = models.DateTimeField(null=True)
    converted_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="commerce_trial_user"),
            SameTenant(field="subscription", name="commerce_trial_subscription"),
            models.UniqueConstraint(fields=["user", "product"], name="commerce_trial_once"),
        ]


class HandOverQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "HandOverQuerySet":
        """What the actor offered, and what was offered to them."""
        mine = models.Q(from_user_id=actor.user_id) | models.Q(to_user_id=actor.user_id)
        return self.filter(mine, tenant_id=actor.tenant_id)

    def open(self, at: datetime) -> "HandOverQuerySet":
        """Offers that can still be accepted, as far as their own time goes."""
        return self.filter(state=HandOver.State.OFFERED, expires_at__gt=at)


class HandOver(TenantModel):
    """A purchase offered to a colleague, who accepts with an own card (product §4).

    offered -> accepted, declined, withdrawn or lapsed; one open offer a subscription.
    """

    class State(models.TextChoices):
        OFFERED = "offered", _("Offered")
        ACCEPTED = "accepted", _("Accepted")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        LAPSED = "lapsed", _("Lapsed")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="hand_overs", db_constraint=False
    )
    from_user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    to_user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.OFFERED)
    offered_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    objects = HandOverQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="commerce_handover_subscription"),
            SameTenant(field="from_user", name="commerce_handover_from_user"),
            SameTenant(field="to_user", name="commerce_handover_to_user"),
            models.UniqueConstraint(
                fields=["subscription"],
                condition=models.Q(state="offered"),
                name="commerce_handover_one_offer",
            ),
        ]


class SubscriptionEvent(TenantModel):
    """One thing that happened to a subscription, for its history: who, when, what."""

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="events", db_constraint=False, db_index=False
    )
    at = models.DateTimeField()
    code = models.CharField(max_length=40)
    actor_label = models.CharField(max_length=200)
    facts = models.JSONField(default=dict)

    app_grants = grants.APPEND_ONLY
    worker_grants = f"{grants.APPEND_ONLY}, UPDATE (actor_label, facts)"

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="commerce_subscriptionevent_subscription"),
        ]
        indexes = [models.Index(fields=["subscription", "-id"], name="commerce_subevent_latest")]
