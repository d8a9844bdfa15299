"""Support cases: what the vendor's staff are asked by an organization or its purchasers (product §11, §14)."""

import uuid
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from commerce.models.central import Agreement
from commerce.models.subscriptions import Subscription
from config.kit import grants
from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class SupportCaseQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        """The organization's for its admins and readers; those that one opened oneself."""
        rows = self.filter(tenant_id=actor.tenant_id)
        scopes = actor.scopes(Capability.SEE_CASES)
        seen = Q(pk__in=[])
        if "org" in scopes:
            seen |= Q(is_organizations=True)
        if "own" in scopes and actor.user_id and not actor.is_partner:
            seen |= Q(asked_by_id=actor.user_id)
        return rows.filter(seen)

    def open(self) -> Self:
        return self.filter(state=SupportCase.State.OPEN)

    def to_cancel(self) -> Self:
        return self.filter(kind=SupportCase.Kind.CANCEL_FOR_LEAVER)


class SupportCase(TenantModel):
    """What the vendor's staff are asked about one purchase, and since when it waits for whom.

    To cancel a leaver's purchase: open until they carried it out or declined; one open case a purchase. A question, or
    one about bills, is a conversation: open (it waits for support), waiting for the customer, answered, solved; a message
    of the customer opens it again, until it is closed after 14 quiet days, which is final.

    `is_organizations`: about what the organization owns, or a leaver's, and so read by its admins; else by who asked
    alone. `agreement`: whose premier incident it took, none for the vendor's standard support; a trigger keeps it off
    every purchase that was not bought centrally. The columns that name people are plain, since a partner's user and
    the staff belong to other tenants.
    """

    class Kind(models.TextChoices):
        CANCEL_FOR_LEAVER = "cancel", _("Cancel on behalf of a purchaser who left")
        QUESTION = "question", _("Question")
        BILLING = "billing", _("Bills and payments")

    class State(models.TextChoices):
        OPEN = "open", _("With support")
        DONE = "done", _("Carried out")
        DECLINED = "declined", _("Declined")
        WAITING = "waiting", _("Waits for you")
        ANSWERED = "answered", _("Answered")
        SOLVED = "solved", _("Solved")
        CLOSED = "closed", _("Closed")

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="cases", db_constraint=False
    )
    is_organizations = models.BooleanField(default=True, db_default=True)
    agreement = models.ForeignKey(
        Agreement, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    given_back_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    subject = models.CharField(max_length=120, blank=True, default="", db_default="")
    message = models.CharField(max_length=1000, blank=True)
    asked_at = models.DateTimeField()
    asked_by_id = models.BigIntegerField(null=True)
    asked_by = models.CharField(max_length=200)
    answer = models.CharField(max_length=1000, blank=True)
    answered_at = models.DateTimeField(null=True)
    answered_by_id = models.BigIntegerField(null=True)
    answered_by = models.CharField(max_length=200, blank=True)
    moved_at = models.DateTimeField(null=True)
    assigned_to_id = models.BigIntegerField(null=True)
    assigned_to = models.CharField(max_length=200, blank=True, default="", db_default="")

    objects = SupportCaseQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="subscription", name="commerce_supportcase_subscription"),
            SameTenant(field="agreement", name="commerce_supportcase_agreement"),
            models.UniqueConstraint(
                fields=["subscription", "kind"],
                condition=Q(state="open", kind="cancel"),
                name="commerce_supportcase_one_open",
            ),
            models.CheckConstraint(
                condition=Q(kind="cancel", state="open", answered_at__isnull=True)
                | Q(kind="cancel", state__in=["done", "declined"], answered_at__isnull=False)
                | (
                    ~Q(kind="cancel")
                    & Q(state__in=["open", "waiting", "answered", "solved", "closed"], moved_at__isnull=False)
                ),
                name="commerce_supportcase_answered",
            ),
            models.CheckConstraint(
                condition=Q(agreement__isnull=False) | Q(given_back_at__isnull=True),
                name="commerce_supportcase_given_back",
            ),
        ]
        indexes = [
            models.Index(fields=["asked_at", "id"], condition=Q(state="open"), name="commerce_case_open"),
            models.Index(fields=["tenant", "-id"], name="commerce_case_latest"),
            models.Index(
                fields=["moved_at"],
                condition=Q(state__in=["waiting", "answered", "solved"]),
                name="commerce_case_quiet",
            ),
        ]

    @property
    def is_premier(self) -> bool:
        return self.agreement_id is not None

    @property
    def is_conversation(self) -> bool:
        return bool(self.kind != self.Kind.CANCEL_FOR_LEAVER)

    @property
    def is_over(self) -> bool:
        """Whether nothing can be written in it any more."""
        return not self.is_conversation or bool(self.state == self.State.CLOSED)

    def is_own_of(self, actor: Actor) -> bool:
        return not actor.is_partner and actor.user_id is not None and self.asked_by_id == actor.user_id


class CaseMessage(TenantModel):
    """One message of a conversation, from who asked (or a colleague) or from the vendor's staff.

    `message_id` is the mail's own id where it came by mail, so that the same mail is taken once. `left_out` says what
    was not kept: a list of {"name", "why"}, `why` a code of `commerce.attachments.Why`.
    """

    case = models.ForeignKey(
        SupportCase, on_delete=models.PROTECT, related_name="messages", db_constraint=False, db_index=False
    )
    at = models.DateTimeField()
    is_staff = models.BooleanField()
    author_id = models.BigIntegerField(null=True)
    author = models.CharField(max_length=200)
    text = models.TextField()
    is_mail = models.BooleanField(default=False)
    message_id = models.CharField(max_length=64, blank=True)
    left_out = models.JSONField(default=list)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="case", name="commerce_casemessage_case"),
            models.UniqueConstraint(
                fields=["case", "message_id"],
                condition=~Q(message_id=""),
                name="commerce_casemessage_mail_once",
            ),
        ]
        indexes = [models.Index(fields=["case", "id"], name="commerce_casemessage_case_idx")]


class CaseFile(TenantModel):
    """A file that came with a message. In the database, so that every web machine can give it out (I-28).

    Its type was told from its content, and its name was cleaned; it is never shown, only downloaded.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    message = models.ForeignKey(
        CaseMessage, on_delete=models.PROTECT, related_name="files", db_constraint=False
    )
    name = models.CharField(max_length=100)
    media_type = models.CharField(max_length=40)
    size = models.PositiveIntegerField()
    content = models.BinaryField()

    app_grants = grants.APPEND_ONLY
    worker_grants = grants.APPEND_ONLY

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="message", name="commerce_casefile_message"),
        ]

    def __str__(self) -> str:
        return self.name


class PremierIncidents(TenantModel):
    """How many premier incidents an agreement grants, and how many cases took one. Never more than are granted."""

    agreement = models.OneToOneField(
        Agreement, on_delete=models.CASCADE, related_name="premier", db_constraint=False
    )
    granted = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="agreement", name="commerce_premierincidents_agreement"),
            models.CheckConstraint(
                condition=Q(used__lte=models.F("granted")), name="commerce_premierincidents_left"
            ),
        ]

    @property
    def left(self) -> int:
        return int(self.granted - self.used)
