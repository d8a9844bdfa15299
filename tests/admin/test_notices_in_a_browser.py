"""The inbox, the notice of a purchase and its pages in Chromium: axe, the policy, light, dark, on a phone."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Bill, Subscription
from commerce.operations.notices import queue_purchase_notice
from commerce.operations.orders import Placed
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, User
from directory.operations.mail import queue_mail
from tests.admin.browser import LOOKS, problems_of
from tests.factories import make_agreement, make_self_service_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


class Cast:
    """Contoso, where Pat bought two products, told to Gina; Gina read of the first. Mike was told nothing."""

    def __init__(self) -> None:
        at = now()
        contoso = make_tenant(name="Contoso")
        make_agreement(contoso)
        self.gina = make_user(
            contoso, name="Gina Groot", email="gina@contoso.example", roles=("global_admin",)
        )
        self.mike = make_user(contoso, name="Mike Mulder")
        pat = make_user(contoso, name="Pat Peters", email="pat@contoso.example")
        for slug, days in (("power-bi-pro", 2), ("visio-plan-1", 0)):
            self.bought = make_self_service_subscription(pat, plan=plan(slug), at=at - timedelta(days=days))
            self._tell(self.bought, at - timedelta(days=days))
        with tenant_atomic(contoso.pk):
            queue_mail(
                "job_finished",
                event_key="export",
                to=[self.gina],
                tenant_id=contoso.pk,
                context={
                    "title": "Export of your products",
                    "organization": "Contoso",
                    "is_done": True,
                    "done": 5200,
                    "failed": 0,
                    "has_file": True,
                    "link": "/admin/jobs/",
                },
                at=at - timedelta(hours=3),
            )
            notices = OutgoingMail.objects.filter(kind="purchase_notice").order_by("id")
            self.first, self.second = notices
            notices.filter(pk=self.first.pk).update(read_at=at)

    @staticmethod
    def _tell(bought: Subscription, at: Any) -> None:
        with tenant_atomic(bought.tenant_id):
            row = Subscription.objects.select_related("product", "plan", "purchaser").get(pk=bought.pk)
            bill = Bill.objects.select_related("order", "vendor_entity").get(subscription=row)
            queue_purchase_notice(placed=Placed(bill.order, row, bill), at=at)

    def pages(self) -> dict[str, tuple[User, str]]:
        purchase = f"/admin/billing/your-products/{self.bought.key}/"
        return {
            "inbox": (self.gina, "/my/notices/"),
            "inbox of a topic": (self.gina, "/my/notices/?topic=purchases&unread=1"),
            "inbox empty": (self.mike, "/my/notices/"),
            "notice": (self.gina, f"/my/notices/{self.second.pk}/"),
            "notifications": (self.gina, "/my/notifications/"),
            "keep": (self.gina, f"{purchase}keep/"),
            "stop": (self.gina, "/admin/billing/policy/products/visio-plan-1/stop/"),
            "purchase with bell": (self.gina, purchase),
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


def test_an_admin_walks_from_the_bell_to_keeping_a_purchase_without_script(open_page: Any) -> None:
    cast = Cast()
    page = open_page(cast.gina, "/my/licenses/", "no script")

    page.get_by_role("link", name="Notices, 2 unread").click()
    page.get_by_role("link", name="Pat Peters bought Visio Plan 1").first.click()
    page.get_by_role("link", name="Keep…").click()
    page.get_by_role("button", name="Keep it").click()
    page.goto(page.url.split("/admin/")[0] + f"/my/notices/{cast.second.pk}/")

    expect(page.get_by_text("Gina Groot looked at it on")).to_be_visible()
    expect(page.get_by_role("link", name="Notices, 1 unread")).to_be_visible()
