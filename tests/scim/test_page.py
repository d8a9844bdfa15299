"""*Settings > Provisioning*: the address, tokens, and what the directory did last."""

import re

import pytest
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.kit.tenancy import connection, tenant_atomic
from directory.models import ApiToken
from tests.factories import caller_with, client_of, make_user
from tests.scim.directory import ROOT, Directory

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

SECRET = re.compile(r"seatkeeper_svc_[0-9A-Za-z]{49}")
ADDRESS = "/admin/provisioning/"


def test_a_token_is_made_shown_once_works_and_is_revoked(contoso: Directory) -> None:
    browser = client_of(contoso.gina)

    made = browser.post(ADDRESS, {"name": "Entra", "days": "366"})
    (secret,) = set(SECRET.findall(made.content.decode()))
    again = browser.get(ADDRESS).content.decode()
    opened = caller_with(secret).get(f"{ROOT}/Users").status_code
    with tenant_atomic(contoso.tenant.pk):
        row = ApiToken.objects.get(name="Entra")
    revoked = browser.post(ADDRESS, {"action": "revoke", "key": str(row.key)})

    assert (row.scopes, row.kind, row.ceiling) == (["scim"], "service", "global_admin")
    assert not SECRET.search(again)
    assert (opened, revoked.status_code) == (200, 303)
    assert caller_with(secret).get(f"{ROOT}/Users").status_code == 401


def test_whatever_scope_is_posted_the_token_is_for_provisioning_alone(contoso: Directory) -> None:
    client_of(contoso.gina).post(ADDRESS, {"name": "Entra", "days": "30", "scope": ["full", "bills.read"]})

    with tenant_atomic(contoso.tenant.pk):
        assert ApiToken.objects.get(name="Entra").scopes == ["scim"]


def test_it_shows_the_address_whether_a_directory_is_connected_and_what_it_did(
    contoso: Directory, settings: object
) -> None:
    browser = client_of(contoso.gina)
    before = browser.get(ADDRESS).content.decode()

    contoso.made()
    after = browser.get(ADDRESS).content.decode()

    assert '/scim/v2"' in before
    assert "A directory is connected" not in before
    assert "Nothing yet" in before
    assert "A directory is connected" in after
    assert "Account made by the directory" in after
    assert "Adele Vance" in after
    assert "Job (…" in after


def test_a_reader_sees_it_and_makes_none(contoso: Directory) -> None:
    reader = client_of(make_user(contoso.tenant, roles=("global_reader",)))

    page = reader.get(ADDRESS)
    posted = reader.post(ADDRESS, {"name": "Mine", "days": "30"})

    assert (page.status_code, posted.status_code) == (200, 403)
    assert "Make the token" not in page.content.decode()
    assert "Revoke" not in page.content.decode()


@pytest.mark.parametrize("role", ["billing_admin", "license_admin", "user_admin"])
def test_it_is_not_there_for_others(contoso: Directory, role: str) -> None:
    browser = client_of(make_user(contoso.tenant, roles=(role,)))

    assert browser.get(ADDRESS).status_code == 404
    assert "Provisioning" not in browser.get("/admin/people/").content.decode()


def test_the_menu_leads_to_it_and_service_tokens_do_not_offer_it(contoso: Directory) -> None:
    browser = client_of(contoso.gina)

    assert reverse("portal:provisioning") in browser.get("/admin/people/").content.decode()
    assert 'value="scim"' not in browser.get("/admin/tokens/").content.decode()


def test_it_costs_the_same_whatever_the_directory_did(contoso: Directory) -> None:
    browser = client_of(contoso.gina)
    counts = []
    for names in ("a", "bcdefgh"):
        for name in names:
            contoso.made(userName=f"{name}@x.example", externalId=name, emails=[])
        with CaptureQueriesContext(connection()) as queries:
            browser.get(ADDRESS)
        counts.append(len(queries))

    assert counts[0] == counts[1]
