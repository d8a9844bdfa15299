"""What a request says of its own host, scheme and way is believed as far as the settings say, and no further
(reliability §6, HTTP; reliability §7, trusted proxies)."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from config.kit.rate import _valkey
from tests.factories import caller_with, client_of, make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db

FORGED = [
    "evil.example",
    "EVIL.EXAMPLE",
    "evil.example:80",
    "evil.example:443",
    "localhost.evil.example",
    "testserver.evil.example",
    "evil.testserver",
    ".testserver",
    "testserver.evil",
    "testserver@evil.example",
    "evil.example@testserver",
    "testserver:80@evil.example",
    "testserver:evil",
    "testserver:80:80",
    "testserver evil.example",
    "testserver,evil.example",
    "testserver;evil.example",
    "testserver/evil.example",
    "testserver\\evil.example",
    "testserver?evil.example",
    "testserver#evil.example",
    "testserver%2eevil.example",
    "testserver%00.evil.example",
    "testserver\x00.evil.example",
    "testserver\t",
    "testserver\n",
    "testserver\r\nX-Forged: yes",
    "test\u200bserver",
    "\uff54estserver",
    "testserver\u3002evil.example",
    "te\u017ftserver",
    "*",
    "*.testserver",
    "testserver*",
    "http://testserver",
    "//testserver",
    "[::1]",
    "[::1]:8000",
    "[::ffff:127.0.0.1]",
    "[testserver]",
    "0",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.2",
    "169.254.169.254",
    "metadata.google.internal",
    "10.0.0.1",
    "-testserver",
    "testserver..",
    "_",
    "a" * 300 + ".example",
    "testserver" * 100,
    "<script>alert(1)</script>",
    "' OR 1=1 --",
    "${jndi:ldap://evil.example/}",
    "{{7*7}}",
    "() { :;}; echo",
    "xn--tstserver-kdb",
]
ADDRESSES = (
    "/",
    "/products/",
    "/sign-in/",
    "/my/accounts/",
    "/admin/",
    "/operator/",
    "/no/such/page/",
    "/healthz",
)
CALLS = ("/api/v1.0/purchases", "/scim/v2/Users", "/api/v1.0/no/such/call")


@pytest.fixture(autouse=True)
def _no_tries_yet() -> None:
    cache.clear()
    _valkey().flushdb()


def test_there_are_sixty_forged_hosts() -> None:
    assert len(set(FORGED)) == len(FORGED) >= 60


@pytest.mark.parametrize("host", FORGED, ids=ascii)
def test_a_forged_host_is_400_everywhere_and_says_nothing_of_itself(host: str) -> None:
    pat = make_user(make_tenant(), roles=("global_admin",))
    visitor, member, caller = Client(), client_of(pat), caller_with(token_of(pat))

    answers = [browser.get(path, HTTP_HOST=host) for browser in (visitor, member) for path in ADDRESSES]
    posted = member.post("/sign-out/", {"shown_for_tenant": pat.tenant_id}, HTTP_HOST=host)
    called = [caller.get(path, HTTP_HOST=host) for path in CALLS]

    assert {answer.status_code for answer in (*answers, posted, *called)} == {400}
    assert {answer["Content-Type"].split(";")[0] for answer in answers} == {"text/html"}
    assert {answer["Content-Type"] for answer in called} == {
        "application/problem+json",
        "application/scim+json",
    }
    for answer in (*answers, posted, *called):
        assert "Location" not in answer
        assert len(host) < 4 or host not in answer.text
        assert not answer.cookies
    assert member.get("/my/accounts/").status_code == 200  # nobody was signed out


@pytest.mark.parametrize("host", ["testserver", "testserver:80", "TestServer", "127.0.0.1"])
def test_the_own_host_is_served(host: str) -> None:
    assert Client().get("/products/", HTTP_HOST=host).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *("X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "X-HTTP-Host-Override", "X-Original-Host"),
        *("Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path"),
        *("X-Forwarded-Port", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "Front-End-Https", "X-Url-Scheme"),
        *("X-Tenant-ID", "X-Tenant", "X-User", "X-Remote-User", "Remote-User", "X-Forwarded-User"),
        *("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Script-Name", "Path-Info"),
    ],
)
def test_no_other_header_says_where_or_who_or_what_a_request_is(header: str) -> None:
    contoso, other = make_tenant(), make_tenant(name="ZQ-B")
    pat, stranger = make_user(contoso), make_user(other, roles=("global_admin",))
    values = ("evil.example", "//evil.example", "/admin/", "https", "DELETE", str(other.pk), stranger.email)
    plain, visitor = client_of(pat), Client()
    expected = {
        path: (plain.get(path).status_code, visitor.get(path).status_code, plain.get(path).get("Location"))
        for path in ("/my/accounts/", "/admin/", "/products/")
    }

    for value in values:
        told: Any = {header: value}
        for path, (mine, anybodys, location) in expected.items():
            answer, anonymous = plain.get(path, headers=told), visitor.get(path, headers=told)
            assert (answer.status_code, anonymous.status_code) == (mine, anybodys), value
            assert answer.get("Location") == location
            for each in (answer, anonymous):
                assert "evil.example" not in each.text + str(each.headers)
                assert "ZQ-B" not in each.text


def test_where_a_request_is_mounted_is_not_said_by_the_request() -> None:
    """Some servers take SCRIPT_NAME from a header; addresses are made without it."""
    answer = Client().get("/my/accounts/", SCRIPT_NAME="//evil.example")

    assert "evil.example" not in answer.get("Location", "") + answer.text
    assert reverse("directory:sign-in") == "/sign-in/"


# --- Which scheme ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_behind_proxy", "proto", "is_secure"),
    [
        (False, "https", False),
        (False, "https, http", False),
        (True, "https", True),
        (True, "http", False),
        (True, "", False),
        (True, "HTTPS ", False),
        (True, "http, https", False),
        (True, "ftp", False),
    ],
)
def test_the_scheme_is_believed_only_of_a_proxy_that_the_settings_name(
    settings: Any, is_behind_proxy: bool, proto: str, is_secure: bool
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if is_behind_proxy else None

    answer = Client().get("/products/", headers={"X-Forwarded-Proto": proto})

    assert answer.status_code == (200 if is_secure else 301)
    assert is_secure or answer["Location"] == "https://testserver/products/"


@pytest.mark.parametrize("host", ["evil.example", "testserver@evil.example", ".testserver"])
def test_the_way_to_https_is_not_made_of_a_forged_host(settings: Any, host: str) -> None:
    settings.SECURE_SSL_REDIRECT = True

    answer = Client().get("/products/", HTTP_HOST=host, HTTP_X_FORWARDED_HOST=host)

    assert (answer.status_code, "Location" in answer) == (400, False)


# --- Whose address --------------------------------------------------------------------------------------------


def tries(proxies: int, forwarded: list[str], settings: Any) -> list[int]:
    """What six posts of the same address to the sign-in page are answered, each forwarded for somebody."""
    settings.TRUSTED_PROXIES = proxies
    return [
        Client().post("/sign-in/", {"email": "a@b.example"}, headers={"X-Forwarded-For": seen}).status_code
        for seen in forwarded
    ]


def test_a_forged_forwarded_for_does_not_get_around_a_limit(settings: Any) -> None:
    forged = [f"198.51.100.{n}" for n in range(6)]

    without_proxy = tries(0, forged, settings)
    cache.clear()
    _valkey().flushdb()
    behind_one = tries(1, [f"{each}, 192.0.2.7" for each in forged], settings)

    assert without_proxy[-1] == behind_one[-1] == 429
    assert 429 not in without_proxy[:5] + behind_one[:5]


def test_people_behind_a_trusted_proxy_are_told_apart(settings: Any) -> None:
    assert 429 not in tries(1, [f"203.0.113.9, 198.51.100.{n}" for n in range(6)], settings)


# --- Links ----------------------------------------------------------------------------------------------------


def test_nothing_of_ours_makes_a_link_from_the_requests_host() -> None:
    """Links in mails and pages are made of `PUBLIC_URL`, so no test of one mail has to be repeated for each."""
    asks = re.compile(
        r"build_absolute_uri|get_host\b|get_port\b|get_current_site|get_raw_uri|HTTP_HOST|SERVER_NAME"
    )
    found = [
        f"{path.relative_to(configured.BASE_DIR)}: {line.strip()}"
        for folder in ("config", "directory", "policies", "commerce", "licensing", "templates")
        for path in sorted(Path(configured.BASE_DIR, folder).rglob("*"))
        if path.suffix in (".py", ".html", ".txt") and "config/demo/" not in path.as_posix()
        for line in path.read_text().splitlines()
        if asks.search(line)
    ]

    assert found == []
