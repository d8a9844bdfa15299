"""Cards and open bills, as somebody sees to them who pays and has nobody to ask (product §5.6, §6)."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from commerce.models import Bill, Card, Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.browser.test_checkout import fill_card
from tests.browser.walking import Walk, buy, now_of, pass_by
from tests.factories import make_bill, make_tenant, make_user
from tests.processor import charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

both = pytest.mark.parametrize("look", ["desktop", "phone"])
MASTERCARD = "5555555555554444"


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(name="Contoso"), name="Pat Peters", email="pat@contoso.example")


def fail(subscription: Subscription) -> Bill:
    """A bill that its card could not pay yesterday."""
    yesterday = now() - timedelta(days=1)
    with tenant_atomic(subscription.tenant_id):
        bill = make_bill(
            subscription,
            at=yesterday,
            tries=1,
            last_decline="insufficient_funds",
            decline_kind="soft",
            failed_at=yesterday,
            dunning_step=1,
            next_dunning_at=now() + timedelta(days=2),
            charge_due_at=now() + timedelta(days=2),
        )
        Subscription.objects.filter(pk=subscription.pk).update(
            payment_failed_at=yesterday,
            next_try_at=now() + timedelta(days=2),
            pay_by_at=now() + timedelta(days=29),
        )
    return bill


def test_one_card_in_the_place_of_another_everywhere(walk: Walk, pat: User) -> None:
    first, second = (buy(pat, quantity=count, at=now() - timedelta(days=10)) for count in (10, 3))
    page = walk(pat, "phone", "/admin/billing/payment-methods/")
    pass_by(page, "payment methods")

    page.get_by_role("link", name="Replace… Visa ending in 4242").click()
    expect(page.get_by_text("It is removed, and pays nothing any more.")).to_be_visible()
    fill_card(page, MASTERCARD)
    pass_by(page, "replace a card")
    page.get_by_role("button", name="Save and replace").click()

    expect(
        page.get_by_text("Mastercard ending in 4444 is saved, and pays what the other card paid.")
    ).to_be_visible()
    assert [now_of(each).card.last4 for each in (first, second)] == ["4444", "4444"]
    with tenant_atomic(pat.tenant_id):
        assert list(Card.objects.live().values_list("last4", flat=True)) == ["4444"]


@both
def test_an_open_bill_is_paid_now_and_the_new_card_stays(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now() - timedelta(days=10))
    bill = fail(bought)
    page = walk(pat, look)
    page.get_by_role("link", name="Power BI Pro", exact=True).click()
    expect(page.get_by_text("The payment of €113.74 failed")).to_be_visible()
    pass_by(page, "payment failed")

    page.get_by_role("link", name="Pay €113.74 now").click()
    page.get_by_text("A new card").click()
    expect(page.get_by_label("Use this card for Power BI Pro from now on.")).to_be_checked()
    fill_card(page, MASTERCARD)
    pass_by(page, "pay a bill")
    page.get_by_role("button", name="Pay €113.74").click()

    expect(page.get_by_text(f"{bill.number} is paid: €113.74.")).to_be_visible()
    after = now_of(bought)
    assert (after.card.last4, after.payment_failed_at, charges()) == ("4444", None, 2)
