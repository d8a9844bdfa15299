"""The organization's own links and the vendor's beside products (product §14; docs/adr/0043)."""

import uuid
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError
from django.test import Client

from commerce.models import TrainingLink
from commerce.operations.training import (
    MOST,
    TooManyLinks,
    add_training_link,
    move_training_link,
    remove_training_link,
)
from commerce.queries.training import beside
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import AuditEntry, Tenant, User
from licensing.operations.assignments import assign_licenses
from tests.factories import (
    actor_of,
    client_of,
    make_self_service_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db

PAGE = "/admin/training/"
URL = "https://wiki.contoso.example/power-bi"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina de Groot", roles=("global_admin",))


def add(user: User, at: datetime, title: str = "How we report", **changed: Any) -> TrainingLink:
    facts = {"product": "power-bi-pro", "title": title, "url": URL} | changed
    return add_training_link(actor=actor_of(user), at=at, **facts)


def titles(user: User | None, slug: str = "power-bi-pro") -> list[str]:
    return [link.title for link in beside(product(slug), actor_of(user) if user else None).own]


# --- Operations -------------------------------------------------------------------------------------------


def test_a_link_is_added_below_the_others_and_the_trail_says_who(
    contoso: Tenant, gina: User, at: datetime
) -> None:
    add(gina, at, "First")
    add(gina, at, "  Second   one ")
    add(gina, at, "Elsewhere", product="visio-plan-1")

    assert titles(gina) == ["First", "Second one"]
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.filter(code="commerce.training_link.added").earliest("pk")
    assert (entry.actor_label, entry.target_label) == ("Gina de Groot", "First")
    assert entry.after == {"product": "Power BI Pro", "url": URL}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("product", ""),
        ("product", "no-such-product"),
        ("title", "  "),
        ("title", "x" * 101),
        ("title", "a\0b"),
        ("url", "http://wiki.contoso.example/"),
        ("url", "javascript:alert(1)"),
        ("url", "https://gina:secret@wiki.contoso.example/"),
        ("url", "https://wiki.contoso.example:8443/"),
        ("url", "https://localhost/"),
        ("url", "https://wiki.contoso.example/" + "x" * 500),
    ],
)
def test_what_cannot_be_shown_is_named_and_not_added(
    gina: User, at: datetime, field: str, wrong: str
) -> None:
    with pytest.raises(Malformed) as refused:
        add(gina, at, **{field: wrong})

    assert refused.value.field == field
    assert titles(gina) == []


def test_a_product_has_at_most_twenty(gina: User, at: datetime) -> None:
    for number in range(MOST):
        add(gina, at, f"Page {number}")

    with pytest.raises(TooManyLinks):
        add(gina, at, "One more")

    assert len(titles(gina)) == MOST
    add(gina, at, "Elsewhere", product="visio-plan-1")


def test_links_change_places_and_stay_at_the_ends(gina: User, at: datetime) -> None:
    first, _second, third = (add(gina, at, title) for title in ("First", "Second", "Third"))
    actor = actor_of(gina)

    move_training_link(actor=actor, key=third.key, direction="up", at=at)
    assert titles(gina) == ["First", "Third", "Second"]
    move_training_link(actor=actor, key=first.key, direction="down", at=at)
    assert titles(gina) == ["Third", "First", "Second"]
    move_training_link(actor=actor, key=third.key, direction="up", at=at)
    assert titles(gina) == ["Third", "First", "Second"]


def test_what_is_removed_is_shown_no_more(gina: User, at: datetime) -> None:
    link = add(gina, at)

    remove_training_link(actor=actor_of(gina), key=link.key, at=at)

    assert titles(gina) == []
    with pytest.raises(NotVisible):
        remove_training_link(actor=actor_of(gina), key=link.key, at=at)


@pytest.mark.parametrize("role", ["license_admin", "user_admin", "global_reader", ""])
def test_only_billing_and_global_admins_have_a_part_in_it(
    contoso: Tenant, gina: User, at: datetime, role: str
) -> None:
    link = add(gina, at)
    user = make_user(contoso, roles=(role,) if role else ())

    with pytest.raises(NotVisible):
        add(user, at, "Mine")
    with pytest.raises(NotVisible):
        remove_training_link(actor=actor_of(user), key=link.key, at=at)
    with pytest.raises(NotVisible):
        move_training_link(actor=actor_of(user), key=link.key, direction="up", at=at)

    assert titles(gina) == ["How we report"]
    assert client_of(user).get(PAGE).status_code == 404


