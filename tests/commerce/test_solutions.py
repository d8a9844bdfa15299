"""Partners' solutions: sent in, approved by the vendor, shown beside the product (product §12)."""

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client

from commerce.models import Solution
from commerce.operations.solutions import (
    SolutionDecided,
    TooManySolutions,
    decide_solution,
    send_in_solution,
    withdraw_solution,
)
from commerce.queries.solutions import solutions_of
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import AuditEntry, Domain
from tests.factories import (
    actor_of,
    client_of,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/customers/solutions/"


@pytest.fixture
def northwind():
    return make_tenant(name="Northwind", domain="northwind.test")


@pytest.fixture
def petra(northwind):
    petra = make_user(northwind, name="Petra", roles=("global_admin",))
    make_relationship(make_tenant(name="Contoso"), northwind, roles=("global_admin",), users=(petra,))
    return petra


def send_in(petra, at, **changed):
    facts = {
        "product": "power-bi-pro",
        "title": "Reports in a day",
        "description": "We build your first report with you.",
        "url": "https://www.northwind.test/reports",
    }
    return send_in_solution(actor=actor_of(petra), at=at, **(facts | changed))


def approve(solution, at):
    return decide_solution(key=solution.key, is_approved=True, staff="olga", at=at)


def titles(slug="power-bi-pro"):
    return [each.title for each in solutions_of(product(slug))]


def states(tenant):
    with tenant_atomic(tenant.pk):
        return list(Solution.objects.order_by("pk").values_list("state", flat=True))


def test_what_is_sent_in_is_shown_only_once_the_vendor_approves_it(petra, northwind, at):
    solution = send_in(petra, at)
    assert titles() == []

    approve(solution, at)

    (shown,) = solutions_of(product())
    assert shown == (
        "Northwind",
        "Reports in a day",
        "We build your first report with you.",
        "https://www.northwind.test/reports",
    )
    assert titles("visio-plan-1") == []
    with tenant_atomic(northwind.pk):
        rows = AuditEntry.objects.filter(target_type="solution").order_by("pk")
        assert [(row.code, row.actor_label) for row in rows] == [
            ("commerce.solution.sent_in", "Petra"),
            ("commerce.solution.approved", "olga"),
        ]


def test_everybody_sees_it_at_the_product_and_beside_its_purchases(petra, at):
    approve(send_in(petra, at, title="Reports & more"), at)
    fabrikam = make_tenant(name="Fabrikam")
    gina = make_user(fabrikam, roles=("global_admin",))
    pat = make_user(fabrikam, name="Pat")
    bought = make_self_service_subscription(pat)
    other = make_subscription(fabrikam)

    for client, address in (
        (Client(), "/products/power-bi-pro/"),
        (client_of(gina), "/products/power-bi-pro/"),
        (client_of(gina), f"/admin/billing/your-products/{other.key}/"),
        (client_of(pat), f"/admin/billing/your-products/{bought.key}/"),
    ):
        text = client.get(address).text
        assert "Reports &amp; more" in text, address
        assert 'href="https://www.northwind.test/reports" rel="noopener nofollow external"' in text
        assert "By Northwind" in text
    assert "Reports &amp; more" not in Client().get("/products/visio-plan-1/").text


def test_what_was_declined_or_withdrawn_is_not_shown(petra, northwind, at):
    declined, withdrawn = send_in(petra, at), send_in(petra, at)
    decide_solution(key=declined.key, is_approved=False, staff="olga", answer="Off topic.", at=at)
    approve(withdrawn, at)

    for _again in range(2):
        withdraw_solution(actor=actor_of(petra), key=withdrawn.key, at=at)

    assert titles() == []
    assert states(northwind) == ["declined", "withdrawn"]


def test_of_a_suspended_partner_nothing_is_shown(petra, northwind, at):
    approve(send_in(petra, at), at)
    with tenant_atomic(northwind.pk):
        northwind.standing = "suspended"
        northwind.save(update_fields=["standing"])

    assert titles() == []


def test_a_decision_is_final_and_a_refusal_has_a_reason(petra, northwind, at):
    solution = send_in(petra, at)
    with pytest.raises(Malformed):
        decide_solution(key=solution.key, is_approved=False, staff="olga", at=at)
    approve(solution, at)

    with pytest.raises(SolutionDecided):
        decide_solution(key=solution.key, is_approved=False, staff="olga", answer="No.", at=at)

    assert states(northwind) == ["approved"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://www.northwind.test/",
        "https://northwind.example/",
        "https://evil-northwind.test/",
        "https://northwind.test.evil.test/",
        "https://petra@northwind.test/",
        "https://petra:x@northwind.test/",
        "https://northwind.test:8443/",
        "https://northwind.test\\@evil.test/",
        "https://evil.test/#.northwind.test",
        "javascript:alert(1)//northwind.test",
        "https:northwind.test",
        "//northwind.test/",
        "https://northwind.test/\n",
        "https://127.0.0.1/",
        "https://northwind.test/" + "a" * 500,
    ],
)
def test_only_an_https_address_of_a_proved_domain_is_taken(petra, northwind, at, url):
    if url.endswith("\n"):
        url = "https://northwind.test/\nx"
    with pytest.raises(Malformed) as error:
        send_in(petra, at, url=url)

    assert error.value.field == "url"
    assert states(northwind) == []


