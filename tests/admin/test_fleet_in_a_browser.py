"""All customers side by side in Chromium: no violation of axe in any look, and a person's path from a template to a job."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.jobs import run_jobs
from directory.queries import customers_of
from policies.models import PolicyChange
from policies.operations import policies as operations
from policies.operations.policies import change_policies
from policies.operations.templates import create_template
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_relationship, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/customers/drift/"


def serve(petra: User, name: str, *, roles: tuple[str, ...] = ("billing_admin",), **fields: Any) -> Tenant:
    customer, at = make_tenant(name=name, **fields), now()
    dates = {"starts_at": at - timedelta(days=1), "ends_at": at + timedelta(days=300)}
    make_relationship(customer, petra.tenant, roles=roles, users=(petra,), **dates)
    return customer


def change(customer: Tenant, *changes: Any) -> None:
    bill = make_user(customer, name="Bill Bakker", roles=("billing_admin",))
    change_policies(actor=actor_of(bill, at=now()), changes=changes, at=now())


def test_every_page_is_clean_in_every_look(open_page: Any) -> None:
    petra = make_user(make_tenant(name="Northwind Partners"), name="Petra Richter")
    contoso = serve(petra, "Contoso")
    change(contoso, operations.default_for_all("OnlyTrialsWithoutPaymentMethod"))
    serve(petra, "Fabrikam", currency="USD")
    serve(petra, "Tailwind Traders", roles=("global_reader",), currency="GBP")
    serve(petra, "Bellows College", kind="education")
    said = {
        "default": "OnlyTrialsWithoutPaymentMethod",
        "new_products": "Ask",
        f"product:{product().key}": "OnlyTrialsWithoutPaymentMethod",
        f"product:{product('power-apps-per-user').key}": "Disabled",
        f"product:{product('project-plan-3').key}": "Disabled",
        "cap": {"basis": "person_month", "amounts": {"EUR": 5000, "USD": 5000}},
    }
    template = create_template(actor=actor_of(petra, at=now()), name="Careful start", said=said, at=now())
    found = customers_of(home_tenant_id=petra.tenant_id, user_id=petra.pk, at=now())
    served = next(each for each in found if each.name == "Contoso")
    of_template = reverse("portal:fleet-template", args=[template.key])
    without = make_user(make_tenant(name="Partner without"))
    serve(without, "Litware")
    problems: list[str] = []

    for title, user, address in (
        ("drift", petra, PAGE),
        ("drift none", without, PAGE),
        ("drift nothing found", petra, f"{PAGE}?q=nobody"),
        ("template new", petra, f"{PAGE}new/"),
        ("template edit", petra, f"{of_template}edit/"),
        ("template delete", petra, f"{of_template}delete/"),
        ("drift customer", petra, f"{of_template}{served.relationship_key}/"),
        (
            "drift apply",
            petra,
            "".join([f"{of_template}apply/?", *(f"customer={c.tenant_id}&" for c in found)]),
        ),
    ):
        for look in LOOKS:
            problems += problems_of(open_page(user, address, look), title, look)

    assert problems == []


def test_a_template_is_made_and_applied_by_hand(open_page: Any) -> None:
    petra = make_user(make_tenant(name="Northwind Partners"), name="Petra Richter")
    contoso, fabrikam = serve(petra, "Contoso"), serve(petra, "Fabrikam")
    change(contoso, operations.default_for_all("Disabled"))

    page = open_page(petra, PAGE, "desktop")
    page.get_by_role("main").get_by_role("link", name="Make a template…").click()
    page.get_by_label("Name").fill("As Contoso")
    page.get_by_label("Begin with").select_option(label="What Contoso has now")
    page.get_by_role("button", name="Make the template").click()
    page.get_by_label("For products that are new in the catalogue").select_option(
        label="Ask an admin each time"
    )
    page.get_by_role("button", name="Save the template").click()
    expect(page.get_by_text("Saved as version 2.")).to_be_visible()
    page.get_by_role("link", name="Tick all that differ").click()
    expect(page.get_by_label("Choose Fabrikam")).to_be_checked()
    page.get_by_role("button", name="Apply the template…").click()
    expect(page.get_by_role("heading", name="If you apply it")).to_be_visible()
    page.get_by_label("Why (optional)").fill("As agreed in March.")
    page.get_by_role("button", name="Apply to 2 customers").click()
    expect(page.get_by_role("heading", name="Apply As Contoso to 2 customers")).to_be_visible()
    run_jobs(clock=now)
    page.reload()
    expect(page.get_by_text("2 of 2 done").first).to_be_visible()
    page.goto(page.url.split("/admin/")[0] + PAGE)
    expect(page.get_by_role("row", name="Fabrikam")).to_contain_text("Ask an admin each time")

    with tenant_atomic(fabrikam.pk):
        found = list(
            PolicyChange.objects.filter(tenant=fabrikam).order_by("id").values_list("target", "actor_label")
        )
    assert found == [("default", "Petra Richter"), ("new_products", "Petra Richter")]
