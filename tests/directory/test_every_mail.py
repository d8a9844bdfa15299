"""Every kind of mail has its three parts, each renders in both languages, and its links lead somewhere (product §15)."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.urls import resolve

from commerce.documents import BRINGING_BILLS
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail
from directory.operations.outbox import message_of
from directory.operations.preferences import SWITCHABLE
from tests.factories import AT, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
ENDPOINT = "https://hooks.contoso.example/"

MAIL = Path(settings.BASE_DIR) / "templates" / "mail"
# Every kind, by the words of product §15 that it answers.
KINDS = {
    "purchase_notice": "purchase",
    "purchase_digest": "purchase",
    "central_purchase": "purchase",
    "receipt": "receipt",
    "renewal_receipt": "receipt",
    "renewal_reminder": "renewal or expiry reminder",
    "monthly_reminder": "renewal or expiry reminder",
    "price_rise": "renewal or expiry reminder",
    "expired": "expired",
    "access_ended": "expired",
    "payment_failed": "failed payment",
    "payment_recovered": "payment recovered",
    "refund": "refund",
    "card_expiring": "card expiring",
    "seats_changed": "seats changed",
    "canceled": "cancelled",
    "reactivated": "reactivated",
    "trial_started": "trial started",
    "trial_ending": "trial ending",
    "trial_converted": "trial ending",
    "trial_ended": "trial ending",
    "bill_issued": "bill on account",
    "bill_due": "bill on account",
    "bill_overdue": "bill on account",
    "bill_corrected": "bill issued anew",
    "dispute": "dispute",
    "hand_over_offered": "hand-over",
    "hand_over_decided": "hand-over",
    "taken_over": "take-over",
    "cancel_request": "centralisation",
    "cancel_request_answered": "centralisation",
    "centralization": "centralisation",
    "take_over_undone": "take-over",
    "job_finished": "job finished",
    "policy_changed": "policy changed",
    "new_product": "new product to decide",
    "request_received": "request and decision",
    "request_forwarded": "request and decision",
    "request_decided": "request and decision",
    "request_given": "license given or taken",
    "license_given": "license given or taken",
    "license_taken": "license given or taken",
    "request_lapsed": "request and decision",
    "purchaser_left": "purchaser left",
    "case_answered": "case answered",
    "case_replied": "case answered",
    "case_closed": "case answered",
    "charges_stopped": "purchaser left",
    "seat_from_waiting_list": "seat from the waiting list",
    "role_changed": "beyond: roles",
    "relationship_asked": "relationship asked or ended",
    "relationship_decided": "relationship asked or ended",
    "relationship_ending": "relationship asked or ended",
    "relationship_ended": "relationship asked or ended",
    "sign_in_changed": "identity provider or domain changed",
    "webhook_paused": "beyond: a webhook that is paused since messages do not arrive",
    "second_factor_changed": "beyond: second factors of the vendor's staff",
}


class Links(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs)["href"] or "")


def sample(kind: str, link: str) -> dict[str, object]:
    """Whatever any kind may read."""
    instants = (
        *(
            "last_day_at",
            "ends_at",
            "renews_at",
            "ended_last_at",
            "until_at",
            "since_at",
            "due_at",
            "issued_at",
        ),
        *(
            "period_start_at",
            "period_last_at",
            "next_charge_at",
            "next_try_at",
            "pay_by_at",
            "refund_until_at",
        ),
        *("ended_at", "deleted_at", "ends_last_at", "expires_at", "back_until_at", "charged_at"),
    )
    amounts = (
        *("total_minor", "subtotal_minor", "tax_minor", "refund_minor", "credited_minor", "owed_minor"),
        *("still_minor", "unit_minor", "unit_before_minor", "amount_minor", "price_minor", "contested_minor"),
    )
    return (
        {name: AT.isoformat() for name in instants}
        | dict.fromkeys(amounts, 12_100)
        | {
            "name": "Pat",
            "url": ENDPOINT,
            "said": "HTTP 500",
            "purchaser": "Pat",
            "purchaser_email": "pat@contoso.example",
            "by": "Pat",
            "payer": "Pat",
            "organization": "Contoso",
            "vendor": "Seatkeeper Netherlands B.V.",
            "product": "Power BI Pro",
            "plan_code": "monthly",
            "currency": "EUR",
            "time_zone": "Europe/Amsterdam",
            "tax_name": "VAT",
            "tax_rate": "21",
            "quantity": 10,
            "quantity_before": 6,
            "count": 4,
            "assigned": 3,
            "holders": 3,
            "others": 1,
            "bill_number": "SK-NL-2026-000001",
            "bill_numbers": "SK-NL-2026-000001",
            "moved_minor": 12_100,
            "purchase_count": 2,
            "blocked": 1,
            "moved": 7,
            "held": 2,
            "taken_back": 7,
            "undo_until_at": AT.isoformat(),
            "credit_note_number": "SK-NL-2026-000002",
            "card": {"brand": "visa", "last4": "4242"},
            "recurring_billing": True,
            "is_rise": True,
            "with_card": True,
            "ending": "at_term",
            "change": "added",
            "stage": "expired",
            "status": "open",
            "reason": "cancel",
            "decision": "accepted",
            "title": "Export of your products",
            "is_done": True,
            "done": 9,
            "failed": 1,
            "has_file": True,
            "from": "Pat",
            "to": "Erik",
            "changes": [
                {
                    "target": "product",
                    "name": "Visio",
                    "before": {"value": None},
                    "after": {"value": "Disabled"},
                },
                {
                    "target": "cap",
                    "before": {"minor": None, "basis": "", "currency": ""},
                    "after": {"minor": 5_000, "basis": "person_month", "currency": "EUR"},
                },
            ],
            "kind": "license",
            "partner": "Northwind",
            "other": "Northwind",
            "customer": "Contoso",
            "outcome": "approved",
            "roles": ["billing_admin", "license_admin"],
            "struck": ["user_admin"],
            "factor": "webauthn",
            "factor_name": "Blue key",
            "days": 365,
            "extends": True,
            "is_partner": True,
            "requester": "Uma",
            "requester_email": "uma@contoso.example",
            "people": ["Dirk", "Diana"],
            "people_more": 4,
            "free": 19,
            "granted": ["Dirk"],
            "what": "provider_planned",
            "subject": "contoso.example",
            "switch_at": AT.isoformat(),
            "given": ["global_admin"],
            "taken": ["user_admin"],
            "why": "Pat covers for Dirk.",
            "rejected": ["Diana"],
            "answer": "seats",
            "waiting": 2,
            "message": "From the central ones.",
            "text": "Export it once more.\nThen it is there.",
            "files": ["report.csv"],
            "state": "waiting",
            "closes_at": AT.isoformat(),
            "reply_to": "support+abc@vendor.example",
            "asked_at": AT.isoformat(),
            "is_deletion": True,
            "has_more": True,
            "asked_by": "Bill",
            "day_at": AT.isoformat(),
            "stop_link": f"{settings.PUBLIC_URL}/admin/billing/policy/products/power-bi-pro/stop/",
            "purchases": [
                {
                    "purchaser": "Pat",
                    "purchaser_email": "pat@contoso.example",
                    "product": "Power BI Pro",
                    "quantity": 10,
                    "assigned": 3,
                    "plan_code": "yearly",
                    "currency": "EUR",
                    "total_minor": 12_100,
                    "tax_name": "VAT",
                    "next_charge_at": next_at,
                    "time_zone": "Europe/Amsterdam",
                    "notice": f"{settings.PUBLIC_URL}/my/notices/1/",
                }
                for next_at in (AT.isoformat(), "")
            ],
            "link": link,
        }
    )


def test_every_kind_is_listed_here_and_has_its_three_parts() -> None:
    there = {path.name.removesuffix(".subject.txt") for path in MAIL.glob("*.subject.txt")}

    assert there == set(KINDS)
    for kind in there:
        assert (MAIL / f"{kind}.txt").exists(), kind
        assert (MAIL / f"{kind}.html").exists(), kind
    assert set(SWITCHABLE) <= set(KINDS)


@pytest.mark.parametrize("language", ["en", "nl"])
def test_every_kind_renders_and_its_links_lead_somewhere(language: str) -> None:
    tenant = make_tenant(name="Contoso")
    pat = make_user(tenant, name="Pat")
    subscription = make_self_service_subscription(pat)
    link = f"{settings.PUBLIC_URL}/admin/billing/your-products/{subscription.key}/"
    wrong = []

    for kind in sorted(set(KINDS) - set(BRINGING_BILLS)):
        with tenant_atomic(tenant.pk):
            mail = OutgoingMail(
                pk=1,
                tenant_id=tenant.pk,
                kind=kind,
                event_key=kind,
                to_user_id=pat.pk,
                to_address=pat.email,
                language=language,
                context=sample(kind, link),
            )
        message = message_of(mail)
        html = str(message.alternatives[0][0])
        # What the organization named itself is said, and leads nowhere in what is sent as HTML.
        links = {*Links(html).found, *re.findall(r"https?://\S+", str(message.body))} - {ENDPOINT}
        wrong += [f"{kind}: links to the organization's server"] if ENDPOINT in Links(html).found else []
        wrong += [f"{kind}: no subject"] if not message.subject else []
        wrong += [f"{kind}: no link"] if link not in links else []
        wrong += [f"{kind}: {found}" for found in links if not found.startswith(settings.PUBLIC_URL)]
        for found in links:
            resolve(urlsplit(found).path)
        wrong += [f"{kind}: left a tag" for text in (html, message.body) if "{%" in text or "{{" in text]

    assert wrong == []