def test_a_domain_that_is_not_proved_yet_does_not_count(petra, northwind, at):
    with tenant_atomic(northwind.pk):
        Domain.objects.update(verified_at=None)

    with pytest.raises(Malformed):
        send_in(petra, at)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"product": "no-such"}, "product"),
        ({"title": " "}, "title"),
        ({"title": "t" * 101}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"description": ""}, "description"),
        ({"description": "d" * 501}, "description"),
    ],
)
def test_what_is_missing_is_named(petra, at, changed, field):
    with pytest.raises(Malformed) as error:
        send_in(petra, at, **changed)

    assert error.value.field == field


def test_only_global_admins_of_a_partner_at_home_publish(petra, northwind, at):
    solution = send_in(petra, at)
    contoso = actor_of(petra).tenant_id
    assert contoso == northwind.pk
    with tenant_atomic(northwind.pk):
        customer = make_tenant(name="Adatum")
    make_relationship(customer, northwind, roles=("global_admin",), users=(petra,))
    others = [
        actor_of(make_user(northwind)),
        actor_of(make_user(northwind, roles=("billing_admin",))),
        actor_of(make_user(make_tenant(), roles=("global_admin",))),
        actor_of(petra, customer),
    ]
    for actor in others:
        with pytest.raises(NotVisible):
            withdraw_solution(actor=actor, key=solution.key, at=at)
        with pytest.raises(NotVisible):
            send_in_solution(
                actor=actor, product="power-bi-pro", title="T", description="D", url="https://x.test", at=at
            )
    assert states(northwind) == ["waiting"]


def test_another_partner_does_not_withdraw_it(petra, northwind, at):
    solution = send_in(petra, at)
    other = make_tenant()
    rival = make_user(other, roles=("global_admin",))
    make_relationship(make_tenant(), other)

    with pytest.raises(NotVisible):
        withdraw_solution(actor=actor_of(rival), key=solution.key, at=at)

    assert states(northwind) == ["waiting"]


def test_a_partner_has_fifty_at_most(petra, monkeypatch, at):
    monkeypatch.setattr("commerce.operations.solutions.MOST", 1)
    first = send_in(petra, at)
    with pytest.raises(TooManySolutions):
        send_in(petra, at)

    withdraw_solution(actor=actor_of(petra), key=first.key, at=at)

    assert send_in(petra, at).state == "waiting"


def test_the_database_takes_no_other_address(petra, northwind, at):
    solution = send_in(petra, at)
    with tenant_atomic(northwind.pk), pytest.raises(IntegrityError) as error, atomic():
        Solution.objects.filter(pk=solution.pk).update(url="http://northwind.test/")

    assert error.value.__cause__.diag.constraint_name == "commerce_solution_https"


def test_the_page_sends_in_lists_and_withdraws(petra, northwind):
    client, shown = client_of(petra), {"shown_for_tenant": northwind.pk}
    refused = client.post(PAGE, shown | {"title": "Mine", "product": "power-bi-pro"})
    assert refused.status_code == 422
    assert 'value="Mine"' in refused.text

    sent = client.post(
        PAGE,
        shown
        | {"title": "Mine", "product": "power-bi-pro", "description": "D", "url": "https://northwind.test/"},
    )

    assert sent.status_code == 303
    assert "Waiting for the vendor" in client.get(PAGE).text
    with tenant_atomic(northwind.pk):
        key = Solution.objects.get().key
    client.post(f"{PAGE}{key}/withdraw/", shown)
    assert states(northwind) == ["withdrawn"]


def test_staff_list_approve_and_decline_by_command(petra, northwind, at, capsys):
    first, second = send_in(petra, at), send_in(petra, at, title="Second")

    call_command("solution", "list")
    assert f"{first.key}  Northwind, Power BI Pro: Reports in a day" in capsys.readouterr().out
    call_command("solution", "approve", str(first.key), staff="olga")
    call_command("solution", "decline", str(second.key), answer="Off topic.", staff="olga")
    call_command("solution", "list")

    assert "No solution waits." in capsys.readouterr().out
    assert states(northwind) == ["approved", "declined"]
    with pytest.raises(CommandError):
        call_command("solution", "approve", str(first.key))
    with pytest.raises(CommandError):
        call_command("solution", "approve")
