"""Asking the public register about a VAT number, over real HTTP (product §3.4)."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from commerce.gateways import vat_register
from commerce.models import BillTo
from commerce.operations.checkouts import BillingDetails, save_checkout
from config.kit.tenancy import tenant_atomic
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user, plan

NUMBER = "NL000099998B57"


class Register(BaseHTTPRequestHandler):
    """The register's REST interface, as far as it is used; `answers` by country and number."""

    answers: dict[str, Any] = {}
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        answer = self.answers.get(self.path.split("/ms/")[1], {"userError": "INVALID"})
        if answer == "slow":
            time.sleep(2)
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(500 if answer == "broken" else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@pytest.fixture
def register(settings: Any) -> Iterator[type[Register]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Register)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Register.answers, Register.asked = {"NL/vat/000099998B57": {"isValid": True, "userError": "VALID"}}, []
    settings.VAT_REGISTER_URL = f"http://127.0.0.1:{server.server_port}/rest-api"
    yield Register
    server.shutdown()
    server.server_close()


def test_says_what_the_register_says(register: type[Register]) -> None:
    assert vat_register.ask(NUMBER, country="NL") is True
    assert vat_register.ask("NL004495445B01", country="NL") is False
    assert register.asked == ["/rest-api/ms/NL/vat/000099998B57", "/rest-api/ms/NL/vat/004495445B01"]


@pytest.mark.parametrize(
    "answer", ["broken", "not json", [], {}, {"userError": "MS_UNAVAILABLE"}, {"userError": "TIMEOUT"}]
)
def test_an_answer_that_is_none_is_not_verified(register: type[Register], answer: Any) -> None:
    register.answers["NL/vat/000099998B57"] = answer

    assert vat_register.ask(NUMBER, country="NL") is None


def test_a_slow_register_holds_up_nobody(register: type[Register], settings: Any) -> None:
    settings.VAT_REGISTER_SECONDS = 1
    register.answers["NL/vat/000099998B57"] = "slow"
    began = time.monotonic()

    assert vat_register.ask(NUMBER, country="NL") is None
    assert time.monotonic() - began < 2


def test_only_its_own_states_are_asked_about(register: type[Register]) -> None:
    assert vat_register.ask("DE123456788", country="US") is None
    assert vat_register.ask("GB999999973", country="GB") is None
    assert register.asked == []


def test_greece_is_known_by_its_own_code(register: type[Register]) -> None:
    vat_register.ask("EL094259216", country="GR")

    assert register.asked == ["/rest-api/ms/EL/vat/094259216"]


def test_without_an_address_nothing_is_asked(register: type[Register], settings: Any) -> None:
    settings.VAT_REGISTER_URL = ""

    assert vat_register.ask(NUMBER, country="NL") is None
    assert register.asked == []


@pytest.mark.django_db
def test_a_checkout_asks_once_for_a_number(register: type[Register]) -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    billing = BillingDetails("Pat", "Keizersgracht 1", "1015 CJ", "Amsterdam", "NL", vat_number=NUMBER)

    for reference in ("", "PO 7"):
        saved = save_checkout(
            actor=actor_of(pat),
            key=checkout.key,
            plan=plan(),
            quantity=10,
            billing=BillingDetails(**{**vars_of(billing), "own_reference": reference}),
            takes_first_license=True,
            agrees_to_terms=True,
            seen_total_minor=checkout.total_minor,
            at=AT,
        )

    with tenant_atomic(pat.tenant_id):
        bill_to = BillTo.objects.get(pk=saved.bill_to_id)
    assert (bill_to.vat_is_verified, bill_to.own_reference) == (True, "PO 7")
    assert len(register.asked) == 1


def vars_of(billing: BillingDetails) -> dict[str, str]:
    return {name: getattr(billing, name) for name in BillingDetails.__slots__}
