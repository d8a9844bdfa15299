"""Paying something with another card, and letting that card pay the subscription from then on (product §5.6, §6)."""

import re
from datetime import timedelta
from typing import Any

import pytest

from commerce.gateways import Declined
from commerce.models import Bill, Card, Subscription, SubscriptionEvent
from commerce.operations.payments import ActionNeeded, pay_bill, pay_change, settle_attempts
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Tenant, User
from tests.commerce.test_pay_change import start
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_bill,
    make_card,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.processor import authenticate, card_token, charges, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

LATER = AT + timedelta(days=10)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bought(pat: User) -> Subscription:
    """Ten seats, paid by a Visa ending in 4242."""
    return make_self_service_subscription(pat)


@pytest.fixture
def failed(bought: Subscription) -> Bill:
    """A bill that the Visa could not pay."""
    return fail(bought)


def fail(subscription: Subscription) -> Bill:
    with tenant_atomic(subscription.tenant_id):
        bill = make_bill(
            subscription,
            tries=1,
            last_decline="insufficient_funds",
            decline_kind="soft",
            failed_at=AT,
            dunning_step=1,
            next_dunning_at=LATER + timedelta(days=1),
            charge_due_at=LATER + timedelta(days=1),
        )
        Subscription.objects.filter(pk=subscription.pk).update(payment_failed_at=AT)
    return bill


def pays(subscription: Subscription) -> str:
    """The last four digits of the card that pays it."""
    with use_login("worker"):
        return Subscription.objects.select_related("card").get(pk=subscription.pk).card.last4


def codes(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        rows = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return list(rows.values_list("code", flat=True))


def pay(who: User, bill: Bill, card: str = "pm_card_mastercard", **said: Any) -> object:
    return pay_bill(
        actor=actor_of(who), number=bill.number, confirmation_token=card_token(card), at=LATER, **said
    )


def test_the_card_that_pays_a_bill_pays_the_purchase_where_that_was_said(
    pat: User, bought: Subscription, failed: Bill
) -> None:
    pay(pat, failed, from_now_on=True)

    assert pays(bought) == "4444"
    assert codes(bought)[-2:] == ["payment_recovered", "card_changed"]


def test_unsaid_the_purchase_keeps_its_card(pat: User, bought: Subscription, failed: Bill) -> None:
    pay(pat, failed)

    assert pays(bought) == "4242"
    with tenant_atomic(pat.tenant_id):
        assert sorted(Card.objects.live().values_list("last4", flat=True)) == ["4242", "4444"]


def test_other_failed_bills_are_tried_with_it_at_once(pat: User, bought: Subscription, failed: Bill) -> None:
    other = fail(bought)

    pay(pat, failed, from_now_on=True)

    with use_login("worker"):
        assert Bill.objects.get(pk=other.pk).charge_due_at == LATER


def test_a_declined_card_becomes_nothing(pat: User, bought: Subscription, failed: Bill) -> None:
    with pytest.raises(Declined):
        pay(pat, failed, "pm_card_visa_chargeDeclinedInsufficientFunds", from_now_on=True)

    assert pays(bought) == "4242"
    with tenant_atomic(pat.tenant_id):
        assert Card.objects.live().count() == 1


def test_it_is_remembered_while_the_bank_asks_and_nobody_comes_back(
    pat: User, bought: Subscription, failed: Bill
) -> None:
    waiting = pay(pat, failed, "pm_card_threeDSecure2Required", from_now_on=True)
    assert isinstance(waiting, ActionNeeded)
    authenticate(intents()[0]["id"])

    with use_login("worker"):
        settle_attempts(LATER + timedelta(minutes=5))

    assert pays(bought) != "4242"
    assert charges() == 1


def test_a_former_owners_card_never_pays_the_new_owners_purchase(
    pat: User, bought: Subscription, failed: Bill, contoso: Tenant
) -> None:
    erik = make_user(contoso, name="Erik")
    card = make_card(contoso, erik, last4="1111")
    with use_login("worker"):
        Subscription.objects.filter(pk=bought.pk).update(owner_user=erik, card=card)

    pay(pat, failed, from_now_on=True)

    assert pays(bought) == "1111"


def test_the_card_that_pays_added_seats_pays_the_purchase_where_that_was_said(
    pat: User, bought: Subscription
) -> None:
    checkout = start(pat, bought)

    pay_change(
        actor=actor_of(pat),
        key=checkout.key,
        version=checkout.version,
        confirmation_token=card_token("pm_card_mastercard"),
        from_now_on=True,
        at=LATER,
    )

    assert pays(bought) == "4444"
    assert codes(bought)[-1] == "card_changed"


BOX = re.compile(r'name="from_now_on" value="yes"( checked)?')


def test_the_bills_page_offers_it_ticked_where_the_old_card_failed(pat: User, failed: Bill) -> None:
    text = client_of(pat).get(f"/admin/billing/bills/{failed.number}/pay/").text

    assert BOX.search(text)[1] == " checked"
    assert "Use this card for Power BI Pro from now on." in text


def test_the_bills_page_leaves_it_open_where_the_card_is_good(pat: User, bought: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        bill = make_bill(bought)

    text = client_of(pat).get(f"/admin/billing/bills/{bill.number}/pay/").text

    assert BOX.search(text)[1] is None


def test_after_a_refusal_the_page_keeps_what_was_said(pat: User, failed: Bill) -> None:
    client, page = client_of(pat), f"/admin/billing/bills/{failed.number}/pay/"
    token = card_token("pm_card_visa_chargeDeclinedInsufficientFunds")

    again = client.post(page, {"card": "new", "confirmation_token": token}, follow=True)

    assert "The card has not enough funds." in again.text
    assert BOX.search(again.text)[1] is None


def test_the_bills_page_pays_and_lets_the_card_pay_from_now_on(
    pat: User, bought: Subscription, failed: Bill
) -> None:
    posted = {
        "card": "new",
        "confirmation_token": card_token("pm_card_mastercard"),
        "from_now_on": "yes",
    }

    client_of(pat).post(f"/admin/billing/bills/{failed.number}/pay/", posted)

    assert pays(bought) == "4444"
