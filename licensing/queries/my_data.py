"""Everything that is stored about one person in their organization, and about nobody else (product §11)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import F, Model, Q, QuerySet

from commerce.models import (
    Bill,
    CancelRequest,
    Card,
    CardSetup,
    CaseFile,
    CaseMessage,
    Checkout,
    HandOver,
    ProcessorCustomer,
    SavedView,
    Subscription,
    SupportCase,
    Trial,
)
from directory.models import (
    AccountLink,
    ApiToken,
    AuditEntry,
    BrowserSession,
    GroupMembership,
    MailPreference,
    OutgoingMail,
    RelationshipAssignment,
    RoleAssignment,
    StaffAssignment,
    StaffSession,
    User,
)
from licensing.models import (
    Assignment,
    CentralizedPerson,
    GroupExclusion,
    LicenseRequest,
    RequestedPerson,
    WaitingPlace,
    Workspace,
)
from policies.models import MonthSpend, Permit, Spend

CHUNK = 500

_ACCOUNT = (
    *("key", "name", "email", "kind", "status", "source", "language", "issuer", "subject"),
    *("user_name", "external_id", "given_name", "family_name"),
    *("created_at", "signed_in_at", "purchaser_since", "changed_at"),
)
_PURCHASE = (
    *("key", "channel", "quantity", "assigned", "currency", "unit_price_minor", "state", "recurring_billing"),
    *("created_at", "period_start", "period_end", "term_end"),
)
_BILL = (
    *("number", "type", "status", "issued_at", "due_at", "period_start", "period_end", "currency"),
    *("subtotal_minor", "tax_minor", "total_minor", "paid_minor"),
)


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of thing that is stored about a person: rows that have them in one of `people`, columns with a person's id.

    `fields` are given as they are, `named` under another name than the path. `tenant`: the column of the person's own.
    """

    name: str
    model: type[Model]
    fields: tuple[str, ...]
    people: tuple[str, ...] = ("user_id",)
    named: Mapping[str, str] = field(default_factory=dict)
    only: Q = field(default_factory=Q)
    tenant: str = "tenant_id"

    def rows_of(self, user: User) -> "QuerySet[Any, dict[str, Any]]":
        """As plain values, by key."""
        mine = self._about(user)
        for column in self.people:
            mine |= Q(**{column: user.pk})
        home = {self.tenant: user.tenant_id} if self.tenant else {}
        named = {name: F(path) for name, path in self.named.items()}
        rows = self.model._default_manager.filter(mine, self.only, **home)
        return rows.order_by("pk").values(*self.fields, **named)

    def _about(self, user: User) -> Q:
        """What else is theirs: entries of the trail about them name them by text."""
        if self.model is not AuditEntry:
            return Q()
        return Q(target_type="user", target_id__in=[str(user.key), str(user.pk)])


_PRODUCT = {"product": "subscription__product__name"}
_PRODUCT_NAME = {"product_name": "product__name"}

