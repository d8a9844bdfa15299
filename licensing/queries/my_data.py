"""Everything that is stored about one person in their organization, and about nobody else (product §11)."""

from collections.abc import Iterator
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import F, Q, QuerySet

from commerce.models import (
    Bill,
    CancelRequest,
    Card,
    CaseFile,
    CaseMessage,
    Checkout,
    HandOver,
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
    User,
)
from licensing.models import (
    Assignment,
    GroupExclusion,
    LicenseRequest,
    RequestedPerson,
    WaitingPlace,
    Workspace,
)
from policies.models import MonthSpend, Permit

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


def sections(user: User) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Name and rows of each kind of thing, as plain values; one query each, read in pieces.

    Inside `tenant_atomic` of the person's own tenant. Only what has the person in it by key: other people's names are
    not in it, nor any secret.
    """
    own: dict[str, Any] = {"tenant_id": user.tenant_id, "user_id": user.pk}
    here = {"tenant_id": user.tenant_id}
    yield "account", _rows(User.objects.filter(pk=user.pk, **here).values(*_ACCOUNT))
    yield "roles", _rows(RoleAssignment.objects.filter(**own).values("role", "granted_at"))
    yield "groups", _rows(GroupMembership.objects.filter(**own).values(name=F("group__name")))
    yield (
        "delegations",
        _rows(
            RelationshipAssignment.objects.filter(partner_tenant_id=user.tenant_id, user_id=user.pk).values(
                "roles", customer=F("relationship__customer_name"), name=F("relationship__name")
            )
        ),
    )
    yield (
        "licenses",
        _rows(
            Assignment.objects.filter(**own).values(
                *("assigned_at", "ended_at", "last_used_on"), product=F("subscription__product__name")
            )
        ),
    )
    yield (
        "waiting_lists",
        _rows(
            WaitingPlace.objects.filter(**own).values(
                *("added_at", "ended_at", "outcome"), product=F("subscription__product__name")
            )
        ),
    )
    yield (
        "left_out_of_group_licenses",
        _rows(
            GroupExclusion.objects.filter(**own).values(
                "excluded_at",
                group=F("group_license__group_name"),
                product=F("group_license__subscription__product__name"),
            )
        ),
    )
    yield (
        "workspaces",
        _rows(
            Workspace.objects.filter(Q(maker=user) | Q(holder=user), **here).values(
                *("key", "name", "made_at", "is_shared", "deletes_at"), product_name=F("product__name")
            )
        ),
    )
    yield (
        "license_requests",
        _rows(
            LicenseRequest.objects.filter(requester=user, **here).values(
                *("key", "reason", "seats", "state", "message", "asked_at", "closed_at"),
                product_name=F("product__name"),
            )
        ),
    )
    yield (
        "requested_by_others",
        _rows(
            RequestedPerson.objects.filter(**own).values("state", "decided_at", asked=F("request__asked_at"))
        ),
    )
    yield (
        "purchases",
        _rows(
            Subscription.objects.filter(Q(owner_user=user) | Q(purchaser=user), **here).values(
                *_PURCHASE, product_name=F("product__name")
            )
        ),
    )
    yield (
        "trials",
        _rows(
            Trial.objects.filter(**own).values(
                "kind", "started_at", "ends_at", product_name=F("product__name")
            )
        ),
    )
    yield (
        "checkouts",
        _rows(
            Checkout.objects.filter(**own).values(
                *("key", "kind", "state", "quantity", "currency", "total_minor", "created_at", "paid_at"),
                *("terms_version", "consented_at"),
                product_name=F("product__name"),
            )
        ),
    )
    yield (
        "bills",
        _rows(
            Bill.objects.filter(payer=user, **here).values(
                *_BILL,
                billed_to=F("bill_to__name"),
                street=F("bill_to__street"),
                postal_code=F("bill_to__postal_code"),
                city=F("bill_to__city"),
                country=F("bill_to__country"),
                vat_number=F("bill_to__vat_number"),
                own_reference=F("bill_to__own_reference"),
                billed_to_email=F("bill_to__email"),
            )
        ),
    )
    yield (
        "cards",
        _rows(
            Card.objects.filter(**own).values("brand", "last4", "expires_month", "expires_year", "added_at")
        ),
    )
    yield (
        "offers",
        _rows(
            HandOver.objects.filter(Q(from_user=user) | Q(to_user=user), **here).values(
                "key", "state", "offered_at", "expires_at", "decided_at"
            )
        ),
    )
    yield (
        "requests_to_cancel",
        _rows(
            CancelRequest.objects.filter(purchaser=user, **here).values(
                "message", "asked_at", "state", "reminders", "closed_at"
            )
        ),
    )
    yield "spending", _rows(MonthSpend.objects.filter(**own).values("month", "currency", "spent_minor"))
    yield (
        "approvals",
        _rows(
            Permit.objects.filter(**own).values("seats", "sum_minor", "currency", "valid_until", "used_at")
        ),
    )
    yield (
        "support_cases",
        _rows(
            SupportCase.objects.filter(asked_by_id=user.pk, **here).values(
                "key", "kind", "state", "subject", "message", "asked_at", "answer", "answered_at"
            )
        ),
    )
    yield (
        "support_messages",
        _rows(
            CaseMessage.objects.filter(author_id=user.pk, is_staff=False, **here).values(
                "at", "text", "is_mail", case_key=F("case__key")
            )
        ),
    )
    yield (
        "support_files",
        _rows(
            CaseFile.objects.filter(message__author_id=user.pk, message__is_staff=False, **here).values(
                "name", "media_type", "size", at=F("message__at")
            )
        ),
    )
    yield (
        "tokens",
        _rows(
            ApiToken.objects.filter(**own).values(
                "key", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"
            )
        ),
    )
    yield (
        "sessions",
        _rows(
            BrowserSession.objects.filter(**own).values(
                "address", "agent", "started_at", "seen_at", "ended_at"
            )
        ),
    )
    # Never their `data`: it has the secret of an app, and what recovery codes are made of.
    yield (
        "second_factors",
        _rows(
            Authenticator.objects.filter(user_id=user.pk).values(
                "type", "created_at", "last_used_at", name=F("data__name")
            )
        ),
    )
    yield (
        "sign_in_links",
        _rows(AccountLink.objects.filter(**own).values("provider__issuer", "subject", "said", "proved_at")),
    )
    yield (
        "mail_preferences",
        _rows(MailPreference.objects.filter(**own).values("kind", "is_on", "is_daily", "changed_at")),
    )
    yield (
        "mails",
        _rows(
            OutgoingMail.objects.filter(to_user_id=user.pk, **here).values(
                "kind", "to_address", "state", "created_at", "sent_at", "read_at"
            )
        ),
    )
    about = Q(target_type="user", target_id__in=[str(user.key), str(user.pk)])
    yield (
        "audit",
        _rows(
            AuditEntry.objects.filter(Q(actor_user_id=user.pk) | about, **here).values(
                "at", "code", "door", "target_type", "target_id"
            )
        ),
    )


def _rows(rows: "QuerySet[Any, dict[str, Any]]") -> Iterator[dict[str, Any]]:
    return rows.order_by("pk").iterator(chunk_size=CHUNK)
