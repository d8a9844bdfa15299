"""I-27: after people signed in, paid, were declined and got money back, no secret is in the database, log or mails."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from stdnum import luhn

from commerce.models import Bill
from commerce.operations.payments import handle_events, settle_refunds
from config.demo.environment import client_of
from config.kit.clock import now
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import User
from directory.operations.outbox import send_due_mails
from tests.commerce.test_checkout_pages import fields
from tests.commerce.test_webhooks import event, post
from tests.directory.test_sign_in import organization, sign_in
from tests.factories import make_credit_note, product
from tests.processor import authenticate, card_token, charges, intents, refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

LOOKS_LIKE_A_SECRET = re.compile(
    r"(?:sk|rk)_(?:test|live)_|whsec_|_secret_[A-Za-z0-9]|eyJ[\w-]{8,}\.[\w-]{8,}|-----BEGIN|(?i:bearer )\w{16}"
)
LOOKS_LIKE_A_CARD = re.compile(r"(?<![0-9A-Za-z])[2-6][0-9](?:[ -]?[0-9]){11,17}(?![0-9A-Za-z])")


def leaks_in(text: str) -> list[str]:
    """Whatever of a text must not be where it is, with what stands around it."""
    found = [match.group() for match in LOOKS_LIKE_A_SECRET.finditer(text)]
    found += [
        match.group()
        for match in LOOKS_LIKE_A_CARD.finditer(text)
        if luhn.is_valid(re.sub("[ -]", "", match.group()))
    ]
    return found + [secret for secret in secrets() if secret in text]


def secrets() -> list[str]:
    """What this installation keeps secret, as it is spelled."""
    addresses = (settings.DATABASES[name]["PASSWORD"] for name in ("default", "owner", "worker"))
    return [
        settings.SECRET_KEY,
        settings.STRIPE_SECRET_KEY,
        *settings.STRIPE_WEBHOOK_SECRETS,
        *settings.FIELD_ENCRYPTION_KEYS,
        *addresses,
        urlsplit(settings.REDIS_URL).password or settings.SECRET_KEY,
        client_of("contoso")[1],
    ]


def dump() -> Iterator[tuple[str, str]]:
    """Every row of every table as text, as the owner sees it, and what the sessions hold."""
    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            for (row,) in cursor.fetchall():
                yield table, row
    for session in Session.objects.all():
        yield "session", str(session.get_decoded())


def test_finds_what_it_looks_for() -> None:
    planted = ["sk_test_1", "4242 4242 4242 4242", "pi_1_secret_2", settings.SECRET_KEY]

    assert [bool(leaks_in(f"some {text} here")) for text in planted] == [True] * 4
    assert leaks_in("bill SK-NL-2026-000001, card ending in 4242, intent pi_3MtwBwLkdIwHu7ix") == []


def test_no_secret_is_in_the_database_the_log_or_a_mail(
    identity_provider: Any, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    contoso = organization()
    signed_in = sign_in(client, "mike@contoso.example", next_path=f"/buy/{product().slug}/")
    assert signed_in.status_code == 302
    with tenant_atomic(contoso.pk):
        mike = User.objects.get(email="mike@contoso.example")
    address = client.get(signed_in["Location"])["Location"]
    for card in ("pm_card_visa_chargeDeclined", "pm_card_authenticationRequired"):
        client.post(address, fields(mike, confirmation_token=card_token(card)))
    assert b"_secret_" in client.get(address).content
    authenticate(intents()[0]["id"])
    client.get(address)
    body = event(data={"object": {"id": intents()[0]["id"], "object": "payment_intent"}})
    assert post(client, str(body).replace("'", '"').replace("False", "false")) == 200
    with use_login("worker"):
        handle_events(now())
    with tenant_atomic(contoso.pk):
        bill = Bill.objects.get()
    make_credit_note(bill, 100, at=now())
    settle_refunds(at=now())
    send_due_mails(at=now())
    assert (charges(), len(refunds())) == (1, 1)
    assert mail.outbox

    rows = list(dump())
    mails = [f"{each.subject} {each.body} {each.alternatives}" for each in mail.outbox]  # type: ignore[attr-defined]

    assert {"commerce_paymentattempt", "commerce_webhookevent", "directory_auditentry", "session"} <= {
        table for table, _ in rows
    }
    assert [(table, leak) for table, row in rows for leak in leaks_in(row)] == []
    assert [leak for text in mails for leak in leaks_in(text)] == []
    assert leaks_in(caplog.text) == []
