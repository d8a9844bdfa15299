"""The public product pages (product §3.1)."""

from typing import Any

import pytest
from django.test import Client

from tests.factories import client_of, make_tenant, make_user

pytestmark = pytest.mark.django_db

NL = {"HTTP_ACCEPT_LANGUAGE": "en-NL,en;q=0.9"}


def text(response: Any) -> str:
    return str(response.content.decode())


def test_the_catalogue_shows_the_nine_products_with_prices_of_the_languages_country(client: Client) -> None:
    page = text(client.get("/products/", **NL))

    assert page.count('class="sk-card sk-card--lg sk-card--link sk-prod"') == 9
    assert "Prices for Netherlands, in EUR, without VAT." in page
    assert '<span class="sk-strong sk-num">€9.40</span> per license a month' in page
    assert "9 of 24 shown" in page


def test_all_shows_what_organizations_buy_centrally_too(client: Client) -> None:
    page = text(client.get("/products/?all", **NL))

    assert page.count("sk-prod") == 24
    assert page.count("Bought centrally by your organization") == 15


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("category=Visio", 2),
        ("q=power+bi", 2),
        ("q=DIAGRAMS", 1),
        ("q=nothing+like+it", 0),
        ("category=None", 0),
    ],
)
def test_filters_and_search(client: Client, query: str, count: int) -> None:
    page = text(client.get(f"/products/?{query}", **NL))

    assert page.count("sk-prod") == count
    assert ("Nothing matches these filters." in page) is (count == 0)


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("de-DE,de;q=0.9", "Prices for Germany, in EUR, without VAT."),
        ("en-GB", "Prices for United Kingdom, in GBP, without VAT."),
        ("en", "Prices for United States, in USD, without sales tax."),
        ("pt", "Prices for Brazil, in BRL, without tax."),
        ("fr-FR", "Nothing is sold in your country yet."),
        ("", "Prices differ by country."),
        ("*", "Prices differ by country."),
        ("x" * 4000, "Prices differ by country."),
    ],
)
def test_the_country_comes_from_the_language_never_from_the_address(
    client: Client, language: str, line: str
) -> None:
    assert line in text(client.get("/products/", headers={"accept-language": language}))


def test_the_picker_remembers_a_country_and_goes_back(client: Client) -> None:
    answer = client.post(
        "/products/country/", {"market": "GB", "next": "/products/power-bi-pro/?plan=yearly"}
    )

    assert answer.headers["Location"] == "/products/power-bi-pro/?plan=yearly"
    assert client.cookies["market"].value == "GB"
    assert "£8.10" in text(client.get("/products/power-bi-pro/", **NL))


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", ""])
def test_the_picker_goes_nowhere_else(client: Client, back: str) -> None:
    answer = client.post("/products/country/", {"market": "GB", "next": back})

    assert answer.headers["Location"] == "/products/"


@pytest.mark.parametrize("code", ["", "XX", "nl", "NL; DROP", "\x00\x00"])
def test_an_unknown_country_is_not_remembered(client: Client, code: str) -> None:
    client.post("/products/country/", {"market": code})

    assert "market" not in client.cookies


def test_signed_in_the_country_is_the_organizations(client: Client) -> None:
    user = make_user(make_tenant(country="US", currency="USD"))
    signed_in = client_of(user)
    signed_in.cookies["market"] = "GB"

    page = text(signed_in.get("/products/power-bi-pro/", **NL))

    assert "$10.00" in page
    assert "Change country" not in page


def test_a_product_page_has_three_terms_tax_features_and_links(client: Client) -> None:
    page = text(client.get("/products/power-bi-pro/", **NL))

    assert [price in page for price in ("€9.40", "€8.65", "€8.46")] == [True, True, True]
    assert "Billed yearly, €101.50 at once" in page
    assert "€11.37 with 21% VAT. Renews each month until you stop it." in page
    assert "€122.82 with 21% VAT. Renews each year until you stop it." in page
    assert "You commit to 12 months." in page
    assert "Refresh up to eight times a day" in page
    assert page.count('rel="noopener external"') == 4
    assert 'action="/buy/power-bi-pro/"' in page


@pytest.mark.parametrize(
    ("slug", "language", "line"),
    [
        ("power-bi-pro", "fr-FR", "Not sold in your country"),
        ("power-bi-pro", "hi-IN", "Not sold by self-service in your country"),
        ("visio-plan-1", "pt-BR", "Not sold by self-service in your country"),
        ("viva-goals", "en-NL", "Not sold by self-service"),
        ("power-bi-pro", "", "Choose your country to see the price"),
    ],
)
def test_what_cannot_be_bought_says_so_and_offers_no_buying(
    client: Client, slug: str, language: str, line: str
) -> None:
    page = text(client.get(f"/products/{slug}/", headers={"accept-language": language}))

    assert line in page
    assert 'action="/buy/' not in page


def test_an_unknown_product_is_not_there(client: Client) -> None:
    assert client.get("/products/nothing/").status_code == 404
    assert client.get("/buy/nothing/").status_code == 404


def test_pages_carry_the_strict_policy_and_no_inline_style(client: Client) -> None:
    answer = client.get("/products/power-bi-pro/", **NL)

    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert "style=" not in text(answer)


def test_how_often_the_pages_ask_the_database(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4):  # markets, products, exclusions, prices
        client.get("/products/", **NL)
    with django_assert_num_queries(5):  # and partners' solutions
        client.get("/products/power-bi-pro/", **NL)


@pytest.mark.parametrize("path", ["/terms/", "/privacy/"])
def test_terms_and_privacy_are_public(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_signed_in_member_may_ask_the_organizations_admins_for_a_license(client: Client) -> None:
    contoso = make_tenant(name="Contoso")
    mike = make_user(contoso, name="Mike")
    guest = make_user(contoso, name="Nils", kind="guest")
    link = 'href="/my/requests/ask/visio-plan-2/"'

    nobody_decides = text(client_of(mike).get("/products/visio-plan-2/"))
    make_user(contoso, name="Lisa", roles=("license_admin",))

    assert link not in nobody_decides
    assert link in text(client_of(mike).get("/products/visio-plan-2/"))
    assert link not in text(client_of(guest).get("/products/visio-plan-2/"))
    assert link not in text(client.get("/products/visio-plan-2/"))
