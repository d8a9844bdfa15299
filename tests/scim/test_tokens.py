"""Tokens for provisioning: who makes them, what they open, and what nothing else opens."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken, Tenant
from directory.operations.tokens import issue_service_token, use_token
from directory.scim import urls
from directory.tokens import SCOPES
from tests.access.test_rules import walk
from tests.factories import (
    AT,
    actor_of,
    caller_with,
    client_of,
    make_relationship,
    make_tenant,
    make_user,
    service_token_of,
    token_of,
)
from tests.scim.directory import ROOT, Directory, user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

CALLS = [
    (method, f"{ROOT}/{route}".replace("<str:key>", "00000000-0000-4000-8000-000000000000"))
    for pattern in urls.urlpatterns
    for route in [str(pattern.pattern).replace("<str:name>", "User")]
    for method in pattern.callback.access_rules
]


@pytest.mark.parametrize("scope", sorted(SCOPES.keys() - {"scim"}))
def test_a_token_for_anything_else_opens_no_call(contoso: Directory, scope: str) -> None:
    client = caller_with(service_token_of(contoso.gina, scope))
    before = contoso.everything()

    answers = {(method, path): client.generic(method, path, "{}") for method, path in CALLS}

    assert {answer.status_code for answer in answers.values()} == {403}
    assert {answer["Content-Type"] for answer in answers.values()} == {"application/scim+json"}
    assert contoso.everything() == before


def test_a_persons_token_and_session_and_nothing_open_no_call(contoso: Directory) -> None:
    clients = {"token": (caller_with(token_of(contoso.gina)), 403), "session": (client_of(contoso.gina), 401)}
    clients["nothing"] = (Client(), 401)

    for client, status in clients.values():
        answers = [client.generic(method, path, "{}") for method, path in CALLS]
        assert {answer.status_code for answer in answers} == {status}
        assert {answer["Content-Type"] for answer in answers} == {"application/scim+json"}


@pytest.mark.parametrize("state", ["revoked", "expired", "never made"])
def test_a_token_that_is_no_longer_good_opens_no_call(contoso: Directory, state: str) -> None:
    with tenant_atomic(contoso.tenant.pk):
        rows = ApiToken.objects.all()
        if state == "revoked":
            rows.update(revoked_at=AT)
        elif state == "expired":
            rows.update(created_at=AT.replace(year=2020), expires_at=AT.replace(year=2020, month=4))
        else:
            rows.delete()

    answer = contoso.get("/Users")

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["status"] == "401"


def test_a_token_for_provisioning_opens_no_other_call_and_no_page(contoso: Directory, settings: Any) -> None:
    settings.API_BURST = 10_000
    answers = []
    for name, route, callback in walk():
        rules = getattr(callback, "access_rules", {})
        if "scim/" in route or not any(rule.audience == "token" for rule in rules.values()):
            continue
        path = "/" + route.replace("<number>", "SK-NL-2026-000001") + "?user=x&product=y"
        for argument in ("policy_id", "product_id", "offer_type", "request_id", "purchase_id"):
            path = path.replace(f"<{argument}>", "00000000-0000-4000-8000-000000000000")
        answers += [(name, contoso.client.generic(method, path, "{}").status_code) for method in rules]

    assert len(answers) > 20
    assert {status for _name, status in answers} <= {403, 404}, answers
    assert contoso.client.get("/admin/people/").status_code == 302


def test_it_is_alone_on_its_token(contoso: Directory) -> None:
    for scopes in (("scim", "policies.read"), ("scim", "full")):
        with pytest.raises(Malformed):
            service_token_of(contoso.gina, *scopes)


@pytest.mark.parametrize(
    ("role", "refusal"),
    [
        ("billing_admin", NotAllowed),
        ("global_reader", NotAllowed),
        ("user_admin", NotVisible),
        ("license_admin", NotVisible),
    ],
)
def test_only_a_global_admin_makes_one(contoso: Directory, role: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        service_token_of(make_user(contoso.tenant, roles=(role,)), "scim")


def test_a_partner_makes_none(contoso: Directory) -> None:
    partner = make_tenant(name="Partner")
    petra = make_user(partner)
    make_relationship(contoso.tenant, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(NotVisible):
        issue_service_token(
            actor=actor_of(petra, contoso.tenant), name="x", scopes=["scim"], days=1, at=AT, real_at=AT
        )


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("create_token", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_whoever_runs_the_installation_prints_one_in_the_name_of_a_global_admin(contoso: Directory) -> None:
    secret = command("--user", contoso.gina.email, "--scope", "scim", "--name", "Entra")

    caller = use_token(secret=secret, at=AT, door="scim")
    assert secret.startswith("seatkeeper_svc_")
    assert (caller.scopes, caller.actor.user_id, caller.actor.label) == (
        {"scim"},
        None,
        f"Entra (…{secret[-4:]})",
    )
    assert caller_with(secret).get(f"{ROOT}/Users").status_code == 200


@pytest.mark.parametrize(
    "arguments", [("--scope", "scim", "--scope", "full"), ("--scope", "scim,bills.read")]
)
def test_the_command_makes_none_with_more_than_that(contoso: Directory, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        command("--user", contoso.gina.email, *arguments)


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_the_command_makes_none_for_somebody_else(contoso: Directory) -> None:
    uma = make_user(contoso.tenant, roles=("user_admin",))

    with pytest.raises(CommandError, match="no global admin"):
        command("--user", uma.email, "--scope", "scim")


def test_a_suspended_organization_reads_and_changes_nothing(contoso: Directory) -> None:
    with tenant_atomic(contoso.tenant.pk):
        Tenant.objects.update(standing=Tenant.Standing.SUSPENDED)

    assert contoso.get("/Users").status_code == 200
    assert contoso.post("/Users", user()).status_code == 403


def test_more_calls_than_the_limit_wait(contoso: Directory, settings: Any) -> None:
    settings.SCIM_PER_SECOND, settings.SCIM_BURST = 0.1, 3

    answers = [contoso.get("/Users") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3]["Retry-After"]) > 0
    assert answers[3].json()["status"] == "429"


def test_the_correlation_id_comes_back_and_is_in_the_trail(contoso: Directory) -> None:
    from directory.models import AuditEntry

    answer = contoso.post("/Users", user(), **{"x-ms-correlation-id": "cycle-7"})

    assert answer["x-ms-correlation-id"] == "cycle-7"
    with tenant_atomic(contoso.tenant.pk):
        assert AuditEntry.objects.get(door="scim").correlation_id == "cycle-7"


def test_an_address_that_is_not_there_is_a_scim_error(contoso: Directory) -> None:
    for client in (contoso.client, Client()):
        answer = client.get(f"{ROOT}/Nothing")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/scim+json")
        assert answer.json()["detail"] == "Not found."
