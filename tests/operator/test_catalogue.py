"""Products and prices at the vendor's site (product §5.3, §9, §16; docs/adr/0038)."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from commerce.models import Plan, Price, Product, ProductAlias
from commerce.operations.prices import (
    PriceBegun,
    PriceMoved,
    Seen,
    add_price,
    change_price,
    remove_price,
)
from commerce.operations.products import (
    Ids,
    Link,
    ProductMoved,
    Said,
    add_product,
    edit_links,
    edit_product,
    offer_product_again,
    said_of,
    version_of_links,
    withdraw_product,
)
from commerce.queries.central import agreed_price, agreed_prices
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from tests.factories import (
    client_of,
    make_agreement,
    make_staff,
    make_tenant,
    make_user,
    plan,
    product,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

LIST = "/operator/catalogue/"
PAGE = f"{LIST}products/power-bi-pro/"
PRICES = f"{PAGE}prices/"
DAY = timedelta(days=1)


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor")


@pytest.fixture
def olga(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_catalogue", name="Olga Kuiper")


@pytest.fixture
def actor(olga: User) -> Actor:
    return staff_actor_of(olga)


@pytest.fixture
def client(olga: User) -> Client:
    return client_of(olga, with_factor=True)


def midnight(days: int) -> datetime:
    """So many days from now, as the vendor's clock begins it."""
    local = now().astimezone(ZoneInfo("Europe/Amsterdam")) + days * DAY
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def trail(actor: Actor, beginning: str) -> list[tuple[str, str, Any, Any]]:
    with tenant_atomic(actor):
        rows = AuditEntry.objects.filter(code__startswith=beginning).order_by("pk")
        return [(row.code, row.actor_label, row.before, row.after) for row in rows]


def announce(actor: Actor, *, days: int = 40, minor: int = 2_000, market: str = "NL") -> Price:
    return add_price(
        staff=actor,
        plan_id=plan().pk,
        market=market,
        unit_price_minor=minor,
        begins_at=midnight(days),
        at=now(),
    )


def seen(price: Price) -> Seen:
    return Seen(price.unit_price_minor, price.valid_from)


def begun() -> Price:
    return Price.objects.filter(plan=plan(), market_id="NL").order_by("valid_from")[0]


# --- Who --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "status"), [("staff_catalogue", 200), ("staff_superuser", 200), ("staff_support", 404)]
)
def test_the_catalogue_is_for_who_works_at_it(vendor: Tenant, role: str, status: int) -> None:
    client = client_of(make_staff(vendor, role), with_factor=True)

    for address in (LIST, PAGE, PRICES, f"{LIST}new/", f"{LIST}import/", f"{LIST}prices/{begun().pk}/"):
        assert client.get(address).status_code == status, address


def test_nobody_of_a_customer_changes_it(vendor: Tenant) -> None:
    gina = client_of(make_user(make_tenant(), roles=("global_admin",)))

    for address in (LIST, PAGE, PRICES, f"{LIST}new/", f"{LIST}import/"):
        assert gina.get(address).status_code == 404
        assert gina.post(address, {"action": "withdraw"}).status_code == 404


def test_support_changes_no_price(vendor: Tenant) -> None:
    sven = staff_actor_of(make_staff(vendor, "staff_support"))

    with pytest.raises(NotVisible):
        announce(sven)
    with pytest.raises(NotVisible):
        withdraw_product(staff=sven, product_id=product("power-bi-pro").pk, at=now())


# --- Products ---------------------------------------------------------------------------------------------


def test_a_product_is_found_by_name_id_former_id_and_category(client: Client) -> None:
    bi = product("power-bi-pro")

    for query in ("power bi pro", bi.key.lower(), "Visio"):
        shown = client.get(LIST, {"q": query}).text
        assert ("Power BI Pro" in shown) == (query != "Visio"), query
    former = ProductAlias.objects.select_related("product").earliest("pk")
    assert former.product.name in client.get(LIST, {"q": former.former_key}).text
    assert "No product has this" in client.get(LIST, {"q": "100%"}).text
    assert client.get(LIST, {"show": "nonsense"}).status_code == 422


