"""The admin center's pages in Chromium: no violation of axe, no error of the policy, light, dark and on a phone."""

from typing import Any

import pytest

from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from tests.admin.browser import LOOKS, problems_of
from tests.factories import AT, make_relationship, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


class Cast:
    """Contoso as in the demo, small: Bill its billing admin, Pat a purchaser, Petra who acts for it."""

    def __init__(self) -> None:
        self.contoso: Tenant = make_tenant(name="Contoso")
        self.bill = make_user(self.contoso, name="Bill Bakker", roles=("billing_admin",))
        self.pat = make_user(self.contoso, name="Pat Peters", email="pat@contoso.example")
        dora = make_user(self.contoso, name="Dora de Vries", status="disabled")
        sam = make_user(self.contoso, name="Sam Sanders")
        self.bought = make_subscription(self.contoso, owner=self.pat, quantity=10, assigned=2)
        self.central = make_subscription(self.contoso, quantity=25)
        make_subscription(self.contoso, owner=dora, plan=plan("power-apps-per-user"), quantity=3)
        make_subscription(
            self.contoso,
            owner=self.pat,
            plan=plan("visio-plan-2"),
            quantity=2,
            state="expired",
            recurring_billing=False,
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("visio-plan-1"), quantity=1, recurring_billing=False
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("project-plan-1"), quantity=4, payment_failed_at=AT
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("project-plan-3"), state="disabled", recurring_billing=False
        )
        northwind = make_tenant(name="Northwind Partners")
        self.petra = make_user(northwind, name="Petra Pfeiffer")
        make_relationship(self.contoso, northwind, users=(self.petra,))
        with tenant_atomic(self.contoso.pk):
            for user in (self.pat, sam):
                Assignment.objects.create(
                    tenant=self.contoso,
                    subscription=self.bought,
                    user=user,
                    product_id=self.bought.product_id,
                    assigned_at=AT,
                    assigned_by="Pat Peters",
                )

    def pages(self) -> dict[str, tuple[User, str]]:
        products = "/admin/billing/your-products/"
        return {
            "full list": (self.bill, products),
            "own list": (self.pat, products),
            "own detail": (self.pat, f"{products}{self.bought.key}/"),
            "full detail": (self.bill, f"{products}{self.bought.key}/"),
            "switch": (self.pat, f"{products}{self.bought.key}/recurring-billing/"),
            "partner list": (self.petra, products),
        }


def test_every_page_is_clean_in_every_look(open_page: Any):
    cast = Cast()
    found: list[str] = []

    for title, (user, address) in cast.pages().items():
        for look in LOOKS:
            page = open_page(user, address, look, acting_for=cast.contoso if user is cast.petra else None)
            found += problems_of(page, title, look)

    assert found == []
