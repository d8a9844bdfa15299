"""`/.well-known/security.txt` (RFC 9116, reliability §7)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from config.kit.clock import now

pytestmark = pytest.mark.django_db
ADDRESS = "/.well-known/security.txt"


def test_it_names_the_contacts_best_first_and_ends_within_a_year(settings: Any, client: Client) -> None:
    settings.SECURITY_CONTACTS = ["mailto:security@vendor.test", "https://vendor.test/report"]

    answer = client.get(ADDRESS)

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    fields = [line.split(": ", 1) for line in answer.content.decode().split("\r\n")[:-1]]
    assert [value for name, value in fields if name == "Contact"] == settings.SECURITY_CONTACTS
    (expires,) = (value for name, value in fields if name == "Expires")
    assert now() + timedelta(days=80) < datetime.fromisoformat(expires) < now() + timedelta(days=365)
    assert ["Canonical", f"{settings.PUBLIC_URL}{ADDRESS}"] in fields
    assert ["Preferred-Languages", "en, nl"] in fields


def test_without_a_contact_there_is_none(client: Client) -> None:
    assert client.get(ADDRESS).status_code == 404