def form_of(found: Product, **changed: Any) -> dict[str, Any]:
    said = said_of(found)
    values = {name: getattr(said, name) for name in Said.__slots__}
    return {"action": "edit", "version": said.version} | {
        name: value for name, value in (values | changed).items() if value is not False
    }


def test_what_is_said_of_a_product_is_edited_and_the_trail_keeps_what_differs(
    client: Client, actor: Actor
) -> None:
    found = product("power-bi-pro")

    answer = client.post(PAGE, form_of(found, tagline="Charts", guests_may_hold="on"))

    assert answer.status_code == 303
    changed = product("power-bi-pro")
    assert (changed.tagline, changed.guests_may_hold, changed.name) == ("Charts", True, "Power BI Pro")
    [(code, label, before, after)] = trail(actor, "commerce.product.")
    assert (code, label) == ("commerce.product.changed", "Olga Kuiper")
    assert before == {"tagline": found.tagline, "guests_may_hold": False}
    assert after == {"tagline": "Charts", "guests_may_hold": True}


def test_a_description_that_was_not_touched_is_no_change(client: Client, actor: Actor) -> None:
    found = product("power-bi-pro")
    client.post(PAGE, form_of(found, description="One\r\nTwo"))
    lines = product("power-bi-pro")
    assert lines.description == "One\nTwo"

    again = client.post(PAGE, form_of(lines, description="One\r\nTwo"), follow=True)

    assert "Nothing was changed." in again.text
    assert len(trail(actor, "commerce.product.")) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 201),
        ("category", ""),
        ("tagline", "x" * 201),
        ("description", "x" * 5_001),
        ("max_quantity", "0"),
        ("max_quantity", "many"),
        ("max_quantity", "10001"),
        ("database_mb", "1000000"),
        ("log_mb", "-1"),
        ("expired_days", "366"),
        ("disabled_days", "-1"),
    ],
)
def test_each_mistake_is_told_at_its_field_and_nothing_is_changed(
    client: Client, field: str, value: str
) -> None:
    found = product("power-bi-pro")

    answer = client.post(PAGE, form_of(found, **{field: value}))

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.text
    assert said_of(product("power-bi-pro")) == said_of(found)


def test_whoever_edits_what_a_colleague_changed_meanwhile_is_told_and_changes_nothing(
    client: Client, actor: Actor
) -> None:
    found = product("power-bi-pro")
    posted = form_of(found, tagline="Mine")
    said = said_of(found)
    edit_product(
        staff=actor,
        product_id=found.pk,
        said=replace(said, tagline="Theirs"),
        seen=said.version,
        at=now(),
    )

    answer = client.post(PAGE, posted)

    assert answer.status_code == 409
    assert "Somebody changed this product" in answer.text
    assert product("power-bi-pro").tagline == "Theirs"


def test_a_new_product_has_three_plans_and_is_not_sold_before_it_has_a_price(
    client: Client, actor: Actor
) -> None:
    posted = {
        "key": "PAINT-1",
        "slug": "paint",
        "sku_id": str(uuid.uuid4()),
        "sku_part_number": "PAINT",
        "name": "Paint",
        "category": "Art",
        "self_service": "on",
        "max_quantity": "300",
        "expired_days": "30",
        "disabled_days": "90",
        "database_mb": "250",
        "file_mb": "2000",
        "log_mb": "0",
    }

    assert client.post(f"{LIST}new/", posted).status_code == 303

    made = product("paint")
    assert made.plans.count() == 3
    assert (made.database_mb, made.file_mb, made.log_mb) == (250, 2000, 0)
    visitor = Client()
    visitor.cookies["market"] = "NL"
    assert "Not sold in your country" in visitor.get("/products/paint/").text
    assert [code for code, *_rest in trail(actor, "commerce.product.")] == ["commerce.product.added"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "a b"),
        ("key", "CFQ7TTC0LH2H"),
        ("key", "CFQ7TTC0KP0P"),
        ("slug", "Power BI"),
        ("slug", "power-bi-pro"),
        ("sku_id", "1"),
        ("sku_id", "b30411f5-fea1-4a59-9ad9-3db7c7ead579"),
        ("sku_part_number", ""),
    ],
)
def test_an_id_that_is_taken_is_told_at_its_field(client: Client, field: str, value: str) -> None:
    posted = {
        "key": "PAINT-1",
        "slug": "paint",
        "sku_id": str(uuid.uuid4()),
        "sku_part_number": "PAINT",
        "name": "Paint",
        "category": "Art",
        "max_quantity": "300",
        "expired_days": "30",
        "disabled_days": "90",
        "database_mb": "250",
        "file_mb": "2000",
        "log_mb": "0",
    }

    answer = client.post(f"{LIST}new/", posted | {field: value})

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.text
    assert not Product.objects.filter(name="Paint").exists()


