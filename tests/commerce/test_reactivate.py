"""Every outcome of bringing an ended subscription back (product §5.1, §5.5, §9; F-18, F-21; docs/adr/0014)."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from commerce.gateways import Declined
from commerce.models import Bill, Checkout, Order, OrderLine, Refund, Subscription
from commerce.operations.cancellations import cancel_subscription
from commerce.operations.changes import (
    Disputed,
    NothingToReactivate,
    UnpaidFirst,
    quote_reactivation,
    reactivate_on_account,
    start_reactivation,
)
from commerce.operations.checkouts import CheckoutClosed, NotEligible, PriceChanged
from commerce.operations.on_account import tell_of_bills
from commerce.operations.payments import (
    ActionNeeded,
    Paid,
    Pending,
    finish_checkout,
    pay_change,
    pay_checkout,
    settle_attempts,
)
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import charge_due, expire_due, renew_due, run_sweeps
from commerce.queries.catalogue import product_keys
from commerce.queries.reactivations import PlanNotSold
from commerce.quotes import Reactivation
from config.invariants import violations
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.permissions import Role
from licensing.operations.assignments import assign_license
from licensing.queries.entitlements import entitlement_of
from policies.operations.policies import set_product_policy
from tests.commerce.test_cancel import bills, buy, cancel, change, codes, fresh
from tests.factories import (
    actor_of,
    make_bill,
    make_central_subscription,
    make_checkout,
    make_price,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

# Bought on 1 March 2026 in Amsterdam: the month ends on 1 April, Expired on 1 May, Disabled on 30 July.
APRIL_1 = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
MAY_1 = datetime(2026, 4, 30, 22, 0, tzinfo=UTC)


def on(day: int, month: int = 4, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def expired(pat: User) -> Subscription:
    """Ten seats that ran out on 1 April."""
    return run_out(pat, buy(pat))


@pytest.fixture
def disabled(pat: User, expired: Subscription) -> Subscription:
    """The same a month later: nobody has access any more."""
    expire_due(at=MAY_1)
    return fresh(expired)


def run_out(owner: User, subscription: Subscription, at: datetime = APRIL_1) -> Subscription:
    set_recurring_billing(
        actor=actor_of(owner),
        key=subscription.key,
        on=False,
        version=fresh(subscription).version,
        at=on(2, 3),
    )
    expire_due(at=at)
    return fresh(subscription)


def quote(who: User, subscription: Subscription, at: datetime) -> Reactivation:
    with tenant_atomic(subscription.tenant_id):
        row = Subscription.objects.select_related("product", "market").get(pk=subscription.pk)
        return quote_reactivation(actor=actor_of(who, at=at), subscription=row, at=at)


def start(who: User, subscription: Subscription, at: datetime, **changed: Any) -> Checkout:
    """Begin it as the page does: what was shown is what is charged."""
    values: dict[str, Any] = {"version": fresh(subscription).version, "intent": uuid.uuid4(), **changed}
    if "seen_total_minor" not in values:
        values["seen_total_minor"] = quote(who, subscription, at).total_minor
    return start_reactivation(actor=actor_of(who, at=at), key=subscription.key, at=at, **values)


def pay(who: User, checkout: Checkout, at: datetime, card: str = "pm_card_visa") -> object:
    return pay_change(
        actor=actor_of(who, at=at),
        key=checkout.key,
        version=checkout.version,
        confirmation_token=card_token(card),
        at=at,
    )


def reactivate(who: User, subscription: Subscription, at: datetime) -> Subscription:
    outcome = pay(who, start(who, subscription, at), at)
    assert isinstance(outcome, Paid)
    return fresh(subscription)


def mails(kind: str) -> list[OutgoingMail]:
    with use_login("worker"):
        return list(OutgoingMail.objects.filter(kind=kind).order_by("id"))


def has_access(user: User) -> bool:
    with tenant_atomic(user.tenant_id):
        return entitlement_of(user_id=user.pk, product=product()) is not None


# --- What it makes ------------------------------------------------------------------------------------------


def test_an_expired_one_goes_on_where_it_ended(pat: User, expired: Subscription) -> None:
    at = on(12)

    after = reactivate(pat, expired, at)

    assert (after.state, after.recurring_billing, after.expired_at) == ("active", True, None)
    assert (after.anchor_date, after.offset_months, after.period_index) == (date(2026, 3, 1), 0, 1)
    assert (after.period_start, after.period_end, after.term_end, after.due_at) == (APRIL_1, *3 * (MAY_1,))
    assert bills(expired) == [("purchase", "paid", 11374), ("reactivation", "paid", 11374)]
    assert charges() == 2
    assert violations(at=at) == []


def test_a_disabled_one_begins_anew_that_day(pat: User, disabled: Subscription) -> None:
    at = on(12, 5)
    assert not has_access(pat)

    after = reactivate(pat, disabled, at)

    begins, ends = datetime(2026, 5, 11, 22, 0, tzinfo=UTC), datetime(2026, 6, 11, 22, 0, tzinfo=UTC)
    assert (after.state, after.disabled_at, after.disabled_reason) == ("active", None, "")
    assert (after.anchor_date, after.offset_months, after.period_index) == (date(2026, 5, 12), 0, 0)
    assert (after.period_start, after.period_end, after.term_end, after.due_at) == (begins, *3 * (ends,))
    assert has_access(pat)
    assert violations(at=at) == []


def test_what_was_canceled_with_a_refund_comes_back_the_same_day(pat: User) -> None:
    subscription = buy(pat)
    at = on(4, 3)
    cancel(pat, subscription, at)

    after = reactivate(pat, subscription, at + timedelta(hours=1))

    assert (after.state, after.anchor_date) == ("active", date(2026, 3, 4))
    assert bills(subscription) == [
        ("purchase", "paid", 11374),
        ("cancel", "paid", -9906),
        ("reactivation", "paid", 11374),
    ]
    assert violations(at=at + timedelta(hours=1)) == []


def test_canceled_and_brought_back_on_the_day_of_buying_and_canceled_again(pat: User) -> None:
    subscription = buy(pat)
    cancel(pat, subscription, on(1, 3))
    reactivate(pat, subscription, on(1, 3, 13))

    canceled = cancel(pat, subscription, on(3, 3))

    # 94.00 less 3 of 31 days, 9.10, is 84.90; with 21% that is 102.73.
    assert canceled.quote.refund_minor == 10273
    assert fresh(subscription).state == "disabled"
    assert violations(at=on(3, 3)) == []


def test_the_refund_window_opens_again_and_gives_back_by_day(pat: User, expired: Subscription) -> None:
    reactivate(pat, expired, on(12))

    canceled = cancel(pat, expired, on(15))

    # 94.00 less 15 of 30 days is 47.00; with 21% that is 56.87.
    assert canceled.quote.refund_minor == 5687
    assert violations(at=on(15)) == []


def test_it_renews_from_then_on_and_the_periods_follow_one_another(pat: User, disabled: Subscription) -> None:
    reactivate(pat, disabled, on(12, 5))

    run_sweeps(at=on(12, 7))

    after = fresh(disabled)
    assert (after.state, after.period_index) == ("active", 2)
    assert [type for type, _status, _total in bills(disabled)] == [
        "purchase",
        "reactivation",
        "renewal",
        "renewal",
    ]
    assert violations(at=on(12, 7)) == []


def test_a_short_period_that_went_by_is_followed_by_the_next(pat: User) -> None:
    """February has 28 days, Expired 30: on its last days the whole next period has gone by."""
    at = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
    checkout = make_checkout(pat, quantity=10, at=at)
    pay_checkout(actor=actor_of(pat, at=at), key=checkout.key, confirmation_token=card_token(), at=at)
    pat.purchaser_since = at
    with use_login("worker"):
        subscription = Subscription.objects.get()
    set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=False, version=0, at=at)
    expire_due(at=on(1, 2))
    late = on(2, 3)

    reactivate(pat, subscription, late)
    renew_due(at=late)

    assert [total for _type, _status, total in bills(subscription)] == [11374, 11374, 11374]
    after = fresh(subscription)
    assert (after.state, after.period_end) == ("active", APRIL_1)


def test_a_year_paid_by_the_month_commits_to_a_year_again(pat: User) -> None:
    subscription = buy(pat, code="yearly-monthly")
    run_out(pat, subscription)
    at = datetime(2027, 3, 10, 12, 0, tzinfo=UTC)
    renew_due(at=at)
    charge_due(at=at)
    expire_due(at=at)
    assert fresh(subscription).state == "expired"

    shown = quote(pat, subscription, at)
    after = reactivate(pat, subscription, at)

    assert shown.commitment_minor == 12 * shown.total_minor
    assert (after.period_index, after.term_end) == (12, datetime(2028, 2, 29, 23, 0, tzinfo=UTC))
    assert after.due_at == datetime(2027, 3, 31, 22, 0, tzinfo=UTC)
    assert violations(at=at) == []


def test_a_disabled_one_costs_todays_price_and_an_expired_one_that_of_its_end(pat: User) -> None:
    subscription = run_out(pat, buy(pat))
    make_price(plan(), unit_price_minor=1_000, valid_from=on(10))

    assert quote(pat, subscription, on(12)).unit_price_minor == 940
    expire_due(at=MAY_1)
    assert quote(pat, subscription, on(2, 5)).unit_price_minor == 1_000

    after = reactivate(pat, subscription, on(2, 5))

    assert (after.unit_price_minor, after.period_price_minor) == (1_000, 10_000)


def test_order_history_audit_and_mail_tell_of_it(pat: User, disabled: Subscription) -> None:
    reactivate(pat, disabled, on(12, 5))

    with use_login("worker"):
        line = OrderLine.objects.latest("id")
        assert (line.order.type, line.quantity, line.amount_minor) == ("reactivation", 0, 9400)
        audit = AuditEntry.objects.get(code="commerce.subscription.reactivated")
    assert codes(disabled)[-1] == "reactivated"
    assert (audit.before["state"], audit.after["state"]) == ("disabled", "active")
    (mail,) = mails("reactivated")
    assert mail.to_address == "pat@contoso.example"
    assert (mail.context["total_minor"], mail.context["assigned"]) == (11374, 1)


def test_the_mail_brings_the_bill_and_says_until_when(
    pat: User, disabled: Subscription, mailoutbox: Any
) -> None:
    reactivate(pat, disabled, on(12, 5))

    run_sweeps(at=on(12, 5))

    sent = next(mail for mail in mailoutbox if mail.subject == "Power BI Pro is active again")
    assert "The 1 person with a license can go on working. Reactivated by Pat Peters." in sent.body
    assert "Period: 12 May 2026 to 11 Jun 2026" in sent.body
    assert "Recurring billing is on: it renews on 12 Jun 2026." in sent.body
    assert [name for name, _content, _type in sent.attachments] == ["SK-NL-2026-000002.pdf"]


def test_holders_come_back_and_seats_can_be_given_again(
    pat: User, disabled: Subscription, contoso: Tenant
) -> None:
    erik = make_user(contoso, name="Erik")
    reactivate(pat, disabled, on(12, 5))

    assign_license(actor=actor_of(pat), subscription_key=disabled.key, user_id=erik.pk, at=on(12, 5))

    assert fresh(disabled).assigned == 2
    assert has_access(pat)
    assert has_access(erik)


# --- The central one ----------------------------------------------------------------------------------------


def test_a_central_one_comes_back_on_account_at_the_agreements_price(contoso: Tenant) -> None:
    gina = make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))
    subscription = run_out(gina, make_central_subscription(gina, at=on(1, 3, 9)))
    at = on(12)

    placed = reactivate_on_account(
        actor=actor_of(gina),
        key=subscription.key,
        version=fresh(subscription).version,
        seen_total_minor=quote(gina, subscription, at).total_minor,
        at=at,
    )

    assert (placed.bill.collection, placed.bill.due_at) == ("on_account", at + timedelta(days=30))
    assert (placed.bill.total_minor, placed.bill.period_start) == (24_200, APRIL_1)
    assert fresh(subscription).state == "active"
    assert charges() == 0
    assert violations(at=at) == []
    tell_of_bills(at=at)
    with tenant_atomic(contoso.pk):
        mails = OutgoingMail.objects.filter(context__bill_number=placed.bill.number)
        assert list(mails.values_list("kind", flat=True)) == ["reactivated"]


def test_an_overdue_bill_on_account_does_not_stand_in_the_way(contoso: Tenant) -> None:
    gina = make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))
    subscription = run_out(gina, make_central_subscription(gina, at=on(1, 3, 9)))
    run_sweeps(at=on(20, 5))

    assert quote(gina, subscription, on(20, 5)).starts_anew


def test_a_partner_brings_back_on_account(contoso: Tenant) -> None:
    from tests.factories import make_relationship

    gina = make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))
    subscription = run_out(gina, make_central_subscription(gina, at=on(1, 3, 9)))
    partner = make_tenant(name="Northwind")
    petra = make_user(partner)
    make_relationship(contoso, partner, users=(petra,))
    actor = actor_of(petra, contoso)

    reactivate_on_account(
        actor=actor,
        key=subscription.key,
        version=fresh(subscription).version,
        seen_total_minor=24_200,
        at=on(12),
    )

    assert fresh(subscription).state == "active"


# --- Who may, and when not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["scheduled", "active", "deleted"])
def test_only_what_has_ended_and_not_for_good(pat: User, expired: Subscription, state: str) -> None:
    change(expired, state=state)

    with pytest.raises(NothingToReactivate):
        start(pat, expired, on(12), seen_total_minor=11374)

    assert fresh(expired).state == state


def test_a_trial_is_bought_instead(pat: User, expired: Subscription) -> None:
    change(expired, channel="trial")

    with pytest.raises(NothingToReactivate, match="A trial is not reactivated"):
        start(pat, expired, on(12), seen_total_minor=11374)


def test_a_colleague_does_not_see_it_and_an_admin_may_not(
    pat: User, expired: Subscription, contoso: Tenant
) -> None:
    charlie = make_user(contoso)
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))

    with pytest.raises(NotVisible):
        start(charlie, expired, on(12), seen_total_minor=11374)
    with pytest.raises(NotAllowed):
        start(gina, expired, on(12), seen_total_minor=11374)

    assert fresh(expired).state == "expired"


def test_an_open_bill_is_paid_first(pat: User, expired: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        bill = make_bill(expired, at=on(2))

    with pytest.raises(UnpaidFirst) as refused:
        start(pat, expired, on(12), seen_total_minor=11374)

    assert [each.number for each in refused.value.bills] == [bill.number]
    assert charges() == 1


def test_a_former_owners_open_bill_is_not_the_new_owners(
    pat: User, expired: Subscription, contoso: Tenant
) -> None:
    with tenant_atomic(pat.tenant_id):
        make_bill(expired, at=on(2), payer=make_user(contoso))

    assert quote(pat, expired, on(12)).total_minor == 11374


def test_a_contested_charge_is_decided_first(pat: User, expired: Subscription) -> None:
    change(expired, disputed_at=on(3))

    with pytest.raises(Disputed):
        start(pat, expired, on(12), seen_total_minor=11374)


def test_a_policy_stops_it_once_disabled_and_not_while_expired(
    pat: User, expired: Subscription, contoso: Tenant
) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    with tenant_atomic(contoso.pk):
        keys = product_keys(product())
    set_product_policy(actor=actor_of(gina), product_keys=keys, value="Disabled", at=on(3))

    assert quote(pat, expired, on(12)).total_minor == 11374
    expire_due(at=MAY_1)
    with pytest.raises(NotEligible):
        start(pat, expired, on(2, 5), seen_total_minor=11374)


def test_a_suspended_organization_brings_nothing_back(
    pat: User, expired: Subscription, contoso: Tenant
) -> None:
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")

    with pytest.raises(NotAllowed):
        start(pat, expired, on(12), seen_total_minor=11374)


def test_a_plan_without_a_price_cannot_begin(pat: User, contoso: Tenant) -> None:
    subscription = make_subscription(
        contoso, owner=pat, plan=plan("visio-plan-1"), currency="XXX", state="expired"
    )

    with pytest.raises(PlanNotSold):
        quote(pat, subscription, on(12))


def test_another_sum_or_another_version_is_refused(pat: User, expired: Subscription) -> None:
    with pytest.raises(PriceChanged):
        start(pat, expired, on(12), seen_total_minor=1)
    with pytest.raises(Conflict):
        start(pat, expired, on(12), version=99)

    assert charges() == 1


# --- Paying it once, whatever happens -----------------------------------------------------------------------


def test_a_declined_card_changes_nothing_and_another_one_pays(pat: User, expired: Subscription) -> None:
    checkout = start(pat, expired, on(12))

    with pytest.raises(Declined):
        pay(pat, checkout, on(12), "pm_card_visa_chargeDeclinedInsufficientFunds")

    assert fresh(expired).state == "expired"
    with tenant_atomic(pat.tenant_id):
        checkout.refresh_from_db()
    assert isinstance(pay(pat, checkout, on(12)), Paid)
    assert (fresh(expired).state, charges()) == ("active", 2)


def test_two_clicks_at_once_are_one_charge(pat: User, expired: Subscription) -> None:
    intent, at = uuid.uuid4(), on(12)
    total, version = quote(pat, expired, at).total_minor, fresh(expired).version
    token = card_token()

    def click(_: int) -> object:
        try:
            checkout = start(pat, expired, at, intent=intent, seen_total_minor=total, version=version)
            return pay_change(
                actor=actor_of(pat, at=at),
                key=checkout.key,
                version=checkout.version,
                confirmation_token=token,
                at=at,
            )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(click, range(4)))

    assert all(isinstance(outcome, (Paid, Pending)) for outcome in outcomes)
    settle_attempts(at + timedelta(minutes=5))
    assert charges() == 2
    assert [type for type, _status, _total in bills(expired)] == ["purchase", "reactivation"]


def test_an_answer_that_got_lost_is_found_again(pat: User, expired: Subscription) -> None:
    checkout, at = start(pat, expired, on(12)), on(12)
    fault("lose_answer", "/v1/payment_intents/*/confirm")

    assert isinstance(pay(pat, checkout, at), Pending)
    with use_login("worker"):
        settle_attempts(at + timedelta(minutes=5))

    assert (fresh(expired).state, charges()) == ("active", 2)
    assert len(mails("reactivated")) == 1


def test_disabled_while_the_bank_was_asked_it_still_gets_what_was_confirmed(
    pat: User, expired: Subscription
) -> None:
    at = on(30)
    checkout = start(pat, expired, at)
    outcome = pay(pat, checkout, at, "pm_card_threeDSecure2Required")
    assert isinstance(outcome, ActionNeeded)
    expire_due(at=MAY_1)
    assert fresh(expired).state == "disabled"
    authenticate(intents()[0]["id"])

    paid = finish_checkout(actor=actor_of(pat), key=checkout.key, at=MAY_1 + timedelta(minutes=1))

    assert isinstance(paid, Paid)
    after = fresh(expired)
    assert (after.state, after.period_start, after.period_index) == ("active", APRIL_1, 1)


def test_what_the_bank_confirms_a_day_later_begins_that_day(pat: User, disabled: Subscription) -> None:
    at = on(12, 5)
    checkout = start(pat, disabled, at)
    shown = checkout.total_minor
    assert isinstance(pay(pat, checkout, at, "pm_card_threeDSecure2Required"), ActionNeeded)
    authenticate(intents()[0]["id"])

    paid = finish_checkout(actor=actor_of(pat), key=checkout.key, at=on(13, 5))

    assert isinstance(paid, Paid)
    after = fresh(disabled)
    begins, ends = datetime(2026, 5, 12, 22, 0, tzinfo=UTC), datetime(2026, 6, 12, 22, 0, tzinfo=UTC)
    assert (after.anchor_date, after.period_start, after.period_end) == (date(2026, 5, 13), begins, ends)
    with use_login("worker"):
        bill = Bill.objects.get(type="reactivation")
    assert (bill.total_minor, bill.period_start, bill.period_end) == (shown, begins, ends)
    assert violations(at=on(13, 5)) == []


def test_deleted_while_the_bank_was_asked_the_money_goes_back(pat: User, disabled: Subscription) -> None:
    at = on(29, 7)
    checkout = start(pat, disabled, at)
    pay(pat, checkout, at, "pm_card_threeDSecure2Required")
    expire_due(at=on(31, 7))
    assert fresh(disabled).state == "deleted"
    authenticate(intents()[0]["id"])

    with pytest.raises(CheckoutClosed):
        finish_checkout(actor=actor_of(pat), key=checkout.key, at=on(31, 7))

    with use_login("worker"):
        assert Refund.objects.get().amount_minor == 11374
        assert Order.objects.filter(type="reactivation").count() == 0
        assert Bill.objects.filter(type="reactivation").count() == 0


def test_a_page_of_yesterday_is_not_charged(pat: User, disabled: Subscription) -> None:
    checkout = start(pat, disabled, on(12, 5))

    with pytest.raises(PriceChanged):
        pay(pat, checkout, on(13, 5, 9))

    assert (fresh(disabled).state, charges()) == ("disabled", 1)


def test_brought_back_elsewhere_meanwhile_nothing_is_charged(pat: User, expired: Subscription) -> None:
    checkout = start(pat, expired, on(12))
    change(expired, state="active")

    with pytest.raises(NothingToReactivate):
        pay(pat, checkout, on(12))

    assert charges() == 1


def test_after_it_a_cancellation_at_the_term_is_undone_by_the_switch(
    pat: User, expired: Subscription
) -> None:
    reactivate(pat, expired, on(12))
    later = on(25)
    with tenant_atomic(pat.tenant_id):
        row = Subscription.objects.get(pk=expired.pk)
    from tests.commerce.test_cancel import quote as cancellation

    cancel_subscription(
        actor=actor_of(pat, at=later),
        key=expired.key,
        version=row.version,
        seen=cancellation(expired, later).seen,
        at=later,
    )
    set_recurring_billing(
        actor=actor_of(pat), key=expired.key, on=True, version=fresh(expired).version, at=later
    )

    run_sweeps(at=on(2, 5))

    assert (fresh(expired).state, fresh(expired).period_index) == ("active", 2)
