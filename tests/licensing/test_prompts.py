"""What a product's page is told to draw, and for whom (product §3.1; docs/embed.md, docs/adr/0045)."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings as configured
from django.test import Client
from django.urls import reverse

from commerce.models import Product, ProductSite, Subscription
from commerce.queries.catalogue import product_keys
from config.kit.clock import real_now
from config.kit.secrets import encrypt
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses
from licensing.operations.prompts import LIVES, PromptTokenOver, issue_prompt_token, read_prompt_token
from licensing.queries.prompts import prompt_for_anybody
from policies.operations.policies import set_contact_text, set_product_policy
from policies.operations.requests import set_request_process
from tests.factories import (
    AT,
    actor_of,
    caller_with,
    client_of,
    make_subscription,
    make_tenant,
    make_user,
    product,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

APP = "https://app.powerbi.example"
REPORT = f"{APP}/reports/7"
HERE = configured.PUBLIC_URL


@pytest.fixture(autouse=True)
def site() -> ProductSite:
    with tenant_atomic(make_tenant(kind="vendor").pk):
        return ProductSite.objects.create(product=product(), name="Power BI", origin=APP, path="/reports/")


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.example")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, roles=(Role.GLOBAL_ADMIN,), name="Gina de Vries")


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Bos", email="mike@contoso.example")


def ask(client: Client, what: str = "prompt", *, origin: str = APP, **fields: str) -> Any:
    """What the script asks from a page of `origin`."""
    headers = {"origin": origin} if origin else {}
    return client.post(f"/embed/{what}", {"product": "power-bi-pro"} | fields, headers=headers)


def block(admin: User) -> None:
    set_product_policy(actor=actor_of(admin), product_keys=product_keys(product()), value="Disabled", at=AT)


def give(user: User) -> Subscription:
    subscription = make_subscription(user.tenant)
    admin = make_user(user.tenant, roles=(Role.LICENSE_ADMIN,))
    assign_licenses(actor=actor_of(admin), subscription_key=subscription.key, user_ids=[user.pk], at=AT)
    return subscription


def prompt_token(user: User, slug: str = "power-bi-pro") -> str:
    with tenant_atomic(user.tenant_id):
        actor = actor_of(user)
        return issue_prompt_token(
            actor=actor, user=str(user.key), product=product(slug), real_at=real_now()
        ).token


def labels(answer: Any) -> list[str]:
    return [link["label"] for link in answer.json()["links"]]


# --- Which prompt -------------------------------------------------------------------------------------------


def test_who_may_buy_is_offered_to_buy_and_comes_back(mike: User) -> None:
    answer = ask(client_of(mike), **{"return": REPORT})

    said = answer.json()
    assert (answer.status_code, said["state"], said["organization"]) == (200, "buy", "Contoso")
    assert labels(answer) == ["Buy Power BI Pro", "See what it does"]
    assert said["links"][0]["href"] == f"{HERE}/buy/power-bi-pro/?{urlencode({'return': REPORT})}"
    assert said["tile"] == {"letters": "BI", "colour": "amber"}


@pytest.mark.parametrize("back", ["https://evil.example/", f"{APP}/elsewhere", "javascript:alert(1)", ""])
def test_an_address_that_is_not_registered_is_left_out(mike: User, back: str) -> None:
    answer = ask(client_of(mike), **{"return": back})

    assert answer.json()["links"][0]["href"] == f"{HERE}/buy/power-bi-pro/"


def test_who_has_a_license_is_shown_nothing(mike: User) -> None:
    give(mike)

    answer = ask(client_of(mike))

    assert (answer.json()["state"], answer.json()["links"]) == ("licensed", [])


def test_a_license_that_no_longer_opens_the_product_is_none(mike: User) -> None:
    subscription = give(mike)
    with tenant_atomic(mike.tenant_id):
        Subscription.objects.filter(pk=subscription.pk).update(state="disabled")
        assert Assignment.objects.filter(ended_at=None).count() == 1

    assert ask(client_of(mike)).json()["state"] == "buy"


def test_who_may_not_buy_asks_where_the_organization_takes_requests(gina: User, mike: User) -> None:
    block(gina)

    answer = ask(client_of(mike), **{"return": REPORT})

    assert answer.json()["state"] == "request"
    assert labels(answer) == ["Request a license", "See what it does"]
    assert answer.json()["links"][0]["href"] == (
        f"{HERE}/my/requests/ask/power-bi-pro/?{urlencode({'return': REPORT})}"
    )


def test_who_may_not_ask_either_reads_the_organizations_own_words(gina: User) -> None:
    set_contact_text(actor=actor_of(gina), text="Ask the desk.", url="https://it.contoso.example/", at=AT)

    answer = ask(client_of(make_user(gina.tenant, kind="guest")))

    assert (answer.json()["state"], answer.json()["text"]) == ("contact", "Ask the desk.")
    assert answer.json()["links"][0] == {"label": "Contact your admin", "href": "https://it.contoso.example/"}


def test_an_own_way_to_ask_is_shown_in_place_of_the_queue(gina: User, mike: User) -> None:
    block(gina)
    set_request_process(
        actor=actor_of(gina), is_on=False, text="By ticket.", url="https://tickets.contoso.example/", at=AT
    )

    answer = ask(client_of(mike))

    assert (answer.json()["state"], answer.json()["text"]) == ("contact", "By ticket.")
    assert labels(answer)[0] == "Ask for a license"


def test_without_own_words_there_is_the_generic_sentence_and_no_admins_name(gina: User) -> None:
    guest = make_user(gina.tenant, kind="guest")

    answer = ask(client_of(guest))

    assert answer.json()["state"] == "contact"
    assert answer.json()["text"] == "Contact your admin: they can assign a license to you."
    assert "Gina" not in answer.text


@pytest.mark.parametrize("kind", ["government", "education"])
def test_the_same_reasons_hold_as_at_buy(kind: str) -> None:
    user = make_user(make_tenant(kind=kind))

    assert ask(client_of(user)).json()["state"] == "contact"
    assert client_of(user).get("/buy/power-bi-pro/").status_code == 403


def test_nobody_of_a_suspended_organization_buys(contoso: Tenant, mike: User) -> None:
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")

    assert ask(Client(), token=prompt_token(mike)).json()["state"] == "contact"


def test_who_is_not_known_buys_by_e_mail_first(client: Client) -> None:
    answer = ask(client, **{"return": REPORT})

    assert (answer.json()["state"], answer.json()["organization"]) == ("buy", "")
    assert answer.json()["text"] == "Buy it with a card. Your work e-mail comes first."
    assert answer.json()["links"][0]["href"] == f"{HERE}/buy/power-bi-pro/?{urlencode({'return': REPORT})}"


@pytest.mark.parametrize("facts", [{"self_service": False}, {"self_service": True, "withdrawn_at": AT}])
def test_what_nobody_can_buy_is_offered_to_nobody(facts: dict[str, Any]) -> None:
    assert prompt_for_anybody(Product(**facts)).state == "contact"
    assert prompt_for_anybody(Product(self_service=True)).state == "buy"


# --- From where ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["prompt", "launcher"])
@pytest.mark.parametrize(
    "origin",
    ["", "null", "https://evil.example", f"{APP}:8443", "http://app.powerbi.example", f"{APP}.evil.example"],
)
def test_a_page_that_is_not_registered_gets_what_is_missing(mike: User, what: str, origin: str) -> None:
    missing = client_of(mike).get("/no/such/page/").content

    for answer in (ask(client_of(mike), what, origin=origin), ask(Client(), what, origin=origin, token="x")):
        assert (answer.status_code, answer.content) == (404, missing)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_a_product_is_not_asked_about_from_another_products_page(mike: User) -> None:
    assert ask(client_of(mike), product="visio-plan-1").status_code == 404
    assert ask(client_of(mike), product="no-such-product").status_code == 404
    assert ask(client_of(mike), product="x\0").status_code == 404


@pytest.mark.parametrize("what", ["prompt", "launcher"])
def test_the_answer_is_for_the_page_that_asked_alone(mike: User, what: str) -> None:
    by_session = ask(client_of(mike), what)
    by_token = ask(Client(), what, token=prompt_token(mike))

    for answer in (by_session, by_token):
        assert answer["Access-Control-Allow-Origin"] == APP
        assert "Origin" in answer["Vary"]
        assert answer["Cache-Control"] == "private, no-store"
    assert by_session["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Allow-Credentials" not in by_token.headers


@pytest.mark.parametrize("what", ["prompt", "launcher"])
def test_it_is_asked_by_post_alone(mike: User, what: str) -> None:
    answer = client_of(mike).get(f"/embed/{what}", {"product": "power-bi-pro"}, headers={"origin": APP})

    assert answer.status_code == 405


def test_too_many_questions_of_one_network_are_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("licensing.views.embed.ASKED.__class__.count", _full)

    assert ask(client).status_code == 429


def _full(self: Any, *parts: str) -> None:
    from config.kit.rate import TooManyTries

    raise TooManyTries(60)


# --- Tokens -------------------------------------------------------------------------------------------------


def test_a_products_server_gets_a_token_for_whoever_opened_its_page(gina: User, mike: User) -> None:
    caller = caller_with(service_token_of(gina, "licenses.read"))

    by_mail = caller.get(
        "/api/v1.0/prompts/power-bi-pro?user=Mike@Contoso.example".replace("Mike@C", "mike@c")
    )
    by_id = caller.get(f"/api/v1.0/prompts/{product().key}?user={mike.key}")

    for answer in (by_mail, by_id):
        assert answer.status_code == 200
        assert (answer.json()["userId"], answer.json()["productId"]) == (str(mike.key), product().key)
        drawn = ask(Client(), token=answer.json()["token"])
        assert (drawn.json()["state"], drawn.json()["organization"]) == ("buy", "Contoso")


def test_the_links_of_a_token_name_its_organization(mike: User) -> None:
    answer = ask(Client(), token=prompt_token(mike), **{"return": REPORT})

    way = urlsplit(answer.json()["links"][0]["href"])
    assert parse_qs(way.query) == {"return": [REPORT], "organization": ["contoso.example"]}


def test_the_token_stands_for_its_person_whoever_is_signed_in_here(gina: User, mike: User) -> None:
    give(gina)

    assert ask(client_of(gina), token=prompt_token(mike)).json()["state"] == "buy"


def test_a_member_gets_one_for_the_own_account_alone(gina: User, mike: User) -> None:
    caller = caller_with(token_of(mike, "licenses.read"))
    missing = caller.get("/api/v1.0/no/such/call").content

    own = caller.get(f"/api/v1.0/prompts/power-bi-pro?user={mike.key}")
    others = caller.get(f"/api/v1.0/prompts/power-bi-pro?user={gina.key}")
    nobodys = caller.get("/api/v1.0/prompts/power-bi-pro?user=nobody@contoso.example")

    assert own.status_code == 200
    assert (others.status_code, others.content) == (nobodys.status_code, nobodys.content) == (404, missing)


def test_an_address_of_two_accounts_is_nobodys(gina: User, mike: User) -> None:
    make_user(mike.tenant, email="mike@contoso.example")

    answer = caller_with(token_of(gina)).get("/api/v1.0/prompts/power-bi-pro?user=mike@contoso.example")

    assert answer.status_code == 404


@pytest.mark.parametrize("what", ["prompt", "launcher"])
def test_a_token_that_is_not_good_says_so_and_nothing_else(mike: User, what: str) -> None:
    others = prompt_token(mike, "visio-plan-1")
    forged = encrypt(json.dumps(["other", mike.tenant_id, mike.pk, product().pk, 2**40]))

    for token in (others, forged, encrypt("[]"), encrypt("7"), "x", "é", "x" * 5000, prompt_token(mike)[:-2]):
        answer = ask(Client(), what, token=token)
        assert (answer.status_code, answer.json()) == (401, {"state": "expired"})
        assert answer["Access-Control-Allow-Origin"] == APP


def test_a_token_lives_for_ten_minutes(mike: User) -> None:
    at = real_now().replace(microsecond=0)
    with tenant_atomic(mike.tenant_id):
        issued = issue_prompt_token(actor=actor_of(mike), user=str(mike.key), product=product(), real_at=at)
    assert issued.expires_at == at + LIVES

    last = at + LIVES - timedelta(seconds=1)
    assert read_prompt_token(issued.token, product=product(), real_at=last) == (mike.tenant_id, mike.pk)
    with pytest.raises(PromptTokenOver):
        read_prompt_token(issued.token, product=product(), real_at=at + LIVES)


def test_a_token_of_somebody_who_left_tells_nothing_of_the_organization(gina: User, mike: User) -> None:
    set_contact_text(actor=actor_of(gina), text="Ask the desk.", url="", at=AT)
    token = prompt_token(mike)
    with tenant_atomic(mike.tenant_id):
        User.objects.filter(pk=mike.pk).update(status="disabled")

    answer = ask(Client(), token=token)

    assert (answer.json()["state"], answer.json()["organization"]) == ("contact", "")
    assert "desk" not in answer.text
    assert ask(Client(), "launcher", token=token).json()["tiles"] == []


# --- The organization that a page names ---------------------------------------------------------------------


@pytest.fixture
def frank(contoso: Tenant) -> tuple[User, User]:
    """At home at Fabrikam, and a guest of Contoso."""
    home = make_user(make_tenant(name="Fabrikam", domain="fabrikam.example"), name="Frank Miller")
    return home, make_user(contoso, kind="guest", issuer=home.issuer, subject=home.subject)


def test_a_page_names_the_organization_whose_account_it_is_about(frank: tuple[User, User]) -> None:
    browser = client_of(frank[0])

    unnamed, named = ask(browser), ask(browser, organization="contoso.example")

    assert (unnamed.json()["state"], unnamed.json()["organization"]) == ("buy", "Fabrikam")
    assert (named.json()["state"], named.json()["organization"]) == ("contact", "Contoso")


def test_an_organization_that_is_not_theirs_and_one_that_there_is_not_answer_alike(
    gina: User, frank: tuple[User, User]
) -> None:
    make_tenant(name="Litware", domain="litware.example")
    browser = client_of(frank[0])

    foreign, missing = (ask(browser, organization=name) for name in ("litware.example", "nobody.example"))

    assert foreign.json() == missing.json()
    assert (foreign.json()["state"], foreign.json()["organization"]) == ("contact", "")


# --- The launcher -------------------------------------------------------------------------------------------


def test_the_launcher_has_the_tiles_of_the_portals_own(mike: User) -> None:
    give(mike)

    for answer in (ask(client_of(mike), "launcher"), ask(Client(), "launcher", token=prompt_token(mike))):
        said = answer.json()
        assert said["tiles"] == [
            {
                "name": "Power BI Pro",
                "note": "From Contoso",
                "href": f"{HERE}/apps/power-bi-pro/",
                "letters": "BI",
                "colour": "amber",
            }
        ]
        assert said["admin"] is None
        assert said["all"] == {"label": "All apps", "href": f"{HERE}/"}


def test_the_admin_tile_is_there_for_whom_the_portal_shows_it(gina: User, mike: User) -> None:
    buyer = make_user(mike.tenant, purchaser_since=AT)
    lisa = make_user(mike.tenant, roles=(Role.LICENSE_ADMIN,))

    tiles = [ask(client_of(user), "launcher").json()["admin"] for user in (gina, buyer, lisa)]

    products = f"{HERE}{reverse('portal:your-products')}"
    assert [tile["href"] for tile in tiles] == [products, products, f"{HERE}{reverse('portal:licenses')}"]
    assert {tile["name"] for tile in tiles} == {"Admin"}


def test_who_is_not_known_is_led_to_sign_in(client: Client) -> None:
    said = ask(client, "launcher").json()

    assert (said["state"], said["tiles"], said["admin"], said["empty"]) == ("unknown", [], None, "")
    assert said["all"] == {"label": "Sign in", "href": f"{HERE}/sign-in/"}


# --- The script ---------------------------------------------------------------------------------------------


def test_any_page_may_load_the_script_and_keep_it(client: Client) -> None:
    answer = client.get("/embed/v1.js")

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer["Cache-Control"] == "public, max-age=3600, stale-while-revalidate=86400"
    assert "Cookie" not in answer.get("Vary", "")
    again = client.get("/embed/v1.js", headers={"if-none-match": answer["ETag"]})
    assert (again.status_code, b"".join(again)) == (304, b"")


def test_other_files_are_not_opened_to_isolated_pages(client: Client) -> None:
    assert client.get("/embed/v2.js").status_code == 404
    assert client.get("/embed/").status_code == 404


def test_the_script_is_small_and_needs_neither_inline_styles_nor_markup() -> None:
    script = (Path(configured.BASE_DIR) / "public/embed/v1.js").read_text()

    assert len(script.encode()) < 10_000
    for word in (
        "innerHTML",
        "eval(",
        "Function(",
        ".style",
        "insertAdjacent",
        "document.write",
        "<style",
        "cookie",
    ):
        assert word not in script


# --- The demo product ---------------------------------------------------------------------------------------


def test_the_products_own_page_draws_both(mike: User) -> None:
    closed = client_of(mike).get("/apps/power-bi-pro/")
    give(mike)
    opened = client_of(mike).get("/apps/power-bi-pro/")

    assert (closed.status_code, opened.status_code) == (403, 200)
    for page in (closed, opened):
        assert '<div data-seatkeeper-launcher data-product="power-bi-pro">' in page.text
        assert '<script src="/embed/v1.js" nonce="' in page.text
    assert "data-seatkeeper-prompt" in closed.text
    assert "data-seatkeeper-prompt" not in opened.text


def test_the_portal_asks_about_its_own_page_and_comes_back_there(mike: User) -> None:
    here = f"{HERE}/apps/power-bi-pro/"

    answer = ask(client_of(mike), origin=HERE, **{"return": here})

    assert answer.json()["links"][0]["href"] == f"{HERE}/buy/power-bi-pro/?{urlencode({'return': here})}"
