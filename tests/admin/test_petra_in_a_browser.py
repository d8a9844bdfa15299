"""The demo's partner does for Contoso what her delegated roles allow, in Chromium, up to the moment it ends."""

from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from config.demo import data
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Relationship, Tenant, User
from directory.operations.jobs import run_jobs
from directory.operations.partners import end_relationship
from licensing.models import Assignment, Centralization
from tests.factories import actor_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def person(name: str) -> User:
    with use_login("worker"):
        return User.objects.get(email__startswith=f"{name}@", kind="member")


def tenant(name: str) -> Tenant:
    with use_login("worker"):
        return Tenant.objects.get(name=name)


def holds_centrally(user: User) -> bool:
    with tenant_atomic(user.tenant_id):
        rows = Assignment.objects.live().filter(user=user, subscription__channel="central")
        return rows.filter(subscription__product__slug="power-bi-pro").exists()


@pytest.mark.usefixtures("processor")
def test_petra_centralizes_for_contoso_and_from_the_end_on_nothing(open_page: Any) -> None:
    data.load(now())
    contoso, northwind = tenant("Contoso"), tenant("Northwind Partners")
    petra, pat, gina = person("petra"), person("pat"), person("gina")
    assert not holds_centrally(pat)

    page = open_page(petra, "/admin/customers/", "desktop")
    page.get_by_role("button", name="Act for Contoso").click()
    banner = page.get_by_role("region", name="Acting for a customer")
    expect(banner).to_contain_text(
        "You act for Contoso as Northwind Partners (billing admin, license admin) until"
    )
    page.get_by_role("link", name="Your products").click()
    page.get_by_role("checkbox", name="Centralize Power BI Pro of Pat Mulder").check()
    page.get_by_role("button", name="Centralize…").click()
    expect(banner).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Continue to the check").click()
    page.get_by_text("This can run. Nothing has changed yet.").wait_for()
    page.get_by_role("button", name="Centralize 1 purchase").click()
    page.get_by_text("It starts as soon as a worker is free.").wait_for()
    run_jobs(clock=now)
    page.get_by_role("link", name="Undo…").wait_for()

    assert holds_centrally(pat)
    with tenant_atomic(contoso.pk):
        assert Centralization.objects.get().started_by == "Petra Schmidt"
        moved = Subscription.objects.get(product__slug="power-bi-pro", channel="self-service")
        assert moved.owner_kind == "organization"
        trail = AuditEntry.objects.filter(tenant=contoso, actor_user_id=petra.pk)
        codes = set(trail.values_list("code", flat=True))
        assert {
            "directory.partner.acting_started",
            "directory.job.started",
            "commerce.subscription.taken_over",
        } <= codes
        assert set(trail.values_list("actor_tenant_id", "on_behalf_of")) == {
            (northwind.pk, "Northwind Partners: Contoso licensing")
        }
        relationship = Relationship.objects.get()
    with tenant_atomic(northwind.pk):
        own = AuditEntry.objects.filter(tenant=northwind, code="directory.partner.acting_started")
        assert own.get().target_id == str(relationship.key)

    end_relationship(actor=actor_of(gina, at=now()), key=relationship.key, at=now())
    page.get_by_role("link", name="Undo…").click()

    expect(banner).to_have_count(0)
    assert page.goto(page.url).status == 404
    page.goto(page.url.split("/admin/")[0] + "/admin/customers/")
    assert page.get_by_role("button", name="Act for Contoso").count() == 0
