"""Centralizing in Chromium: no violation of axe, light, dark and on a phone, and a person's path."""

from datetime import timedelta
from typing import Any

import pytest

from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.operations.jobs import run_jobs
from licensing.models import Centralization
from tests.admin.browser import LOOKS, problems_of
from tests.factories import make_self_service_subscription, make_tenant, make_user, plan
from tests.licensing.crowd import buy_for, central_of, holders, make_people, start

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_every_step_is_clean_in_every_look(open_page: Any) -> None:
    contoso = make_tenant(name="Contoso")
    bill = make_user(contoso, name="Bill Bakker", roles=("billing_admin",))
    at = real_now() - timedelta(days=1)
    target, small = central_of(bill, at=at), central_of(bill, quantity=1, at=at)
    pat, uma = make_user(contoso, name="Pat Peters"), make_user(contoso, name="Uma Usman")
    first = buy_for(pat, make_people(contoso, 5), at=at)
    second = buy_for(uma, make_people(contoso, 2, first=20), at=at)
    make_self_service_subscription(pat, plan=plan("visio-plan-2"), at=at)
    done = start(bill, [second], target, at=real_now())
    run_jobs(clock=real_now)
    running = start(bill, [buy_for(make_user(contoso, name="Rhea Rossi"), [], at=at)], target, at=real_now())
    way = "/admin/billing/centralize/"
    check = f"{way}check/?purchase={first.key}&target="
    found: list[str] = []

    for title, address in (
        ("centralize products", way),
        ("centralize purchases", f"{way}?purchase={first.key}"),
        ("centralize target", f"{way}target/?purchase={first.key}"),
        ("centralize check", f"{check}{target.key}&ends_now=1"),
        ("centralize check ask", f"{check}{target.key}&ending=ask"),
        ("centralize check obstacle", f"{check}{small.key}"),
        ("centralize moved", f"{way}{done.key}/"),
        ("centralize running", f"{way}{running.key}/"),
        ("centralize undo", f"{way}{done.key}/undo/"),
        ("your products with ticks", "/admin/billing/your-products/"),
    ):
        for look in LOOKS:
            found += problems_of(open_page(bill, address, look), title, look)

    assert found == []


def test_a_purchase_is_centralized_and_that_is_undone_by_hand(open_page: Any) -> None:
    contoso = make_tenant(name="Contoso")
    bill = make_user(contoso, name="Bill Bakker", roles=("billing_admin",))
    at = real_now() - timedelta(days=1)
    target = central_of(bill, at=at)
    bought = buy_for(make_user(contoso, name="Pat Peters"), make_people(contoso, 2), at=at)

    page = open_page(bill, "/admin/billing/your-products/", "desktop")
    page.get_by_role("checkbox", name="Centralize Power BI Pro of Pat Peters").check()
    page.get_by_role("button", name="Centralize…").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Continue to the check").click()
    page.get_by_text("This can run. Nothing has changed yet.").wait_for()
    page.get_by_role("button", name="Centralize 1 purchase").click()
    page.get_by_text("It starts as soon as a worker is free.").wait_for()
    run_jobs(clock=real_now)
    page.get_by_role("link", name="Undo…").wait_for()
    assert len(holders(target)) == 3
    page.get_by_role("link", name="Undo…").click()
    page.get_by_role("button", name="Undo it").click()
    run_jobs(clock=real_now)
    page.get_by_text("Holders, owners and cards are as before.").wait_for()

    assert holders(target) == set()
    assert len(holders(bought)) == 3
    with tenant_atomic(contoso.pk):
        assert Centralization.objects.get().state == "undone"