def test_a_former_id_means_the_product_until_it_is_removed(client: Client) -> None:
    found = product("power-bi-pro")

    assert client.post(PAGE, {"action": "add-id", "former_key": "OLD-BI"}).status_code == 303
    assert ProductAlias.objects.get(former_key="OLD-BI").product_id == found.pk
    again = client.post(f"{LIST}products/visio-plan-1/", {"action": "add-id", "former_key": "OLD-BI"})
    assert again.status_code == 422
    assert client.post(PAGE, {"action": "remove-id", "former_key": "OLD-BI"}).status_code == 303
    assert client.post(PAGE, {"action": "remove-id", "former_key": "OLD-BI"}).status_code == 409

    assert not ProductAlias.objects.filter(former_key="OLD-BI").exists()


def test_a_withdrawn_product_is_bought_by_nobody_until_it_is_sold_again(actor: Actor, client: Client) -> None:
    found = product("power-bi-pro")
    mike = client_of(make_user(make_tenant()))

    withdraw_product(staff=actor, product_id=found.pk, at=now())
    with pytest.raises(ProductMoved):
        withdraw_product(staff=actor, product_id=found.pk, at=now())

    assert "Power BI Pro" not in Client().get("/products/?all").text
    assert "is not sold any more" in mike.get("/buy/power-bi-pro/").text
    assert "Withdrawn since" in client.get(PAGE).text
    offer_product_again(staff=actor, product_id=found.pk, at=now())
    assert "is not sold any more" not in mike.get("/buy/power-bi-pro/").text


def test_a_withdrawn_product_is_not_bought_centrally_either(actor: Actor) -> None:
    contoso = make_tenant()
    make_agreement(contoso)
    withdraw_product(staff=actor, product_id=product("power-bi-pro").pk, at=now())

    with tenant_atomic(contoso.pk):
        assert agreed_prices(contoso.pk) == []
        assert agreed_price(tenant_id=contoso.pk, plan=plan()) is None


def test_the_ids_of_a_product_that_is_not_there_are_not_added(actor: Actor) -> None:
    with pytest.raises(NotVisible):
        edit_product(staff=actor, product_id=2**40, said=Said("A", "B"), seen="", at=now())
    with pytest.raises(Malformed):
        add_product(staff=actor, ids=Ids("", "", "", ""), said=Said("A", "B"), at=now())


# --- Prices -----------------------------------------------------------------------------------------------


def test_a_price_that_begins_later_is_added_and_the_one_before_holds_until_then(
    client: Client, actor: Actor
) -> None:
    day = midnight(40).date().isoformat()

    posted = {"plan": plan().pk, "market": "NL", "amount": "19,50", "begins_on": day}
    assert client.post(PRICES, posted).status_code == 303

    added = Price.objects.filter(plan=plan(), market_id="NL").latest("valid_from")
    assert (added.unit_price_minor, added.currency, added.valid_from) == (1_950, "EUR", midnight(40))
    shown = client.get(PRICES, {"market": "NL"}).text
    assert shown.count("To come") == 1
    assert shown.count("Holds now") == 3
    [(code, _label, _before, after)] = trail(actor, "commerce.price.")
    assert code == "commerce.price.added"
    assert (after["unit_price_minor"], after["market"]) == (1_950, "NL")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("amount", {"amount": ""}),
        ("amount", {"amount": "free"}),
        ("amount", {"amount": "1.999"}),
        ("amount", {"amount": "-1"}),
        ("amount", {"amount": "0"}),
        ("amount", {"amount": "0.49"}),
        ("begins_on", {"begins_on": ""}),
        ("begins_on", {"begins_on": "2020-01-01"}),
        ("begins_on", {"begins_on": "2999-01-01"}),
        ("plan", {"plan": "0"}),
    ],
)
def test_each_mistake_of_a_price_is_told_at_its_field_and_nothing_is_added(
    client: Client, field: str, values: dict[str, str]
) -> None:
    before = Price.objects.count()
    fine = {
        "plan": str(plan().pk),
        "market": "NL",
        "amount": "20",
        "begins_on": midnight(40).date().isoformat(),
    }

    answer = client.post(PRICES, fine | values)

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.text
    assert Price.objects.count() == before


