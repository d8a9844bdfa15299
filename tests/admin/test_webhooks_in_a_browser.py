"""The webhooks pages in Chromium: registered, tested, clean in every look."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from config.kit.clock import now, real_now
from config.kit.tenancy import tenant_atomic
from directory.models import WebhookEndpoint
from directory.operations.audit import record
from directory.operations.webhook_sending import send_due
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_tenant, make_user
from tests.receiver import listening

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_a_webhook_is_registered_and_tested_in_the_browser(open_page: Any) -> None:
    gina = make_user(make_tenant(name="Contoso"), name="Gina Groot", roles=("global_admin",))
    with listening() as receiver:
        page = open_page(gina, "/admin/webhooks/", "desktop")
        problems = problems_of(page, "no webhooks", "desktop")
        page.get_by_label("What is it for?").fill("Ledger")
        page.get_by_label("Address").fill(receiver.url)
        page.get_by_label("bill.paid").check()
        page.get_by_label("license.assigned").check()
        page.get_by_role("button", name="Register the webhook").click()
        expect(page.get_by_role("textbox", name="Secret")).to_have_value(
            re.compile(r"^whsec_[A-Za-z0-9+/]{43}=$")
        )
        problems += problems_of(page, "new webhook", "no script")
        with tenant_atomic(gina.tenant_id):
            key = WebhookEndpoint.objects.get().key
        page.goto(page.url.split("/admin/")[0] + f"/admin/webhooks/{key}/")
        page.get_by_role("button", name="Send a test").click()
        expect(page.get_by_text("A test message is on its way.")).to_be_visible()
        for code in ("commerce.bill.paid", "licensing.license.assigned"):
            with tenant_atomic(gina.tenant_id):
                record(actor_of(gina), code, at=now(), target_type="subscription", target_id="x")
        receiver.answers = [204, 500]
        send_due(clock=now, real_clock=real_now)

        for look in LOOKS:
            for title, address in (("webhooks", "/admin/webhooks/"), ("webhook", f"/admin/webhooks/{key}/")):
                problems += problems_of(open_page(gina, address, look), title, look)

        assert problems == []
        assert len(receiver.came) == 3
