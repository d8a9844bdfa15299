"""Where a product runs, said by the vendor's staff (docs/embed.md, docs/adr/0045)."""

from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client

from commerce.models import ProductSite
from commerce.operations.product_sites import MOST_SITES, add_site, remove_site
from commerce.operations.products import ProductMoved
from commerce.queries.sites import may_embed, site_of, way_back
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from tests.factories import AT, client_of, make_staff, make_tenant, make_user, product, staff_actor_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

PAGE = "/operator/catalogue/products/power-bi-pro/"
APP = "https://app.powerbi.example"


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor")


@pytest.fixture
def olga(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_catalogue", name="Olga Kuiper")


@pytest.fixture
def staff(olga: User) -> Actor:
    return staff_actor_of(olga)


@pytest.fixture
def client(olga: User) -> Client:
    return client_of(olga, with_factor=True)


def register(staff: Actor, origin: str = APP, path: str = "/", name: str = "Power BI") -> ProductSite:
    return add_site(staff=staff, product_id=product().pk, name=name, origin=origin, path=path, at=AT)


def registered() -> list[tuple[str, str, str]]:
    return list(ProductSite.objects.order_by("pk").values_list("name", "origin", "path"))


def trail(staff: Actor) -> list[tuple[str, Any, Any]]:
    with tenant_atomic(staff):
        rows = AuditEntry.objects.filter(code__startswith="commerce.product.site").order_by("pk")
        return [(row.code, row.before, row.after) for row in rows]


# --- The operations -----------------------------------------------------------------------------------------


def test_a_site_is_registered_and_removed_with_a_line_in_the_trail_for_each(staff: Actor) -> None:
    site = register(staff, path="/reports/")
    assert registered() == [("Power BI", APP, "/reports/")]

    remove_site(staff=staff, product_id=product().pk, site_id=site.pk, at=AT)

    facts = {"name": "Power BI", "origin": APP, "path": "/reports/"}
    assert registered() == []
    assert trail(staff) == [
        ("commerce.product.site_added", None, facts),
        ("commerce.product.site_removed", facts, None),
    ]


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("origin", {"origin": "http://app.powerbi.example"}),
        ("origin", {"origin": "http://127.0.0.1:9000"}),
        ("origin", {"origin": f"{APP}/"}),
        ("path", {"path": "reports"}),
        ("path", {"path": "/a/../"}),
        ("name", {"name": " "}),
        ("name", {"name": "a" * 61}),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_field(staff: Actor, field: str, facts: dict[str, str]) -> None:
    with pytest.raises(Malformed) as refused:
        register(staff, **facts)

    assert refused.value.field == field
    assert (registered(), trail(staff)) == ([], [])


def test_this_machine_is_registered_in_a_demo(staff: Actor, settings: Any) -> None:
    settings.DEMO = True

    register(staff, origin="http://127.0.0.1:9000")

    assert registered() == [("Power BI", "http://127.0.0.1:9000", "/")]


def test_the_same_is_registered_once_and_no_more_than_twenty_are(staff: Actor) -> None:
    for number in range(MOST_SITES):
        register(staff, path=f"/{number}/")

    with pytest.raises(Malformed, match="registered already"):
        register(staff, path="/0/")
    with pytest.raises(Malformed, match="20 already"):
        register(staff, path="/more/")
    assert len(registered()) == MOST_SITES


def test_a_site_of_another_product_is_not_removed_through_this_one(staff: Actor) -> None:
    site = register(staff)

    with pytest.raises(ProductMoved):
        remove_site(staff=staff, product_id=product("visio-plan-1").pk, site_id=site.pk, at=AT)
    with pytest.raises(NotVisible):
        remove_site(staff=staff, product_id=0, site_id=site.pk, at=AT)

    assert len(registered()) == 1


def test_nobody_else_registers_one(vendor: Tenant) -> None:
    for actor in (
        staff_actor_of(make_staff(vendor, "staff_support")),
        staff_actor_of(make_staff(vendor, "staff_catalogue"), with_factor=False),
    ):
        with pytest.raises(NotVisible):
            register(actor)

    assert registered() == []


def test_the_wall_lets_no_customers_setting_write_one() -> None:
    insert = (
        "INSERT INTO commerce_productsite (product_id, name, origin, path)"
        " SELECT min(id), 'X', 'https://evil.example', '/' FROM commerce_product"
    )
    with (
        tenant_atomic(make_tenant().pk),
        pytest.raises(ProgrammingError, match="row-level security"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(insert)


@pytest.mark.parametrize(
    "origin", ["http://app.example", "javascript:alert(1)", "http://localhost.evil.example"]
)
def test_the_database_keeps_no_origin_without_tls(vendor: Tenant, origin: str) -> None:
    with (
        tenant_atomic(vendor.pk),
        pytest.raises(IntegrityError, match="commerce_productsite_address"),
        transaction.atomic(),
    ):
        ProductSite.objects.create(product=product(), name="X", origin=origin, path="/")


# --- The questions ------------------------------------------------------------------------------------------


def test_only_a_registered_origin_and_the_portal_itself_embed_a_product(staff: Actor, settings: Any) -> None:
    register(staff)

    assert may_embed(product(), APP)
    assert may_embed(product(), settings.PUBLIC_URL)
    assert not may_embed(product("visio-plan-1"), APP)
    for origin in ("", "null", "https://evil.example", f"{APP}:8443", "https://powerbi.example", f"{APP}/"):
        assert not may_embed(product(), origin), origin


def test_the_nearest_site_names_the_way_back(staff: Actor) -> None:
    register(staff)
    register(staff, path="/reports/", name="Power BI reports")

    assert [str(site_of(product(), f"{APP}{path}").name) for path in ("/", "/reports/1", "/reports")] == [  # type: ignore[union-attr]
        "Power BI",
        "Power BI reports",
        "Power BI",
    ]
    assert site_of(product(), "https://evil.example/") is None
    assert site_of(product("visio-plan-1"), f"{APP}/") is None


def test_the_portals_own_page_of_the_product_is_a_way_back(settings: Any) -> None:
    back = way_back(product(), f"{settings.PUBLIC_URL}/apps/power-bi-pro/")

    assert back is not None
    assert (back.name, back.is_own) == ("Power BI Pro", True)
    assert way_back(product(), f"{settings.PUBLIC_URL}/sign-out/") is None


# --- The page -----------------------------------------------------------------------------------------------


def post(client: Client, action: str, **fields: object) -> Any:
    return client.post(PAGE, {"action": action, **fields})


def test_staff_register_and_remove_it_on_the_products_page(client: Client) -> None:
    added = post(client, "add-site", name="Power BI", origin=APP, path="/")
    page = client.get(PAGE).text
    site = ProductSite.objects.get()
    removed = post(client, "remove-site", site=site.pk)

    assert (added.status_code, removed.status_code) == (303, 303)
    assert f"<b>Power BI</b><small>{APP}/</small>" in page
    assert registered() == []


def test_the_page_says_at_its_field_what_is_wrong_and_keeps_what_was_typed(client: Client) -> None:
    answer = post(client, "add-site", name="Power BI", origin="app.powerbi.example", path="/x/")

    assert answer.status_code == 422
    assert "Enter https://, the host in small letters" in answer.text
    assert 'id="site_origin"' in answer.text
    assert 'value="/x/"' in answer.text
    assert registered() == []


@pytest.mark.parametrize("site", ["", "0", "x", "9" * 30, "²"])
def test_what_is_not_there_is_not_removed(client: Client, site: str) -> None:
    assert post(client, "remove-site", site=site).status_code == 409


def test_a_customers_admin_finds_no_such_page() -> None:
    gina = client_of(make_user(make_tenant(), roles=("global_admin",)))

    assert post(gina, "add-site", name="X", origin=APP, path="/").status_code == 404
    assert registered() == []