# Where another person's id stands in a row it is nobody else's business; `tests/licensing/test_my_data.py` finds a column
# with a person's id that is in no section.
SECTIONS = (
    Section("account", User, _ACCOUNT, people=("id",)),
    Section("roles", RoleAssignment, ("role", "granted_at")),
    Section("groups", GroupMembership, (), named={"name": "group__name"}),
    Section(
        "delegations",
        RelationshipAssignment,
        ("roles",),
        named={"customer": "relationship__customer_name", "name": "relationship__name"},
        tenant="partner_tenant_id",
    ),
    Section("staff_roles", StaffAssignment, ("role", "granted_at")),
    Section(
        "staff_sessions",
        StaffSession,
        ("organization", "reason", "opened_at", "ends_at"),
        tenant="staff_tenant_id",
    ),
    Section("licenses", Assignment, ("assigned_at", "ended_at", "last_used_on"), named=_PRODUCT),
    Section("waiting_lists", WaitingPlace, ("added_at", "ended_at", "outcome"), named=_PRODUCT),
    Section(
        "left_out_of_group_licenses",
        GroupExclusion,
        ("excluded_at",),
        named={
            "group": "group_license__group_name",
            "product": "group_license__subscription__product__name",
        },
    ),
    Section(
        "centralizations",
        CentralizedPerson,
        ("outcome", "at"),
        named={"product": "purchase__subscription__product__name"},
    ),
    Section(
        "workspaces",
        Workspace,
        ("key", "name", "made_at", "is_shared", "deletes_at"),
        people=("maker_id", "holder_id"),
        named=_PRODUCT_NAME,
    ),
    Section(
        "license_requests",
        LicenseRequest,
        ("key", "reason", "seats", "state", "message", "asked_at", "closed_at"),
        people=("requester_id",),
        named=_PRODUCT_NAME,
    ),
    Section(
        "requested_by_others", RequestedPerson, ("state", "decided_at"), named={"asked": "request__asked_at"}
    ),
    Section(
        "purchases",
        Subscription,
        _PURCHASE,
        people=("owner_user_id", "purchaser_id"),
        named=_PRODUCT_NAME,
    ),
    Section("trials", Trial, ("kind", "started_at", "ends_at"), named=_PRODUCT_NAME),
    Section(
        "checkouts",
        Checkout,
        (
            *("key", "kind", "state", "quantity", "currency", "total_minor", "created_at", "paid_at"),
            *("terms_version", "consented_at"),
        ),
        named=_PRODUCT_NAME,
    ),
    Section(
        "bills",
        Bill,
        _BILL,
        people=("payer_id",),
        named={
            "billed_to": "bill_to__name",
            "street": "bill_to__street",
            "postal_code": "bill_to__postal_code",
            "city": "bill_to__city",
            "country": "bill_to__country",
            "vat_number": "bill_to__vat_number",
            "own_reference": "bill_to__own_reference",
            "billed_to_email": "bill_to__email",
        },
    ),
    Section("cards", Card, ("brand", "last4", "expires_month", "expires_year", "added_at")),
    Section("card_setups", CardSetup, ("key", "state", "created_at"), people=("user_id", "asked_by_id")),
    Section("at_the_card_processor", ProcessorCustomer, ("processor_id", "created_at")),
    Section(
        "offers",
        HandOver,
        ("key", "state", "offered_at", "expires_at", "decided_at"),
        people=("from_user_id", "to_user_id"),
    ),
    Section(
        "requests_to_cancel",
        CancelRequest,
        ("message", "asked_at", "state", "reminders", "closed_at"),
        people=("purchaser_id",),
    ),
    Section("spending", MonthSpend, ("month", "currency", "spent_minor")),
    Section("spending_by_purchase", Spend, ("month", "currency", "amount_minor", "state", "changed_at")),
    Section("approvals", Permit, ("seats", "sum_minor", "currency", "valid_until", "used_at")),
    Section(
        "support_cases",
        SupportCase,
        ("key", "kind", "state", "subject", "message", "asked_at", "answer", "answered_at"),
        people=("asked_by_id",),
    ),
    Section(
        "support_messages",
        CaseMessage,
        ("at", "text", "is_mail"),
        people=("author_id",),
        named={"case_key": "case__key"},
        only=Q(is_staff=False),
    ),
    Section(
        "support_files",
        CaseFile,
        ("name", "media_type", "size"),
        people=("message__author_id",),
        named={"at": "message__at"},
        only=Q(message__is_staff=False),
    ),
    Section("saved_views", SavedView, ("name", "query", "created_at")),
    Section(
        "tokens",
        ApiToken,
        ("key", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"),
    ),
    Section("sessions", BrowserSession, ("address", "agent", "started_at", "seen_at", "ended_at")),
    # Never their `data`: it has the secret of an app, and what recovery codes are made of.
    Section(
        "second_factors",
        Authenticator,
        ("type", "created_at", "last_used_at"),
        named={"name": "data__name"},
        tenant="",
    ),
    Section("sign_in_links", AccountLink, ("provider__issuer", "subject", "said", "proved_at")),
    Section("mail_preferences", MailPreference, ("kind", "is_on", "is_daily", "changed_at")),
    Section(
        "mails",
        OutgoingMail,
        ("kind", "to_address", "state", "created_at", "sent_at", "read_at"),
        people=("to_user_id",),
    ),
    Section(
        "audit",
        AuditEntry,
        ("at", "code", "door", "target_type", "target_id"),
        people=("actor_user_id",),
    ),
)


def sections(user: User) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Name and rows of each kind of thing, as plain values; one query each, read in pieces.

    Inside `tenant_atomic` of the person's own tenant. Only what has the person in it by key: other people's names are
    not in it, nor any secret.
    """
    for section in SECTIONS:
        yield section.name, section.rows_of(user).iterator(chunk_size=CHUNK)