def test_a_billing_admin_adds_one_too(contoso: Tenant, at: datetime) -> None:
    bill = make_user(contoso, roles=("billing_admin",))

    add(bill, at)

    assert titles(bill) == ["How we report"]


def test_another_organizations_links_are_neither_seen_nor_touched(gina: User, at: datetime) -> None:
    fiona = make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))
    link = add(fiona, at, "Theirs")

    assert titles(gina) == []
    assert titles(None) == []
    for key in (link.key, uuid.uuid4()):
        with pytest.raises(NotVisible):
            remove_training_link(actor=actor_of(gina), key=key, at=at)
    assert titles(fiona) == ["Theirs"]


def test_the_database_keeps_no_other_address_than_https(gina: User, at: datetime) -> None:
    link = add(gina, at)

    with (
        pytest.raises(IntegrityError, match="commerce_traininglink_https"),
        tenant_atomic(gina.tenant_id),
        atomic(),
    ):
        TrainingLink.objects.filter(pk=link.pk).update(url="http://wiki.contoso.example/")


# --- Where they stand -------------------------------------------------------------------------------------


def test_links_stand_at_the_product_for_who_is_signed_in_and_beside_license_and_purchase(
    contoso: Tenant, gina: User, at: datetime
) -> None:
    add(gina, at, "Ours & theirs")
    pat = make_user(contoso, name="Pat Peters")
    bought = make_self_service_subscription(pat)
    mike = make_user(contoso)
    assign_licenses(actor=actor_of(pat), subscription_key=bought.key, user_ids=[mike.pk], at=at)

    for client, address in (
        (client_of(mike), "/products/power-bi-pro/"),
        (client_of(mike), "/apps/power-bi-pro/"),
        (client_of(pat), f"/admin/billing/your-products/{bought.key}/"),
        (client_of(gina), f"/admin/billing/your-products/{bought.key}/"),
    ):
        text = client.get(address).text
        assert "Learn and get help" in text, address
        assert "From Contoso" in text, address
        assert "Ours &amp; theirs" in text, address
        assert f'href="{URL}" rel="noopener external"' in text, address
    visitor = Client().get("/products/power-bi-pro/").text
    assert "Learn and get help" in visitor
    assert "Ours" not in visitor


# --- The page ---------------------------------------------------------------------------------------------


def test_the_page_adds_moves_and_removes(gina: User) -> None:
    client = client_of(gina)
    for title in ("First", "Second"):
        posted = {"action": "add", "product": "power-bi-pro", "title": title, "url": URL}
        assert client.post(PAGE, posted).status_code == 303
    with tenant_atomic(gina.tenant_id):
        second = TrainingLink.objects.get(title="Second")

    moved = client.post(PAGE, {"action": "up", "link": str(second.key)}, follow=True)
    assert moved.text.index("Second") < moved.text.index("First")
    assert client.post(PAGE, {"action": "down", "link": str(second.key)}).status_code == 303
    assert client.post(PAGE, {"action": "remove", "link": str(second.key)}).status_code == 303

    assert titles(gina) == ["First"]


def test_what_is_wrong_is_said_and_what_was_typed_stays(gina: User) -> None:
    answer = client_of(gina).post(
        PAGE, {"action": "add", "product": "power-bi-pro", "title": "Wiki", "url": "http://wiki.example/"}
    )

    assert answer.status_code == 422
    assert "Enter an address that begins with https://." in answer.text
    assert 'value="http://wiki.example/"' in answer.text


@pytest.mark.parametrize(
    ("posted", "status"),
    [
        ({}, 422),
        ({"action": "fly"}, 422),
        ({"action": "remove"}, 404),
        ({"action": "up", "link": "1"}, 404),
        ({"action": "remove", "link": str(uuid.UUID(int=0))}, 404),
    ],
)
def test_what_is_not_there_is_not_done(gina: User, posted: dict[str, str], status: int) -> None:
    assert client_of(gina).post(PAGE, posted).status_code == status
