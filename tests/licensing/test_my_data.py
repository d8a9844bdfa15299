"""A person downloads what is stored about them: their own rows, nobody else's, no secret (product §11)."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.cache import cache
from django.db.models import BigIntegerField

from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.models import AuditEntry, Tenant, User
from directory.names import Fate, places
from directory.operations import second_factor
from directory.operations.people import add_member, create_group
from licensing.operations.requests import ask_for_licenses
from licensing.queries.my_data import SECTIONS
from tests.factories import (
    actor_of,
    client_of,
    make_relationship,
    make_self_service_subscription,
    make_staff,
    make_tenant,
    make_user,
    product,
    staff_actor_of,
    token_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peeters", email="pat@contoso.example")


def download(user: User, acting_for: Tenant | None = None) -> Any:
    shown_for = acting_for.pk if acting_for else user.tenant_id
    response = client_of(user, acting_for).post("/my/data/", {"shown_for_tenant": shown_for})
    assert response.status_code == 200
    return response


def data_of(user: User, acting_for: Tenant | None = None) -> dict[str, list[dict[str, Any]]]:
    data: dict[str, list[dict[str, Any]]] = json.loads(download(user, acting_for).getvalue())
    return data


def test_it_holds_the_own_rows_of_every_kind(contoso: Tenant, pat: User, at: datetime) -> None:
    uma = make_user(contoso, roles=("user_admin",))
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=pat.pk, at=at)
    make_self_service_subscription(pat, at=at)
    secret = token_of(pat)
    ask_for_licenses(
        actor=actor_of(pat), product=product("visio-plan-2"), user_ids=[pat.pk], reason="I draw", at=at
    )

    data = data_of(pat)

    assert data["account"][0]["email"] == "pat@contoso.example"
    assert [row["name"] for row in data["groups"]] == ["Sales"]
    assert [row["product"] for row in data["licenses"]] == ["Power BI Pro"]
    assert [row["product_name"] for row in data["purchases"]] == ["Power BI Pro"]
    assert [(row["billed_to"], row["total_minor"]) for row in data["bills"]] == [("Pat Peeters", 11_374)]
    assert [row["last4"] for row in data["cards"]] == ["4242"]
    assert [row["reason"] for row in data["license_requests"]] == ["I draw"]
    assert [row["name"] for row in data["tokens"]] == ["Test"]
    assert [row["ended_at"] for row in data["sessions"]] == [None]
    assert "directory.token.issued" in {row["code"] for row in data["audit"]}
    assert secret not in json.dumps(data)


def test_every_column_with_a_persons_id_is_in_the_file_or_says_who_did_something() -> None:
    ids = re.compile(r"(user|_by|author|assigned_to)_id$")
    columns = {
        (model._meta.db_table, str(column.column))
        for model in apps.get_models()
        if model._meta.app_label in ("directory", "policies", "commerce", "licensing")
        for column in model._meta.concrete_fields
        if (column.related_model and column.related_model is User)
        or (isinstance(column, BigIntegerField) and ids.search(str(column.column)))
    }
    shown = {(each.model._meta.db_table, column) for each in SECTIONS for column in each.people}
    did = {(place.table, place.person) for place in places(Fate.FORMER)}
    # The trail has the same change, for as long as it is kept.
    in_the_trail = {("policies_policychange", "actor_user_id")}

    assert len(columns) > 50
    assert columns - shown - did - in_the_trail == set()


def test_second_factors_are_listed_without_their_secrets(at: datetime) -> None:
    vendor = make_tenant(kind="vendor")
    sven, olga = (make_staff(vendor, "staff_support", name=name) for name in ("Sven", "Olga"))
    then = real_now() - timedelta(days=1)
    secret = factors.new_secret()
    for each, its in ((sven, secret), (olga, factors.new_secret())):
        codes = second_factor.set_up_app(
            actor=staff_actor_of(each, at=at),
            secret=its,
            code=factors.code_at(its, then),
            has_shown=False,
            at=at,
            real_at=then,
        )
    with tenant_atomic(vendor.pk):
        data = {"name": "Blue key", "credential": {"rawId": "ZQ-credential"}}
        Authenticator.objects.create(user=sven, type=factors.PASSKEY, data=data, created_at=then)
        stored = str(list(Authenticator.objects.values_list("data", flat=True)))

    body = download(sven).getvalue().decode()

    listed = [(row["type"], row["name"]) for row in json.loads(body)["second_factors"]]
    assert listed == [("totp", None), ("recovery_codes", None), ("webauthn", "Blue key")]
    assert "gAAAA" in stored
    for hidden in (secret, "gAAAA", "ZQ-credential", "seed", "used_mask", *codes):
        assert hidden not in body


def test_nothing_of_a_colleague_is_in_it(contoso: Tenant, pat: User, at: datetime) -> None:
    other = make_user(contoso, name="ZQ-Other", email="zq-other@contoso.example")
    make_self_service_subscription(other, at=at)
    make_self_service_subscription(pat, at=at)

    body = download(pat).getvalue().decode()

    assert "zq-other" not in body.lower()
    assert len(json.loads(body)["purchases"]) == 1


def test_the_download_is_in_the_audit_trail(contoso: Tenant, pat: User) -> None:
    response = download(pat)

    assert response.streaming
    assert response["Content-Disposition"].startswith('attachment; filename="my-data-')
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(code="directory.user.data_downloaded")
    assert (entry.actor_user_id, entry.target_label) == (pat.pk, "Pat Peeters")


def test_whoever_acts_for_a_customer_gets_the_own_organizations_rows(contoso: Tenant) -> None:
    partner = make_tenant(name="Northwind")
    petra = make_user(partner, name="Petra")
    make_relationship(
        contoso, partner, users=(petra,), ends_at=datetime.fromisoformat("2099-01-01T00:00:00Z")
    )

    data = data_of(petra, contoso)

    assert [row["name"] for row in data["account"]] == ["Petra"]
    with tenant_atomic(contoso.pk):
        assert not AuditEntry.objects.filter(code="directory.user.data_downloaded").exists()


def test_the_page_says_what_is_in_it(pat: User) -> None:
    assert "Download your data" in client_of(pat).get("/my/data/").content.decode()


def test_five_times_an_hour_is_enough(pat: User) -> None:
    cache.clear()
    client = client_of(pat)

    statuses = [client.post("/my/data/", {"shown_for_tenant": pat.tenant_id}).status_code for _ in range(6)]

    assert statuses == [200] * 5 + [429]