def test_a_price_does_not_begin_today(client: Client) -> None:
    posted = {
        "plan": str(plan().pk),
        "market": "NL",
        "amount": "20",
        "begins_on": midnight(0).date().isoformat(),
    }

    assert client.post(PRICES, posted).status_code == 422


def test_two_prices_of_a_plan_do_not_begin_together(actor: Actor) -> None:
    announce(actor)

    with pytest.raises(Malformed):
        announce(actor, minor=3_000)


def test_a_price_to_come_is_changed_and_counts_as_announced_then(actor: Actor) -> None:
    price = announce(actor)
    at = now() + 5 * DAY

    change_price(
        staff=actor,
        price_id=price.pk,
        unit_price_minor=2_500,
        begins_at=midnight(50),
        seen=seen(price),
        at=at,
    )

    changed = Price.objects.get(pk=price.pk)
    assert (changed.unit_price_minor, changed.valid_from, changed.published_at) == (2_500, midnight(50), at)
    _code, _label, before, after = trail(actor, "commerce.price.changed")[0]
    assert (before["unit_price_minor"], after["unit_price_minor"]) == (2_000, 2_500)


def test_a_price_to_come_is_removed_once(client: Client, actor: Actor) -> None:
    price = announce(actor)
    posted = {"action": "remove", "seen_minor": "2000", "seen_from": price.valid_from.isoformat()}

    assert client.post(f"{LIST}prices/{price.pk}/", posted).status_code == 303
    assert client.post(f"{LIST}prices/{price.pk}/", posted).status_code == 409

    assert not Price.objects.filter(pk=price.pk).exists()
    assert client.get(f"{LIST}prices/{price.pk}/").status_code == 404


def test_a_price_that_has_begun_is_nobodys_to_change(client: Client, actor: Actor) -> None:
    price = begun()

    with pytest.raises(PriceBegun):
        remove_price(staff=actor, price_id=price.pk, seen=seen(price), at=now())
    with pytest.raises(PriceBegun):
        change_price(
            staff=actor,
            price_id=price.pk,
            unit_price_minor=1,
            begins_at=midnight(50),
            seen=seen(price),
            at=now(),
        )

    shown = client.get(f"{LIST}prices/{price.pk}/").text
    assert "It has begun, so it stays" in shown
    assert 'value="remove"' not in shown
    assert Price.objects.get(pk=price.pk).unit_price_minor == price.unit_price_minor


def test_whoever_is_second_to_change_a_price_is_told(client: Client, actor: Actor) -> None:
    price = announce(actor)
    shown = seen(price)
    change_price(
        staff=actor,
        price_id=price.pk,
        unit_price_minor=2_100,
        begins_at=price.valid_from,
        seen=shown,
        at=now(),
    )

    with pytest.raises(PriceMoved):
        change_price(
            staff=actor,
            price_id=price.pk,
            unit_price_minor=2_200,
            begins_at=price.valid_from,
            seen=shown,
            at=now(),
        )
    answer = client.post(
        f"{LIST}prices/{price.pk}/",
        {
            "action": "save",
            "amount": "22",
            "begins_on": midnight(40).date().isoformat(),
            "seen_minor": "2000",
            "seen_from": shown.valid_from.isoformat(),
        },
    )

    assert answer.status_code == 409
    assert "Somebody changed or removed this price" in answer.text
    assert Price.objects.get(pk=price.pk).unit_price_minor == 2_100


@pytest.mark.parametrize("posted", [{}, {"seen_minor": "x", "seen_from": "y"}, {"seen_from": "2999-13-01"}])
def test_what_was_seen_must_be_said(client: Client, actor: Actor, posted: dict[str, str]) -> None:
    price = announce(actor)
    fine = {"action": "save", "amount": "22", "begins_on": midnight(40).date().isoformat()}

    assert client.post(f"{LIST}prices/{price.pk}/", fine | posted).status_code == 422
    assert Price.objects.get(pk=price.pk).unit_price_minor == 2_000


