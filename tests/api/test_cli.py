"""The command line against a running server, as a program of its own (product §16)."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from commerce.models import Agreement
from config.kit.tenancy import tenant_atomic
from licensing.models import Assignment
from tests.factories import make_subscription, make_tenant, make_user, plan, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

POWER_APPS = "CFQ7TTC0LH2H"


@pytest.fixture
def seatkeeper(live_server: Any, tmp_path: Path) -> Any:
    """Run a command; `token` and `url` may be others, or none at all."""

    def run(*arguments: str, token: str = "", url: str = live_server.url, typed: str = "") -> Any:
        environment = {
            "PATH": os.environ["PATH"],
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "HOME": str(tmp_path),
            **({"SEATKEEPER_URL": url, "SEATKEEPER_TOKEN": token} if token else {}),
        }
        return subprocess.run(
            [sys.executable, "-m", "config.cli", *arguments],
            cwd=settings.BASE_DIR,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_policies_are_listed_read_and_set(seatkeeper: Any) -> None:
    token = token_of(make_user(make_tenant(), roles=("global_admin",)))

    listed = seatkeeper("policies", "list", token=token)
    changed = seatkeeper("policies", "set", POWER_APPS, "block", "--json", token=token)
    read = seatkeeper("policies", "get", POWER_APPS, token=token)
    as_json = json.loads(seatkeeper("policies", "list", "--json", token=token).stdout)

    assert listed.returncode == 0
    assert any("Power Apps per user" in line and "Enabled" in line for line in listed.stdout.splitlines())
    assert json.loads(changed.stdout)["policyValue"] == "Disabled"
    assert "Disabled" in read.stdout
    assert {i["productId"]: i["policyValue"] for i in as_json["items"]}[POWER_APPS] == "Disabled"


def test_exit_codes_tell_what_was_wrong(seatkeeper: Any) -> None:
    tenant = make_tenant()
    admin = token_of(make_user(tenant, roles=("global_admin",)))
    reader = token_of(make_user(tenant, roles=("global_reader",)))

    ended = {
        "usage": seatkeeper("policies", "list", "--nothing", token=admin),
        "no connection": seatkeeper("policies", "list"),
        "bad token": seatkeeper("policies", "list", token="x"),
        "role too low": seatkeeper("policies", "set", POWER_APPS, "block", token=reader),
        "not there": seatkeeper("policies", "get", "CFQ7TTC00000", token=admin),
        "bad value": seatkeeper("policies", "set", POWER_APPS, "perhaps", token=admin),
        "no server": seatkeeper("policies", "list", token=admin, url="http://127.0.0.1:9"),
    }

    assert {why: each.returncode for why, each in ended.items()} == {
        "usage": 2,
        "no connection": 3,
        "bad token": 3,
        "role too low": 4,
        "not there": 5,
        "bad value": 7,
        "no server": 8,
    }
    for why, each in ended.items():
        assert each.stdout == "", why
        assert each.stderr.strip(), why
        assert "Traceback" not in each.stderr, why
        assert admin not in each.stderr, why


def test_connect_tries_the_token_and_keeps_it_for_its_owner_alone(
    seatkeeper: Any, live_server: Any, tmp_path: Path
) -> None:
    token = token_of(make_user(make_tenant(), roles=("global_admin",)))
    kept = tmp_path / "config" / "seatkeeper" / "connection.json"

    refused = seatkeeper("connect", live_server.url, "--token", "seatkeeper_pat_x")
    nothing_kept = not kept.exists()
    connected = seatkeeper("connect", live_server.url + "/", typed=token + "\n")
    listed = seatkeeper("policies", "list")

    assert (refused.returncode, nothing_kept) == (3, True)
    assert (connected.returncode, listed.returncode) == (0, 0), connected.stderr
    assert token not in connected.stdout + connected.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_purchases_are_listed_exported_and_canceled(seatkeeper: Any, tmp_path: Path) -> None:
    tenant = make_tenant()
    gina = make_user(tenant, name="=HYPERLINK(1)", roles=("global_admin",), purchaser_since=None)
    purchase = make_subscription(tenant)
    make_subscription(tenant, owner=gina)
    token = token_of(gina)
    file = tmp_path / "all.csv"

    listed = seatkeeper("purchases", "list", "--channel", "central", token=token)
    exported = seatkeeper("purchases", "export", "--to", str(file), token=token)
    asked = seatkeeper("purchases", "cancel", str(purchase.key), token=token, typed="n\n")
    canceled = seatkeeper("purchases", "cancel", str(purchase.key), "--yes", "--json", token=token)
    again = seatkeeper("purchases", "cancel", str(purchase.key), "--yes", token=token)

    assert str(purchase.key) in listed.stdout
    assert "EUR / month" in listed.stdout
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {row["id"] for row in rows} >= {str(purchase.key)}
    assert len(rows) == 2
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert exported.stdout == ""
    assert asked.returncode == 6
    assert "is not renewed" in asked.stderr
    assert (canceled.returncode, json.loads(canceled.stdout)["recurringBilling"]) == (0, False)
    assert again.returncode == 6


def test_licenses_are_given_and_taken_back_by_list(seatkeeper: Any) -> None:
    tenant = make_tenant()
    gina = make_user(tenant, email="gina@contoso.example", roles=("global_admin",))
    make_user(tenant, email="mike@contoso.example")
    purchase = make_subscription(tenant)
    token = token_of(gina)

    given = seatkeeper("licenses", "assign", str(purchase.key), "gina@contoso.example", token=token)
    partly = seatkeeper(
        *("licenses", "assign", str(purchase.key), "-", "--json"),
        token=token,
        typed="mike@contoso.example\nnobody@contoso.example\n",
    )
    with tenant_atomic(tenant.pk):
        held = Assignment.objects.live().count()
    taken = seatkeeper("licenses", "unassign", str(purchase.key), "mike@contoso.example", token=token)

    assert (given.returncode, partly.returncode, held, taken.returncode) == (0, 9, 2, 0)
    assert [item["outcome"] for item in json.loads(partly.stdout)["items"]] == ["assigned", "unknown"]
    assert "1 of 2 done" in partly.stderr


def test_a_file_is_imported_a_thousand_people_a_call_and_each_has_an_outcome(
    seatkeeper: Any, tmp_path: Path
) -> None:
    contoso = make_tenant()
    token = token_of(make_user(contoso, roles=("license_admin",)))
    purchase = make_subscription(contoso)
    known = [make_user(contoso, email=f"p{n}@contoso.example") for n in range(2)]
    rows = [f"Nobody;n{n}@contoso.example" for n in range(1_100)]
    file = tmp_path / "people.csv"
    file.write_text("\n".join(["Name;E-mail", *rows, *(f'"Known, one";{each.email}' for each in known)]))

    given = seatkeeper("licenses", "import", str(purchase.key), str(file), "--json", token=token)
    again = seatkeeper("licenses", "import", str(purchase.key), str(file), "--json", token=token)
    taken = seatkeeper("licenses", "import", str(purchase.key), str(file), "--take-back", token=token)

    first, second = json.loads(given.stdout), json.loads(again.stdout)
    assert (given.returncode, again.returncode, taken.returncode) == (9, 9, 9)
    assert [item["outcome"] for item in first["items"]] == ["unknown"] * 1_100 + ["assigned"] * 2
    assert [item["outcome"] for item in second["items"][-2:]] == ["holds_license"] * 2
    assert "2 of 1102 done." in taken.stderr
    with tenant_atomic(contoso.pk):
        assert Assignment.objects.live().count() == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names nobody"),
        (b"caf\xe9@x.example\n", "not text in UTF-8"),
        (b'"open\n', "not CSV"),
        (b"p@x.example\n" * 1_000_000, "larger than 10 MB"),
        (b"p@x.example\n" * 100_001, "more than 100,000"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_called(
    seatkeeper: Any, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "people.csv"
    if content is not None:
        file.write_bytes(content)

    answer = seatkeeper("licenses", "import", "x", str(file), token="none", url="http://127.0.0.1:9")

    assert answer.returncode == 7
    assert said in answer.stderr


def test_it_offers_completion_and_says_what_each_command_does(seatkeeper: Any) -> None:
    helped = seatkeeper("--help")

    assert helped.returncode == 0
    for word in ("connect", "policies", "purchases", "licenses", "--install-completion"):
        assert word in helped.stdout


def test_it_imports_nothing_of_the_installation() -> None:
    names = "{name.split('.')[0] for name in sys.modules}"
    code = f"import sys, config.cli.main; print({names} & {{'django', 'directory', 'policies', 'commerce'}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"


@pytest.fixture
def breaking(live_server: Any) -> Iterator[Any]:
    """A server before the server: what it is given comes through, and the first answer to a POST is lost."""
    keys: list[str] = []

    class Passing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.passed()

        def do_POST(self) -> None:
            self.passed()

        def passed(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            names = ("Authorization", "Content-Type", "Idempotency-Key")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            answer = httpx.request(
                self.command, live_server.url + self.path, headers=headers, content=body, timeout=60
            )
            if self.command == "POST":
                keys.append(self.headers["Idempotency-Key"])
                if len(keys) == 1:
                    self.close_connection = True
                    return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *unused: Any) -> None:
            """Not on the test's screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", keys
    server.shutdown()
    server.server_close()


