"""Main pages in Dutch, whose words are longer: axe, the policy, on a phone; switching in the footer."""

from typing import Any

import pytest
from playwright.sync_api import expect

from config.kit.clock import now
from directory.models import User
from licensing.operations.assignments import assign_licenses
from tests.admin.browser import problems_of
from tests.factories import (
    actor_of,
    make_agreement,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
# Colors and what works without script are the same in every language.
LOOKS = ("desktop", "phone")


class Cast:
    """Contoso, which reads Dutch, with a purchase of Pat's and a central one."""

    def __init__(self) -> None:
        at = now()
        contoso = make_tenant(name="Contoso", language="nl")
        dutch = {"chosen_language": "nl"}
        self.gina = make_user(contoso, name="Gina de Vries", roles=("global_admin",), **dutch)
        self.pat = make_user(contoso, name="Pat Peters", purchaser_since=at, signed_in_at=at, **dutch)
        ann = make_user(contoso, name="Ann Alders", email="ann@contoso.example")
        make_agreement(contoso)
        self.own = make_self_service_subscription(self.pat, at=at)
        make_central_subscription(self.gina, plan=plan("visio-plan-1"), at=at)
        assign_licenses(actor=actor_of(self.pat), subscription_key=self.own.key, user_ids=[ann.pk], at=at)

    def pages(self) -> dict[str, tuple[User, str]]:
        products, own = "/admin/billing/your-products/", self.own.key
        return {
            "products": (self.gina, "/products/"),
            "product": (self.pat, "/products/power-bi-pro/"),
            "start": (self.pat, "/"),
            "my licenses": (self.pat, "/my/licenses/"),
            "language": (self.pat, "/my/language/"),
            "mails": (self.pat, "/my/notifications/"),
            "your products": (self.gina, products),
            "own products": (self.pat, products),
            "purchase": (self.pat, f"{products}{own}/"),
            "purchase of another": (self.gina, f"{products}{own}/"),
            "seats": (self.pat, f"{products}{own}/seats/"),
            "cancel": (self.pat, f"{products}{own}/cancel/"),
            "take over": (self.gina, f"{products}{own}/take-over/"),
            "bills": (self.gina, "/admin/billing/bills/"),
            "cards": (self.pat, "/admin/billing/payment-methods/"),
            "policy": (self.gina, "/admin/billing/policy/"),
            "licenses": (self.gina, "/admin/licenses/"),
            "requests": (self.gina, "/admin/requests/"),
            "centralize": (self.gina, "/admin/billing/centralize/"),
            "people": (self.gina, "/admin/people/"),
            "audit": (self.gina, "/admin/audit/"),
            "default language": (self.gina, "/admin/language/"),
        }


def test_main_pages_in_dutch_are_accessible_and_fit_a_phone(open_page: Any) -> None:
    problems = []

    for title, (user, address) in Cast().pages().items():
        for look in LOOKS:
            page = open_page(user, address, look)
            problems += problems_of(page, f"Dutch {title}", look)
            if page.locator("html").get_attribute("lang") != "nl":
                problems.append(f"{title}, {look}: not in Dutch")
            page.close()

    assert problems == []


def test_a_person_switches_in_the_footer_and_stays_on_the_page(open_page: Any) -> None:
    page = open_page(Cast().pat, "/my/licenses/", "phone")
    expect(page.get_by_role("heading", name="Mijn licenties")).to_be_visible()

    page.get_by_role("button", name="English").click()

    expect(page.get_by_role("heading", name="My licenses")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")