def test_a_market_that_is_none_is_not_found(client: Client) -> None:
    assert client.get(PRICES, {"market": "XX"}).status_code == 404
    assert client.get(f"{LIST}products/no-such-product/prices/").status_code == 404
    assert client.get(f"{LIST}prices/{2**63}/").status_code == 404
    assert Plan.objects.count() == 72


# --- Links beside it --------------------------------------------------------------------------------------


def links_form(links: list[dict[str, str]], **changed: str) -> dict[str, str]:
    posted = {
        "version": version_of_links(product("power-bi-pro").links),
        "form-TOTAL_FORMS": str(len(links) + 2),
        "form-INITIAL_FORMS": str(len(links)),
    }
    empty = {"kind": "learning", "title": "", "note": "", "url": ""}
    for place, link in enumerate([*links, empty, empty]):
        posted |= {f"form-{place}-{name}": link[name] for name in empty}
    return posted | changed


def test_the_links_of_a_product_are_edited_and_everybody_sees_them(client: Client, actor: Actor) -> None:
    before = product("power-bi-pro").links
    posted = links_form(
        before,
        **{
            "form-0-title": "",
            "form-0-url": "",
            "form-4-kind": "community",
            "form-4-title": "Meet others",
            "form-4-url": "https://meet.example/",
        },
    )

    assert client.get(f"{PAGE}links/").status_code == 200
    assert client.post(f"{PAGE}links/", posted).status_code == 303

    after = product("power-bi-pro").links
    assert after[:-1] == before[1:]
    assert after[-1] == {
        "kind": "community",
        "title": "Meet others",
        "note": "",
        "url": "https://meet.example/",
    }
    assert '<a class="sk-card sk-card--link" href="https://meet.example/" rel="noopener external">' in (
        Client().get("/products/power-bi-pro/").text
    )
    [(code, label, _old, new)] = trail(actor, "commerce.product.links_changed")
    assert (code, label, new) == ("commerce.product.links_changed", "Olga Kuiper", {"links": after})


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("url", ""),
        ("url", "http://meet.example/"),
        ("url", "javascript:alert(1)"),
        ("title", ""),
        ("title", "x" * 101),
        ("kind", "advertisement"),
    ],
)
def test_a_link_that_cannot_be_shown_is_told_at_its_field(client: Client, field: str, wrong: str) -> None:
    before = product("power-bi-pro").links

    answer = client.post(f"{PAGE}links/", links_form(before, **{f"form-1-{field}": wrong}))

    assert answer.status_code == 422
    assert f'id="id_form-1-{field}_error"' in answer.text
    assert product("power-bi-pro").links == before


def test_links_that_a_colleague_changed_meanwhile_are_not_overwritten(client: Client, actor: Actor) -> None:
    found = product("power-bi-pro")
    posted = links_form(found.links, **{"form-0-title": "Mine"})
    seen = version_of_links(found.links)
    edit_links(staff=actor, product_id=found.pk, links=[], seen=seen, at=now())

    answer = client.post(f"{PAGE}links/", posted)

    assert answer.status_code == 409
    assert "Somebody changed this product" in answer.text
    assert product("power-bi-pro").links == []


def test_nobody_but_the_staff_of_the_catalogue_edits_links(vendor: Tenant) -> None:
    sven = staff_actor_of(make_staff(vendor, "staff_support"))
    found = product("power-bi-pro")

    with pytest.raises(NotVisible):
        edit_links(staff=sven, product_id=found.pk, links=[], seen=version_of_links(found.links), at=now())

    assert product("power-bi-pro").links == found.links


def test_a_product_has_at_most_twelve_links(actor: Actor) -> None:
    found = product("power-bi-pro")
    links = [Link("samples", f"Sample {number}", "", "https://samples.example/") for number in range(13)]

    with pytest.raises(Malformed):
        edit_links(
            staff=actor, product_id=found.pk, links=links, seen=version_of_links(found.links), at=now()
        )

    assert product("power-bi-pro").links == found.links
