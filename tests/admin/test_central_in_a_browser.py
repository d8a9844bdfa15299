"""Buying centrally and taking over in Chromium: no violation of axe, light, dark and on a phone, and a person's path."""

from datetime import timedelta
from typing import Any

import pytest

from commerce.operations.cancel_requests import ask_to_cancel
from config.kit.clock import real_now
from tests.admin.browser import LOOKS, problems_of
from tests.factories import (
    actor_of,
    make_agreement,
    make_bill,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_the_pages_of_central_buying_and_taking_over_are_clean_in_every_look(open_page: Any) -> None:
    contoso, fabrikam = make_tenant(name="Contoso"), make_tenant(name="Fabrikam")
    bill = make_user(contoso, name="Bill Bakker", roles=("billing_admin",))
    fiona = make_user(fabrikam, name="Fiona", roles=("global_admin",))
    for code in ("yearly-monthly", "monthly"):
        make_agreement(contoso, plan=plan("power-bi-pro", code))
    at = real_now() - timedelta(days=1)
    bought = make_self_service_subscription(make_user(contoso, name="Pat Peters"), at=at)
    make_bill(bought, at=at)
    other = make_self_service_subscription(make_user(fabrikam, name="Frank"), at=at)
    pia = make_user(contoso, name="Pia Post")
    asked = make_self_service_subscription(pia, at=at)
    ask_to_cancel(actor=actor_of(bill), key=asked.key, message="Use the central licenses.", at=at)
    central = make_central_subscription(bill, at=at)
    found: list[str] = []

    for title, who, address in (
        (
            "buy centrally",
            bill,
            "/admin/billing/buy/?product=power-bi-pro&plan=yearly-monthly&quantity=25&reference=CC+4711",
        ),
        ("buy centrally wrong", bill, "/admin/billing/buy/?product=power-bi-pro&quantity=x&when=later"),
        ("buy centrally first", bill, "/admin/billing/buy/"),
        ("buy centrally none", fiona, "/admin/billing/buy/"),
        ("take over", bill, f"/admin/billing/your-products/{bought.key}/take-over/"),
        ("take over not now", fiona, f"/admin/billing/your-products/{other.key}/take-over/"),
        ("ask to cancel", bill, f"/admin/billing/your-products/{bought.key}/ask-to-cancel/"),
        ("asked to cancel", bill, f"/admin/billing/your-products/{asked.key}/ask-to-cancel/"),
        ("nobody to ask", bill, f"/admin/billing/your-products/{central.key}/ask-to-cancel/"),
        ("purchase that was asked about", bill, f"/admin/billing/your-products/{asked.key}/"),
        ("own purchase that was asked about", pia, f"/admin/billing/your-products/{asked.key}/"),
        ("cancel what was asked about", pia, f"/admin/billing/your-products/{asked.key}/cancel/"),
        ("purchase to take over", bill, f"/admin/billing/your-products/{bought.key}/"),
    ):
        for look in LOOKS:
            found += problems_of(open_page(who, address, look), title, look)

    assert found == []
