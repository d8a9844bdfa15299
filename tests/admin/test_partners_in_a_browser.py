"""Relationships in Chromium: no violation of axe, light, dark and on a phone, and a person's path on each side."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.models import Invitation, Relationship
from directory.operations.invitations import ask_for_relationship
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

CUSTOMERS, PARTNERS = "/admin/customers/", "/admin/relationships/"


def ask(petra: Any, domain: str) -> Invitation:
    at = real_now()
    return ask_for_relationship(
        actor=actor_of(petra, at=at),
        domain=domain,
        name="Contoso licensing",
        roles=("billing_admin", "license_admin", "user_admin"),
        days=365,
        message="As we agreed on the phone.\nPetra",
        extends=True,
        at=at,
    )


def test_every_page_is_clean_in_every_look(open_page: Any) -> None:
    contoso, northwind = make_tenant(name="Contoso", domain="contoso.test"), make_tenant(name="Northwind")
    gina = make_user(contoso, name="Gina de Vries", roles=("global_admin",))
    petra = make_user(northwind, name="Petra Schmidt", roles=("global_admin",))
    at = real_now()
    waiting = ask(petra, "contoso.test")
    running = make_relationship(
        contoso,
        northwind,
        users=(petra,),
        starts_at=at - timedelta(days=100),
        ends_at=at + timedelta(days=12),
        extends=True,
    )
    make_relationship(
        make_tenant(name="Fabrikam"),
        northwind,
        status="ended",
        starts_at=at - timedelta(days=100),
        ends_at=at - timedelta(days=1),
    )
    page, invitation = (reverse("portal:relationship", args=[each.key]) for each in (running, waiting))
    found: list[str] = []

    for title, user, address in (
        ("customers", petra, CUSTOMERS),
        ("customers none", make_user(make_tenant(), roles=("global_admin",)), CUSTOMERS),
        ("ask a customer", petra, f"{CUSTOMERS}ask/"),
        ("invitation of the partner", petra, invitation),
        ("relationship of the partner", petra, f"{page}?q=petra"),
        ("partners", gina, PARTNERS),
        ("partners none", make_user(make_tenant(), roles=("global_admin",)), PARTNERS),
        ("invitation of the customer", gina, invitation),
        ("relationship of the customer", gina, page),
        ("invitation closed", make_user(contoso), invitation),
    ):
        for look in LOOKS:
            found += problems_of(open_page(user, address, look), title, look)
    for look in LOOKS:
        acting = open_page(petra, page, look, acting_for=contoso)
        found += problems_of(acting, "relationship while acting", look)

    assert found == []


def test_a_relationship_is_asked_for_approved_given_used_and_ended_by_hand(open_page: Any) -> None:
    contoso, northwind = make_tenant(name="Contoso", domain="contoso.test"), make_tenant(name="Northwind")
    gina = make_user(contoso, name="Gina de Vries", roles=("global_admin",))
    petra = make_user(northwind, name="Petra Schmidt", roles=("global_admin",))

    partner = open_page(petra, f"{CUSTOMERS}ask/", "desktop")
    partner.get_by_label("Domain of the customer's mail addresses").fill("contoso.test")
    partner.get_by_label("Name of the relationship").fill("Contoso licensing")
    partner.get_by_label("Billing admin").check()
    partner.get_by_label("User admin").check()
    partner.get_by_role("button", name="Make the invitation").click()
    link = partner.get_by_label("Give this to a global admin of the customer").input_value()

    customer = open_page(gina, "/my/notices/", "desktop")
    customer.get_by_role("link", name="Go to it Northwind asks to act for Contoso").click()
    customer.goto(link)
    customer.get_by_label("User admin").uncheck()
    customer.get_by_role("button", name="Approve").click()
    customer.get_by_text("so nobody acts for you").wait_for()

    partner.reload()
    partner.get_by_role("searchbox", name="Find a person or group of yours").fill("petra")
    partner.get_by_role("button", name="Find").click()
    partner.get_by_role("button", name="Give Petra Schmidt").click()
    partner.get_by_text("They find the customer under Customers.").wait_for()
    partner.goto(link.split("/admin/")[0] + CUSTOMERS)
    partner.get_by_role("button", name="Act for Contoso").click()
    partner.get_by_role("region", name="Acting for a customer").wait_for()

    customer.reload()
    customer.get_by_role("link", name="End it now").click()
    customer.get_by_role("heading", name="If you end it").wait_for()
    assert problems_of(customer, "end a relationship", "desktop") == []
    customer.get_by_role("button", name="End the relationship").click()
    customer.get_by_text("From now on nobody of the partner can act here.").wait_for()
    partner.goto(link.split("/admin/")[0] + PARTNERS)
    partner.get_by_text("You can no longer act for that customer.").wait_for()

    assert partner.get_by_role("region", name="Acting for a customer").count() == 0
    with tenant_atomic(contoso.pk):
        made = Relationship.objects.get()
    assert (made.roles, made.status) == (["billing_admin"], "ended")