def test_a_lost_answer_is_asked_for_again_and_takes_effect_once(seatkeeper: Any, breaking: Any) -> None:
    address, keys = breaking
    tenant = make_tenant()
    mike = make_user(tenant, email="mike@contoso.example")
    central = make_subscription(tenant)
    token = token_of(make_user(tenant, roles=("global_admin",)))

    given = seatkeeper("licenses", "assign", str(central.key), mike.email, "--json", token=token, url=address)

    assert given.returncode == 0, given.stderr
    assert json.loads(given.stdout)["items"][0]["outcome"] == "assigned"
    assert (len(keys), len(set(keys))) == (2, 1)
    with tenant_atomic(tenant.pk):
        assert Assignment.objects.live().count() == 1


def test_somebody_asks_and_an_admin_answers(seatkeeper: Any) -> None:
    tenant = make_tenant()
    admin = token_of(make_user(tenant, roles=("global_admin",)))
    mike = make_user(tenant, name="Mike", email="mike@contoso.example")
    make_subscription(tenant, quantity=1)
    power_bi = plan("power-bi-pro").product.key

    asked = seatkeeper(
        "requests", "ask", power_bi, "--reason", "For the tenders.", "--json", token=token_of(mike)
    )
    listed = seatkeeper("requests", "list", token=admin)
    key = json.loads(asked.stdout)["id"]
    approved = seatkeeper("requests", "approve", key, "--message", "Enjoy.", token=admin)
    again = seatkeeper("requests", "reject", key, "--message", "No.", token=admin)

    assert any("Mike" in line and "For the tenders." in line for line in listed.stdout.splitlines())
    assert (approved.returncode, again.returncode) == (0, 6)
    assert "approved" in approved.stdout
    with tenant_atomic(tenant.pk):
        assert Assignment.objects.live().get().user_id == mike.pk


def test_a_purchase_is_taken_over_after_saying_what_it_costs(seatkeeper: Any) -> None:
    tenant = make_tenant()
    admin = token_of(make_user(tenant, roles=("global_admin",)))
    bought = make_subscription(tenant, owner=make_user(tenant), quantity=10)
    with tenant_atomic(tenant.pk):
        Agreement.objects.create(tenant=tenant, name="Agreement", payment_days=30)

    refused = seatkeeper("purchases", "take-over", str(bought.key), token=admin, typed="n\n")
    done = seatkeeper("purchases", "take-over", str(bought.key), "--yes", "--json", token=admin)

    assert refused.returncode == 6
    assert (
        "The organization pays 94.00 EUR a billing period without tax, on account, 30 days." in refused.stderr
    )
    assert json.loads(done.stdout)["owner"] == "organization"
