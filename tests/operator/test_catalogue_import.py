"""Importing catalogue files at the vendor's site: a dry run, then exactly that (docs/adr/0038)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from commerce.catalogue_files import HEADS
from commerce.models import Plan, Price, Product, ProductAlias
from commerce.operations.catalogue import DATA
from commerce.operations.catalogue_import import ImportMoved, plan_import, run_import
from commerce.operations.prices import add_price
from commerce.operations.products import withdraw_product
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from tests.factories import client_of, make_staff, make_tenant, plan, product, staff_actor_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

PAGE = "/operator/catalogue/import/"
PRODUCTS = ",".join(HEADS["products"])
PRICES = ",".join(HEADS["prices"])
SKU = "0f1f7f6a-0a6b-4b0e-9d0a-6b1f6c7f7a10"
PAINT = f"PAINT-1,Paint,paint,Art,yes,no,{SKU},PAINT,PAINT-0"


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


def csv(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def said(actor: Actor, *lines: str, **kwargs: Any) -> list[tuple[int, str, str]]:
    """Line, outcome and detail of a dry run."""
    begins_at = kwargs.get("begins_at", now() + timedelta(days=40))
    planned = plan_import(staff=actor, content=csv(*lines), begins_at=begins_at, at=now())
    return [(each.line, each.what, each.detail) for each in planned.outcomes]


def key() -> str:
    return str(product("power-bi-pro").key)


def upload(client: Client, content: bytes, **values: str) -> Any:
    return client.post(PAGE, {"file": SimpleUploadedFile("file.csv", content), **values})


def signed_in(answer: Any) -> str:
    found = re.search(r'name="signed" value="([^"]+)"', answer.text)
    assert found is not None
    return found[1]


# --- The dry run ------------------------------------------------------------------------------------------


def test_the_catalogues_own_files_change_nothing(actor: Actor) -> None:
    for name in ("products.csv", "prices.csv"):
        planned = plan_import(
            staff=actor,
            content=(DATA / name).read_bytes(),
            begins_at=now() + timedelta(days=1),
            at=now(),
        )
        assert (set(planned.counts), planned.changes) == ({"same"}, 0)


def test_a_dry_run_says_of_each_line_what_it_would_do(actor: Actor) -> None:
    outcomes = said(
        actor,
        PRICES,
        f"{key()},NL,EUR,P1M/P1M,9999",
        f"{key()},NL,USD,P1Y/P1M,9999",
        f"{key()},XX,EUR,P1M/P1M,9999",
        "NOBODY,NL,EUR,P1M/P1M,9999",
        f"{key()},NL,EUR,P1Y/P1Y,many",
        f"{key()},DE,EUR,P1Y/P1Y,49",
    )

    assert [(line, what) for line, what, _detail in outcomes] == [
        (2, "added"),
        (3, "refused"),
        (4, "refused"),
        (5, "refused"),
        (6, "refused"),
        (7, "refused"),
    ]
    assert outcomes[5][2] == "A card cannot be charged with less than €0.50."
    assert outcomes[0][2].endswith("€99.99")
    assert outcomes[1][2] == "The market's currency is EUR."
    assert Price.objects.filter(unit_price_minor=9_999).count() == 0


def test_products_are_refused_where_their_ids_are_others(actor: Actor) -> None:
    other = product("visio-plan-1")
    taken = ProductAlias.objects.exclude(product=other).earliest("pk")

    outcomes = said(
        actor,
        PRODUCTS,
        PAINT,
        PAINT.replace("PAINT-1", "PAINT-2")
        .replace(",paint,", ",visio-plan-1,")
        .replace(SKU, SKU[:-1] + "1")
        .replace("PAINT-0", ""),
        PAINT.replace("PAINT-1", taken.former_key)
        .replace(",paint,", ",three,")
        .replace(SKU, SKU[:-1] + "2")
        .replace("PAINT-0", ""),
        PAINT.replace("PAINT-1", "PAINT-4")
        .replace(",paint,", ",four,")
        .replace(SKU, str(other.sku_id))
        .replace("PAINT-0", ""),
        PAINT.replace("PAINT-1", "PAINT-5")
        .replace(",paint,", ",five,")
        .replace(SKU, SKU[:-1] + "3")
        .replace("PAINT-0", taken.former_key),
        PAINT.replace("PAINT-1", "PAINT-6")
        .replace(",paint,", ",six,")
        .replace(SKU, SKU[:-1] + "4")
        .replace("PAINT-0", other.key),
    )

    assert [what for _line, what, _detail in outcomes] == ["added", *["refused"] * 5]
    assert not Product.objects.filter(key__startswith="PAINT").exists()


def test_a_former_id_names_the_product_in_a_file_of_prices(actor: Actor) -> None:
    alias = ProductAlias.objects.select_related("product").earliest("pk")
    lines = [f"{alias.former_key},NL,EUR,P1M/P1M,9999", f"{alias.product.key},NL,EUR,P1M/P1M,8888"]

    outcomes = said(actor, PRICES, *lines)

    assert [what for _line, what, _detail in outcomes] == ["added", "refused"]


def test_a_price_to_come_on_that_day_is_changed_and_one_that_has_begun_never(actor: Actor) -> None:
    begins_at = now() + timedelta(days=40)
    announced = add_price(
        staff=actor, plan_id=plan().pk, market="NL", unit_price_minor=2_000, begins_at=begins_at, at=now()
    )
    content = csv(PRICES, f"{key()},NL,EUR,P1M/P1M,2100")
    planned = plan_import(staff=actor, content=content, begins_at=begins_at, at=now())
    assert [each.what for each in planned.outcomes] == ["changed"]
    run_import(staff=actor, content=content, begins_at=begins_at, seen=planned.digest, at=now())

    announced.refresh_from_db()
    assert announced.unit_price_minor == 2_100
    for begun in (None, now() - timedelta(seconds=1), now() + timedelta(days=5_000)):
        with pytest.raises(Malformed):
            plan_import(staff=actor, content=content, begins_at=begun, at=now())


# --- The import -------------------------------------------------------------------------------------------


def test_what_was_shown_is_imported_and_audited(client: Client, actor: Actor) -> None:
    shown = upload(client, csv(PRODUCTS, PAINT, PAINT.replace("yes", "maybe")))
    assert shown.status_code == 200
    assert "Import 1 line" in shown.text

    done = client.post(PAGE, {"signed": signed_in(shown)}, follow=True)

    assert "Imported: 1 added, 0 changed, 0 as before, 1 left out." in done.text
    made = product("paint")
    assert (made.key, made.self_service, made.plans.count()) == ("PAINT-1", True, 3)
    assert ProductAlias.objects.get(former_key="PAINT-0").product_id == made.pk
    with tenant_atomic(actor):
        [entry] = AuditEntry.objects.filter(code__startswith="commerce.product.")
    assert (entry.code, entry.actor_label, entry.target_id) == (
        "commerce.product.added",
        "Olga Kuiper",
        "PAINT-1",
    )


def test_a_product_that_is_there_is_changed_and_keeps_what_the_file_does_not_say(
    client: Client, actor: Actor
) -> None:
    found = product("visio-plan-1")
    line = f"{found.key},Visio One,visio-plan-1,Visio,no,no,{found.sku_id},{found.sku_part_number},VISIO-OLD"
    shown = upload(client, csv(PRODUCTS, line))
    client.post(PAGE, {"signed": signed_in(shown)})

    changed = product("visio-plan-1")
    assert (changed.name, changed.self_service, changed.description) == (
        "Visio One",
        False,
        found.description,
    )
    with tenant_atomic(actor):
        [entry] = AuditEntry.objects.filter(code="commerce.product.changed")
    assert (entry.before or {})["name"] == found.name


def test_prices_begin_on_the_day_that_was_chosen(client: Client) -> None:
    day = (now() + timedelta(days=40)).date().isoformat()
    content = csv(PRICES, f"{key()},NL,EUR,P1M/P1M,9999", f"{key()},US,USD,P1M/P1M,8888")

    shown = upload(client, content, begins_on=day)
    client.post(PAGE, {"signed": signed_in(shown)})

    made = Price.objects.filter(unit_price_minor__in=[9_999, 8_888])
    assert {price.valid_from for price in made} == {made[0].valid_from}
    assert made.count() == 2
    assert made[0].valid_from > now()


def test_confirmed_twice_it_is_imported_once(client: Client) -> None:
    shown = upload(client, csv(PRODUCTS, PAINT))
    signed = signed_in(shown)

    assert client.post(PAGE, {"signed": signed}).status_code == 303
    again = client.post(PAGE, {"signed": signed})

    assert again.status_code == 409
    assert "There is nothing to import" in again.text
    assert Product.objects.filter(key="PAINT-1").count() == 1


def test_where_the_catalogue_moved_on_nothing_is_imported_and_the_page_says_what_it_would_do_now(
    client: Client, actor: Actor
) -> None:
    begins_at = now() + timedelta(days=40)
    content = csv(PRICES, f"{key()},NL,EUR,P1M/P1M,9999")
    planned = plan_import(staff=actor, content=content, begins_at=begins_at, at=now())
    add_price(
        staff=actor, plan_id=plan().pk, market="NL", unit_price_minor=2_000, begins_at=begins_at, at=now()
    )

    with pytest.raises(ImportMoved):
        run_import(staff=actor, content=content, begins_at=begins_at, seen=planned.digest, at=now())

    assert not Price.objects.filter(unit_price_minor=9_999).exists()


def test_a_button_that_was_tampered_with_imports_nothing(client: Client) -> None:
    signed = signed_in(upload(client, csv(PRODUCTS, PAINT)))

    for value in ("", "x", signed[:-2], f"{signed}x"):
        assert client.post(PAGE, {"signed": value}).status_code == 422
    assert not Product.objects.filter(key="PAINT-1").exists()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "file"),
        (b"a,b\n1,2\n", "file"),
        (b"\xff\xfe", "file"),
        (b"x" * 1_000_001, "file"),
        (csv(PRICES, "A,NL,EUR,P1M/P1M,1"), "begins_on"),
    ],
)
def test_a_file_of_no_use_is_told_at_its_field(client: Client, content: bytes, field: str) -> None:
    answer = upload(client, content)

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.text


def test_what_a_file_says_is_text_on_the_page(client: Client) -> None:
    bad = PAINT.replace("Paint,", "<script>alert(1)</script>,").replace("yes", "maybe")

    answer = upload(client, csv(PRODUCTS, bad))

    assert "<script>alert(1)" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


def test_an_import_does_not_sell_again_what_was_withdrawn(actor: Actor, client: Client) -> None:
    found = product("visio-plan-1")
    withdraw_product(staff=actor, product_id=found.pk, at=now())
    line = f"{found.key},Visio One,visio-plan-1,Visio,yes,no,{found.sku_id},{found.sku_part_number},"
    client.post(PAGE, {"signed": signed_in(upload(client, csv(PRODUCTS, line)))})

    assert product("visio-plan-1").is_withdrawn
    assert Plan.objects.filter(product=found).count() == 3
