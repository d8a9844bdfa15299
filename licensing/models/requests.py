"""Who asks for a license, for whom, and what was answered."""

import uuid

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel
from directory.permissions import Capability


class LicenseRequestQuerySet(ScopedQuerySet):
    def visible_to(self, actor: Actor) -> "LicenseRequestQuerySet":
        """All of the tenant's for who sees the queue; else what the person asked, or what was asked for them."""
        rows = self.filter(tenant_id=actor.tenant_id)
        if "all" in actor.scopes(Capability.SEE_QUEUE):
            return rows
        return rows.concerning(actor)

    def concerning(self, actor: Actor) -> "LicenseRequestQuerySet":
        """What the actor asked, or what was asked for the actor; nothing for who acts for another organization."""
        if actor.is_partner or actor.user_id is None:
            return self.none()
        named = RequestedPerson.objects.filter(request=OuterRef("pk"), user_id=actor.user_id)
        return self.filter(Q(requester_id=actor.user_id) | Exists(named), tenant_id=actor.tenant_id)

    def open(self) -> "LicenseRequestQuerySet":
        return self.filter(state__in=LicenseRequest.OPEN)


class LicenseRequest(TenantModel):
    """Somebody asks for licenses of a product, for some people, or for leave to buy them by card (product §7.5).

    Waiting, perhaps forwarded to those who decide about money, until every person asked for is answered; or
    withdrawn, or lapsed after 60 days. Deleted 12 months after it was closed. `amount_minor` is what the licenses cost
    without tax when it was asked: the list price a month, or the whole first charge of a purchase that needs approval;
    None where the vendor has no price. `answer` says by what it was granted last; `message` is for the requester.

    The columns that name who forwarded and decided are plain, since a partner's user belongs to another tenant.
    """

    class Kind(models.TextChoices):
        LICENSE = "license", _("License")
        SPENDING = "spending", _("Approval of a purchase")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        FORWARDED = "forwarded", _("Forwarded")
        APPROVED = "approved", _("Approved")
        PARTLY = "partly", _("Approved in part")
        REJECTED = "rejected", _("Rejected")
        LAPSED = "lapsed", _("Lapsed")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    class Answer(models.TextChoices):
        SEATS = "seats", _("Free licenses")
        SPENDING = "spending", _("Purchase by card approved")
        POLICY = "policy", _("Product allowed")

    OPEN = (State.WAITING, State.FORWARDED)

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    product = models.ForeignKey("commerce.Product", on_delete=models.PROTECT, related_name="+")
    requester = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    reason = models.CharField(max_length=1000)
    seats = models.PositiveIntegerField()
    amount_minor = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3, blank=True)
    state = models.CharField(max_length=9, choices=State.choices)
    answer = models.CharField(max_length=8, choices=Answer.choices, blank=True)
    message = models.CharField(max_length=1000, blank=True)
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    forwarded_at = models.DateTimeField(null=True)
    forwarded_by_id = models.BigIntegerField(null=True)
    forwarded_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)
    decided_by_id = models.BigIntegerField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    closed_at = models.DateTimeField(null=True)

    objects = LicenseRequestQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="requester", name="licensing_licenserequest_requester"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "forwarded"], closed_at__isnull=True)
                | (~Q(state__in=["waiting", "forwarded"]) & Q(closed_at__isnull=False)),
                name="licensing_licenserequest_closed",
            ),
            models.CheckConstraint(
                condition=Q(seats__gte=1) & (Q(amount_minor__isnull=True) | Q(amount_minor__gte=0)),
                name="licensing_licenserequest_sums",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="licensing_request_latest"),
            models.Index(fields=["tenant", "state", "-id"], name="licensing_request_state"),
            models.Index(
                fields=["expires_at"],
                condition=Q(closed_at__isnull=True),
                name="licensing_request_expiring",
            ),
            models.Index(
                fields=["closed_at"],
                condition=Q(closed_at__isnull=False),
                name="licensing_request_closed",
            ),
        ]

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN

    @property
    def takes_free_licenses(self) -> bool:
        """Whether free licenses answer it: not where somebody wants to buy several."""
        return self.kind == self.Kind.LICENSE or self.seats == 1


class RequestedPerson(TenantModel):
    """One person of a request, waiting until answered; `assignment` is the license that the request gave."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        GIVEN = "given", _("Has a license now")
        HELD = "held", _("Had a license already")
        ALLOWED = "allowed", _("May buy")
        REJECTED = "rejected", _("Rejected")
        CLOSED = "closed", _("Not answered")

    GRANTED = (State.GIVEN, State.HELD, State.ALLOWED)

    tenant = models.ForeignKey(
        "directory.Tenant", on_delete=models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
    request = models.ForeignKey(
        "licensing.LicenseRequest", on_delete=models.CASCADE, related_name="people", db_constraint=False
    )
    user = models.ForeignKey(
        "directory.User", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    product_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=LicenseRequest.Kind.choices)
    state = models.CharField(max_length=8, choices=State.choices)
    assignment = models.ForeignKey(
        "licensing.Assignment",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    decided_at = models.DateTimeField(null=True)
    decided_by_id = models.BigIntegerField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="request", name="licensing_requestedperson_request"),
            SameTenant(field="user", name="licensing_requestedperson_user"),
            SameTenant(field="assignment", name="licensing_requestedperson_assignment"),
            models.UniqueConstraint(fields=["request", "user"], name="licensing_requestedperson_once"),
            # One open request for each person and product, however often it is asked.
            models.UniqueConstraint(
                fields=["user", "product_id", "kind"],
                condition=Q(state="waiting"),
                name="licensing_requestedperson_one_open",
            ),
            models.UniqueConstraint(
                fields=["assignment"],
                condition=Q(assignment__isnull=False),
                name="licensing_requestedperson_one_seat",
            ),
            models.CheckConstraint(
                condition=Q(state="given", assignment__isnull=False)
                | (~Q(state="given") & Q(assignment__isnull=True)),
                name="licensing_requestedperson_given",
            ),
        ]
