"""The notice of a purchase and the ways it offers: each a page, and nothing happens before its button (product §3.5)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Bill, Subscription, SubscriptionEvent
from commerce.operations.cancel_requests import ask_to_cancel
from commerce.operations.notices import queue_purchase_notice
from commerce.operations.orders import Placed
from commerce.operations.reviews import NothingToKeep, keep_purchase
from commerce.operations.takeovers import take_over
from commerce.queries.takeovers import plan_take_over
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from policies.operations.policies import set_product_policy
from tests.factories import (
    actor_of,
    client_of,
    make_agreement,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
NOW = BOUGHT + timedelta(hours=2)


@pytest.fixture(autouse=True)
def _two_hours_later() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Groot", roles=("global_admin",))


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(contoso: Tenant, gina: User, bill: User) -> Subscription:
    """Pat's ten licenses, told to both admins."""
    made = make_self_service_subscription(make_user(contoso, name="Pat Peters"), at=BOUGHT)
    with tenant_atomic(contoso.pk):
        row = Subscription.objects.select_related("product", "plan", "purchaser").get(pk=made.pk)
        order_bill = Bill.objects.select_related("order", "vendor_entity").get(subscription=row)
        queue_purchase_notice(placed=Placed(order_bill.order, row, order_bill), at=BOUGHT)
    return made


def notice_of(user: User) -> OutgoingMail:
    with tenant_atomic(user.tenant_id):
        return OutgoingMail.objects.get(kind="purchase_notice", to_user_id=user.pk)


def page_of(user: User) -> str:
    response = client_of(user).get(f"/my/notices/{notice_of(user).pk}/")
    assert response.status_code == 200
    return " ".join(response.text.split())


