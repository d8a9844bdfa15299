"""Which addresses lead to where a product runs, read as a browser reads them (docs/embed.md, reliability §6)."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.addresses import is_origin, is_path, leads_into
from tests.access.hostile_addresses import HOSTILE

APP = "https://app.example"
TEXTS = [form for form in HOSTILE if isinstance(form, str)]


@pytest.mark.parametrize(
    "text", [APP, "https://a.b.example:8443", "https://xn--bcher-kva.example", "https://app1"]
)
def test_an_https_origin_is_one(text: str) -> None:
    assert is_origin(text, allows_loopback=False)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "app.example",
            "http://app.example",
            "https://",
            "https://app.example/",
            "https://app.example/x",
        ),
        *("HTTPS://app.example", "https://App.example", "https://app.example:443", "https://app.example:0"),
        *(
            "https://app.example:65536",
            "https://app.example:",
            "https://u@app.example",
            "https://app.example.",
        ),
        *(
            "https://-app.example",
            "https://app..example",
            "https://*.example",
            "https://äpp.example",
            "null",
            "*",
        ),
        *("https://app.example\n", " https://app.example", "https://app.example?x", "https://app.example#x"),
        *("javascript:alert(1)", "https://" + "a" * 64 + ".example", "https://" + "a." * 150 + "example"),
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_origin(text, allows_loopback=True)


@pytest.mark.parametrize("text", ["http://127.0.0.1:8106", "http://localhost", "http://localhost:3000"])
def test_this_machine_is_one_in_a_demo_alone(text: str) -> None:
    assert is_origin(text, allows_loopback=True)
    assert not is_origin(text, allows_loopback=False)


@pytest.mark.parametrize("text", ["http://127.0.0.1:80", "http://127.0.0.2", "http://localhost.evil.example"])
def test_no_other_machine_is_one_without_tls(text: str) -> None:
    assert not is_origin(text, allows_loopback=True)


@pytest.mark.parametrize("path", ["/", "/app", "/app/", "/a-b_c~d/%20/"])
def test_a_path_can_be_registered(path: str) -> None:
    assert is_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "app",
        "/a/../b",
        "/%2E%2e/",
        "/./",
        "/a?x",
        "/a#x",
        "/a b",
        "/a\\b",
        "/%2f/",
        "/%5C/",
        "/" + "a" * 200,
    ],
)
def test_a_path_that_leads_elsewhere_cannot(path: str) -> None:
    assert not is_path(path)


@pytest.mark.parametrize(
    "address", [f"{APP}/app/", f"{APP}/app", f"{APP}/app/x?y=/z#//w", f"{APP}/app?x", f"{APP}/app/a/b%20c"]
)
@pytest.mark.parametrize("path", ["/app"])
def test_what_is_at_the_path_or_below_it_leads_there(address: str, path: str) -> None:
    assert leads_into(address, origin=APP, path=path)


@pytest.mark.parametrize(
    "address",
    [
        *(APP, f"{APP}/", f"{APP}/apple", f"{APP}/app/../x", f"{APP}/app/%2e%2E/x", f"{APP}/app/./x"),
        *(f"{APP}/app/%2fx", f"{APP}/app/..%5Cx", f"{APP}/app\\..\\x", f"{APP}\\/app/", f"{APP}:443/app/"),
        *(
            f"{APP}.evil.example/app/",
            f"{APP}@evil.example/app/",
            f"{APP}:x@evil.example/app/",
            f" {APP}/app/",
        ),
        *(
            "http://app.example/app/",
            "HTTPS://app.example/app/",
            "https://APP.example/app/",
            "//app.example/app/",
        ),
        *(
            "/app/",
            f"{APP}/app/\n",
            f"{APP}/app/\t",
            f"{APP}/app/ü",
            f'{APP}/app/"',
            f"{APP}/app/<",
            f"{APP}/app/`",
        ),
        f"{APP}/app/{'a' * 500}",
    ],
)
def test_what_only_looks_like_it_does_not(address: str) -> None:
    assert not leads_into(address, origin=APP, path="/app")


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_no_hostile_form_leads_there_alone_or_behind_the_origin(form: str) -> None:
    assert not leads_into(form, origin=APP, path="/")
    for joined in (f"{APP}{form}", f"{APP}/{form}"):
        if leads_into(joined, origin=APP, path="/"):
            parts = urlsplit(joined)
            assert (parts.scheme, parts.netloc) == ("https", "app.example")


@given(st.text(max_size=60))
def test_whatever_stands_behind_it_is_still_the_origin(tail: str) -> None:
    if leads_into(APP + tail, origin=APP, path="/"):
        parts = urlsplit(APP + tail)
        assert (parts.scheme, parts.netloc) == ("https", "app.example")
