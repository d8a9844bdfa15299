"""Totals, licenses by product and by purchaser, and jobs in Chromium: axe, the policy, light, dark, on a phone."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Job, JobRow, User
from licensing.operations.assignments import assign_licenses
from tests.admin.browser import LOOKS, problems_of
from tests.axe import violations
from tests.factories import (
    actor_of,
    make_bill,
    make_central_subscription,
    make_job,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PRODUCTS, LICENSES = "/admin/billing/your-products/", "/admin/licenses/"


class Cast:
    """Contoso with half a year of bills, a colleague who holds a license, a job that runs and one that stopped."""

    def __init__(self) -> None:
        at = now()
        contoso = make_tenant(name="Contoso")
        self.bill = make_user(contoso, name="Bill Bakker", roles=("billing_admin",))
        self.pat = make_user(
            contoso, name="Pat Peters", email="pat@contoso.example", purchaser_since=at, signed_in_at=at
        )
        ann = make_user(contoso, name="Ann Alders", email="ann@contoso.example")
        own = make_self_service_subscription(self.pat, at=at)
        central = make_central_subscription(self.bill, plan=plan("visio-plan-1"), at=at)
        for month in range(1, 6):
            make_bill(central, at=at - timedelta(days=31 * month))
            if month < 4:
                make_bill(own, at=at - timedelta(days=31 * month))
        assign_licenses(actor=actor_of(self.pat), subscription_key=own.key, user_ids=[ann.pk], at=at)
        self.running = make_job(
            self.bill,
            title="Your products as XLSX",
            total=9,
            done=5,
            failed=1,
            state="running",
            started_at=at,
        )
        self.stopped = make_job(
            self.bill,
            title="Assigning licenses",
            state="failed",
            reason="Bill Bakker, who started it, no longer has the right that it needs.",
            finished_at=at,
        )
        with tenant_atomic(contoso.pk):
            JobRow.objects.bulk_create(
                JobRow(
                    tenant=contoso,
                    job=self.running,
                    number=number,
                    subject=f"person-{number}@contoso.example",
                    code="no_seat" if number == 4 else "done",
                    message="No license is free." if number == 4 else "",
                    is_failed=number == 4,
                )
                for number in range(1, 7)
            )
            self.jobs = Job.objects.count()

    def pages(self) -> dict[str, tuple[User, str]]:
        return {
            "totals": (self.bill, PRODUCTS),
            "totals narrowed": (
                self.bill,
                f"{PRODUCTS}?left=1&within=45&owner=purchaser&purchaser={self.pat.key}",
            ),
            "totals alone": (self.bill, f"{PRODUCTS}totals/"),
            "own list": (self.pat, PRODUCTS),
            "by product": (self.bill, f"{LICENSES}by-product/"),
            "by purchaser": (self.bill, f"{LICENSES}by-purchaser/"),
            "purchaser": (self.bill, f"{LICENSES}by-purchaser/{self.pat.key}/"),
            "job running": (self.bill, f"/admin/jobs/{self.running.key}/"),
            "job stopped": (self.bill, f"/admin/jobs/{self.stopped.key}/"),
            "jobs": (self.bill, "/admin/jobs/"),
        }


def test_every_page_is_accessible_and_keeps_to_its_policy(open_page: Any) -> None:
    cast = Cast()
    problems = []

    for title, (user, address) in cast.pages().items():
        for look in LOOKS:
            page = open_page(user, address, look)
            problems += problems_of(page, title, look)
            page.close()

    assert problems == []


def test_saved_views_are_kept_without_script(open_page: Any) -> None:
    cast = Cast()
    page = open_page(cast.bill, f"{PRODUCTS}?left=1", "no script")
    page.get_by_text("Save view…").click()
    page.get_by_label("Name for what is shown now").fill("Gone people")

    page.get_by_role("button", name="Save view").click()

    expect(page.get_by_role("link", name="Gone people")).to_have_attribute("aria-current", "true")
    assert page.get_by_role("link", name="Gone people").get_attribute("href") == "?left=1"


def test_a_large_export_is_followed_on_its_page(open_page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from directory.operations.jobs import run_jobs
    from licensing.views import exporting

    monkeypatch.setattr(exporting, "AT_ONCE", 1)
    cast = Cast()
    with tenant_atomic(cast.bill.tenant_id):
        Job.objects.filter(pk=cast.running.pk).update(state="canceled", finished_at=now())
    page = open_page(cast.bill, PRODUCTS, "desktop")
    page.get_by_role("button", name="Export CSV").click()
    page.get_by_text("You may leave this page").wait_for()

    run_jobs(clock=now)
    page.get_by_role("link", name="Download").wait_for(timeout=10_000)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"your-products-{now():%Y-%m-%d}.csv"


def test_ticks_are_counted_all_set_and_cleared(open_page: Any) -> None:
    cast = Cast()
    make_self_service_subscription(cast.pat, plan=plan("visio-plan-2"), at=now())
    page = open_page(cast.bill, PRODUCTS, "desktop")
    bar = page.locator("#centralize")
    boxes = page.locator('input[name="purchase"]')
    expect(bar.get_by_role("button", name="Centralize…")).to_be_hidden()

    boxes.first.check()
    expect(bar.get_by_role("status")).to_have_text("1 selected")
    bar.get_by_role("button", name="Select all 2").click()
    expect(bar.get_by_role("status")).to_have_text("2 selected")
    expect(boxes.last).to_be_checked()
    assert violations(page) == []
    bar.get_by_role("button", name="Clear").click()
    expect(bar.get_by_role("status")).to_be_hidden()
    expect(boxes.first).not_to_be_checked()

    boxes.first.check()
    bar.get_by_role("button", name="Centralize…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Centralize")
    expect(page.locator('input[name="purchase"]:checked')).to_have_count(1)