def purchase(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def ways(page: str) -> set[str]:
    """The addresses of the buttons below the notice."""
    return set(re.findall(r'<a class="sk-btn" href="([^"]+)"', page))


def events(subscription: Subscription) -> list[tuple[str, str]]:
    with tenant_atomic(subscription.tenant_id):
        rows = SubscriptionEvent.objects.filter(subscription=subscription, code="kept").order_by("id")
        return list(rows.values_list("code", "actor_label"))


def audited(user: User) -> int:
    with tenant_atomic(user.tenant_id):
        return AuditEntry.objects.count()


def test_the_notice_offers_the_ways_and_each_is_a_page_that_changes_nothing(
    gina: User, bought: Subscription
) -> None:
    make_agreement(gina.tenant)
    browser, page, before = client_of(gina), page_of(gina), audited(gina)

    for address in ways(page):
        assert browser.get(address).status_code == 200, address

    assert "Pat Peters bought Power BI Pro" in page
    assert ways(page) == {
        f"{purchase(bought)}keep/",
        f"{purchase(bought)}ask-to-cancel/",
        f"{purchase(bought)}take-over/",
        "/admin/billing/policy/products/power-bi-pro/stop/",
    }
    assert audited(gina) == before
    with tenant_atomic(gina.tenant_id):
        assert Subscription.objects.get(pk=bought.pk).version == bought.version
    assert events(bought) == []


def test_the_mail_leads_to_the_same_pages_in_both_of_its_parts(gina: User, bought: Subscription) -> None:
    notice = notice_of(gina)
    message = message_of(notice)
    parts = (str(message.body), str(message.alternatives[0][0]))

    for part in parts:
        for path in (
            f"/my/notices/{notice.pk}/",
            purchase(bought),
            f"{purchase(bought)}keep/",
            f"{purchase(bought)}ask-to-cancel/",
            f"{purchase(bought)}take-over/",
            "/admin/billing/policy/products/power-bi-pro/stop/",
        ):
            assert path in part
        assert "Nothing changes before you decide there." in part


def test_a_link_of_the_mail_asks_to_sign_in_and_is_nobody_elses(
    contoso: Tenant, gina: User, bought: Subscription
) -> None:
    stranger = make_user(make_tenant(), roles=("global_admin",))
    member = make_user(contoso)
    addresses = [
        f"/my/notices/{notice_of(gina).pk}/",
        *(f"{purchase(bought)}{way}/" for way in ("keep", "ask-to-cancel", "take-over")),
    ]

    for address in addresses:
        assert Client().get(address)["Location"].startswith("/sign-in/")
        assert client_of(stranger).get(address).status_code == 404
        assert client_of(member).get(address).status_code == 404


def test_keeping_is_recorded_once_and_every_admin_sees_by_whom(
    gina: User, bill: User, bought: Subscription
) -> None:
    browser = client_of(bill)
    before = browser.get(f"{purchase(bought)}keep/").text

    done = browser.post(f"{purchase(bought)}keep/")
    again = keep_purchase(actor=actor_of(gina), key=bought.key, at=NOW + timedelta(hours=1))
    page = page_of(gina)

    assert "Pat Peters owns, manages and pays it." in before
    assert (done.status_code, done["Location"]) == (303, purchase(bought))
    assert (again.actor_label, again.at) == ("Bill Bakker", NOW)
    assert events(bought) == [("kept", "Bill Bakker")]
    assert "Bill Bakker looked at it on 10 Mar 2026 and kept it." in page
    assert f"{purchase(bought)}keep/" not in ways(page)
    assert "Bill Bakker looked at it" in browser.get(f"{purchase(bought)}keep/").text
    assert "Looked at by an admin and kept" in browser.get(purchase(bought)).text
    with tenant_atomic(gina.tenant_id):
        audit = AuditEntry.objects.get(code="commerce.subscription.kept")
        assert (audit.actor_label, audit.target_id) == ("Bill Bakker", str(bought.key))


def test_who_may_not_decide_keeps_nothing(contoso: Tenant, bought: Subscription) -> None:
    reader = make_user(contoso, roles=("global_reader",))
    with tenant_atomic(contoso.pk):
        pat = User.objects.get(name="Pat Peters")

    for user, refusal, status in ((reader, NotAllowed, 403), (pat, NotAllowed, 403)):
        with pytest.raises(refusal):
            keep_purchase(actor=actor_of(user), key=bought.key, at=NOW)
        assert client_of(user).post(f"{purchase(bought)}keep/").status_code == status
    with pytest.raises(NotVisible):
        keep_purchase(actor=actor_of(make_user(contoso)), key=bought.key, at=NOW)

    assert events(bought) == []


def test_a_partner_with_the_role_may_keep_it_and_is_named(contoso: Tenant, bought: Subscription) -> None:
    partner = make_tenant(name="Northwind")
    petra = make_user(partner, name="Petra Prins")
    make_relationship(
        contoso, partner, roles=("billing_admin",), users=(petra,), ends_at=NOW + timedelta(days=30)
    )

    done = client_of(petra, contoso).post(f"{purchase(bought)}keep/", {"shown_for_tenant": contoso.pk})

    assert done.status_code == 303
    assert [code for code, _label in events(bought)] == ["kept"]
    assert "Petra Prins (Northwind" in events(bought)[0][1]


def test_what_is_the_organizations_already_is_not_kept(gina: User, bought: Subscription) -> None:
    make_agreement(gina.tenant)
    with tenant_atomic(gina.tenant_id):
        row = Subscription.objects.get(pk=bought.pk)
        seen = plan_take_over(row).seen
    take_over(actor=actor_of(gina), key=bought.key, version=row.version, seen=seen, at=NOW)
    browser = client_of(gina)

    with pytest.raises(NothingToKeep):
        keep_purchase(actor=actor_of(gina), key=bought.key, at=NOW)
    refused = browser.post(f"{purchase(bought)}keep/")
    page = page_of(gina)

    assert refused.status_code == 409
    assert "It belongs to Contoso now." in page
    assert ways(page) == {"/admin/billing/policy/products/power-bi-pro/stop/"}
    assert events(bought) == []


def test_stopping_says_whom_it_affects_and_saves_by_its_button(
    gina: User, bill: User, bought: Subscription
) -> None:
    browser, address = client_of(gina), "/admin/billing/policy/products/power-bi-pro/stop/"
    page = " ".join(browser.get(address).text.split())
    form = dict(re.findall(r'name="((?:was:)?product:[^"]+)" value="([^"]*)"', page))

    saved = browser.post("/admin/billing/policy/", {"action": "save", **form}, follow=True)

    assert "1 person, 10 licenses" in page
    assert saved.status_code == 200
    assert "Nobody can buy Power BI Pro by themselves any more." in page_of(bill)
    assert browser.get(address)["Location"] == "/admin/billing/policy/products/power-bi-pro/"


def test_stopping_is_not_there_for_who_may_not_change_the_policy(
    contoso: Tenant, bought: Subscription
) -> None:
    reader = make_user(contoso, roles=("global_reader",))
    address = "/admin/billing/policy/products/power-bi-pro/stop/"

    assert client_of(reader).get(address).status_code == 403
    assert client_of(make_user(contoso)).get(address).status_code == 404
    assert client_of(make_user(contoso, roles=("billing_admin",))).post(address).status_code == 405


def test_an_admin_who_lost_the_role_reads_the_notice_and_has_no_way_to_act(
    gina: User, bought: Subscription
) -> None:
    make_user(gina.tenant, roles=("global_admin",))
    with tenant_atomic(gina.tenant_id):
        gina.role_assignments.all().delete()

    page = page_of(gina)

    assert "Pat Peters bought Power BI Pro" in page
    assert "What you can do" not in page
    assert purchase(bought) not in page


def test_who_was_asked_to_cancel_is_named_on_every_admins_notice(
    gina: User, bill: User, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(gina), key=bought.key, at=NOW)

    page = page_of(bill)

    assert "Pat Peters was asked by Gina Groot on 10 Mar 2026." in page
    assert "See the request" in page


def test_where_the_product_is_stopped_the_notice_says_so(gina: User, bought: Subscription) -> None:
    with tenant_atomic(gina.tenant_id):
        product = Subscription.objects.select_related("product").get(pk=bought.pk).product
    set_product_policy(actor=actor_of(gina), product_keys=[product.key], value="Disabled", at=NOW)

    page = page_of(gina)

    assert "Nobody can buy Power BI Pro by themselves any more." in page
    assert not any("/stop/" in address for address in ways(page))
