"""Every outcome of canceling (product §5.5; I-07, I-14, F-19; docs/adr/0010)."""

import html
import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connections

from commerce.models import (
    Bill,
    BillLine,
    Card,
    Checkout,
    HandOver,
    OrderLine,
    PaymentAttempt,
    Refund,
    RefundAttempt,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.bills import book_payment, lock_bill
from commerce.operations.cancellations import (
    AlreadyStopped,
    Canceled,
    CancellationChanged,
    CancellationQuote,
    NothingToCancel,
    Reason,
    Seen,
    cancel_subscription,
    quote_cancellation,
)
from commerce.operations.changes import quote_addition, quote_removal, start_adding_seats
from commerce.operations.checkouts import BillingDetails
from commerce.operations.corrections import correct_bill
from commerce.operations.handovers import offer_hand_over
from commerce.operations.orders import purchase_centrally
from commerce.operations.payments import (
    charge_bill,
    pay_bill,
    pay_change,
    pay_checkout,
    settle_attempts,
    settle_refunds,
)
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import charge_due, expire_due, renew_due, run_sweeps
from commerce.operations.takeovers import take_over
from commerce.queries.cancellations import Ending
from commerce.queries.takeovers import plan_take_over
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.permissions import Role
from licensing.operations.assignments import NotAssignable, assign_license
from licensing.queries.entitlements import entitlement_of
from tests.factories import (
    actor_of,
    client_of,
    make_agreement,
    make_card,
    make_central_subscription,
    make_checkout,
    make_tenant,
    make_user,
    plan,
)
from tests.faults.installation import wait_until
from tests.processor import card_token, charges, control, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

# 1 March 2026, ten in the morning in Amsterdam: a period of 31 days.
BOUGHT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
WINDOW = timedelta(days=7)
APRIL_1 = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)


def on(day: int, month: int = 3, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))


def buy(buyer: User, *, code: str = "monthly", card: str = "pm_card_visa") -> Subscription:
    """Ten seats, paid on 1 March."""
    checkout = make_checkout(buyer, plan=plan(code=code), quantity=10, at=BOUGHT)
    pay_checkout(
        actor=actor_of(buyer, at=BOUGHT), key=checkout.key, confirmation_token=card_token(card), at=BOUGHT
    )
    buyer.purchaser_since = BOUGHT
    with use_login("worker"):
        return Subscription.objects.get()


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.select_related("product", "agreement").get(pk=subscription.pk)


def change(subscription: Subscription, **fields: Any) -> None:
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(**fields)


def quote(subscription: Subscription, at: datetime) -> CancellationQuote:
    with tenant_atomic(subscription.tenant_id):
        return quote_cancellation(subscription=fresh(subscription), at=at)


def cancel(who: User, subscription: Subscription, at: datetime, **changed: Any) -> Canceled:
    """Cancel as the page does: what was shown is what happens."""
    values: dict[str, Any] = {"version": fresh(subscription).version, **changed}
    if "seen" not in values:
        values["seen"] = quote(subscription, at).seen
    return cancel_subscription(actor=actor_of(who, at=at), key=subscription.key, at=at, **values)


def add_five(who: User, subscription: Subscription, at: datetime, *, card: str = "pm_card_visa") -> Checkout:
    """Five more seats, paid at once unless the card's bank asks."""
    row, actor = fresh(subscription), actor_of(who, at=at)
    with tenant_atomic(who.tenant_id):
        shown = quote_addition(actor=actor, subscription=row, quantity=row.quantity + 5, at=at)
    checkout = start_adding_seats(
        actor=actor,
        key=row.key,
        intent=uuid.uuid4(),
        quantity=row.quantity + 5,
        version=row.version,
        seen_total_minor=shown.total_minor,
        at=at,
    )
    token = card_token(card)
    pay_change(actor=actor, key=checkout.key, version=checkout.version, confirmation_token=token, at=at)
    return checkout


def state_of(checkout: Checkout) -> str:
    with use_login("worker"):
        return str(Checkout.objects.get(pk=checkout.pk).state)


def charge(bill: Bill, at: datetime) -> str:
    with use_login("worker"):
        return charge_bill(bill_id=bill.pk, at=at)


def bills(subscription: Subscription) -> list[tuple[str, str, int]]:
    with use_login("worker"):
        rows = Bill.objects.filter(subscription=subscription).order_by("id")
        return list(rows.values_list("type", "status", "total_minor"))


def codes(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        events = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return list(events.values_list("code", flat=True))


def refunded() -> list[int]:
    with use_login("worker"):
        return list(Refund.objects.order_by("id").values_list("amount_minor", flat=True))


def test_inside_the_window_the_unused_days_go_back_to_the_card(pat: User) -> None:
    subscription = buy(pat)
    at = on(4)

    canceled = cancel(pat, subscription, at, reason=Reason.TOO_EXPENSIVE)

    # 94.00 less 4 of 31 days, 12.13, is 81.87; with 21% that is 99.06.
    assert canceled.quote.refund_minor == 9906
    assert refunded() == [9906]
    assert bills(subscription) == [("purchase", "paid", 11374), ("cancel", "paid", -9906)]
    with use_login("worker"):
        note = Bill.objects.get(type="cancel")
        line = BillLine.objects.get(bill=note)
        assert (line.quantity, line.amount_minor) == (-10, -8187)
        assert line.service_start == datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
        assert line.service_end == APRIL_1
        assert RefundAttempt.objects.get().state == "succeeded"
        order = OrderLine.objects.filter(subscription=subscription).latest("id")
        assert (order.order.type, order.quantity, order.amount_minor) == ("cancel", -10, -8187)
    assert control("GET", "objects", kind="refund")["data"][0]["amount"] == 9906
    assert violations(at=at) == []


def test_inside_the_window_it_is_disabled_at_once_and_the_holders_stay_listed(pat: User) -> None:
    subscription = buy(pat)
    with tenant_atomic(pat.tenant_id):
        assert entitlement_of(user_id=pat.pk, product=subscription.product) is not None

    cancel(pat, subscription, on(4))

    after = fresh(subscription)
    assert (after.state, after.disabled_reason, after.disabled_at) == ("disabled", "canceled", on(4))
    assert (after.recurring_billing, after.quantity, after.assigned) == (False, 10, 1)
    # The 90 days count from the day of canceling, to local midnight.
    assert after.due_at == datetime(2026, 6, 1, 22, 0, tzinfo=UTC)
    assert after.version == subscription.version + 1
    with tenant_atomic(pat.tenant_id):
        assert entitlement_of(user_id=pat.pk, product=subscription.product) is None
    with pytest.raises(NotAssignable):
        assign_license(actor=actor_of(pat), subscription_key=subscription.key, user_id=pat.pk, at=on(4))
    assert not renew_due(at=APRIL_1 + timedelta(days=30))
    assert expire_due(at=after.due_at).moved == 1
    assert fresh(subscription).state == "deleted"


def test_a_refund_that_waits_for_a_lock_leaves_the_cancellation_as_it_is_and_follows(pat: User) -> None:
    subscription = buy(pat)
    address = f"/admin/billing/your-products/{subscription.key}/cancel/"
    control("POST", "latency", seconds=1, path="/v1/refunds")
    with time_machine.travel(on(4), tick=True):
        client = client_of(pat)
        page = client.get(address).text
        (signed,) = re.findall(r'name="quote" value="([^"]+)"', page)
        with held_once_refunded(subscription):
            answer = client.post(address, {"quote": html.unescape(signed)}, follow=True)

    assert answer.status_code == 200
    assert "is canceled. Nobody has access from now on." in answer.text
    assert "goes back to the card that paid." in answer.text
    assert fresh(subscription).state == "disabled"
    with tenant_atomic(pat.tenant_id):
        assert list(RefundAttempt.objects.values_list("state", "leased_until")) == [("created", None)]
    control("POST", "latency", seconds=0)
    settle_refunds(at=on(4) + timedelta(hours=1))
    with tenant_atomic(pat.tenant_id):
        assert list(RefundAttempt.objects.values_list("state", flat=True)) == ["succeeded"]
    assert len(refunded()) == 1
    assert violations(at=on(5)) == []


@contextmanager
def held_once_refunded(subscription: Subscription) -> Iterator[None]:
    """Somebody locks the subscription while the processor is asked for its refund, for longer than anybody waits."""
    is_over = threading.Event()

    def hold() -> None:
        with use_login("worker"):
            wait_until(lambda: RefundAttempt.objects.filter(leased_until__isnull=False).exists())
            with atomic():
                Subscription.objects.select_for_update().get(pk=subscription.pk)
                is_over.wait(30)
            connection().close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield
    finally:
        is_over.set()
        holder.join()


def test_history_audit_and_mail_say_what_happened(pat: User) -> None:
    subscription = buy(pat)

    cancel(pat, subscription, on(4), reason=Reason.TOO_EXPENSIVE)

    with use_login("worker"):
        event = SubscriptionEvent.objects.get(subscription=subscription, code="canceled")
        audit = AuditEntry.objects.get(code="commerce.subscription.canceled")
        mail = OutgoingMail.objects.get(kind="canceled")
    assert event.facts == {
        "ending": "at_once",
        "refund_minor": 9906,
        "credited_minor": 0,
        "currency": "EUR",
        "reason": "too_expensive",
    }
    assert event.actor_label == "Pat Peters"
    assert audit.before == {"state": "active", "recurring_billing": True}
    assert audit.after is not None
    assert audit.after["state"] == "disabled"
    assert (mail.to_address, mail.context["refund_minor"]) == (pat.email, 9906)


def test_seats_added_inside_the_window_go_back_too(pat: User) -> None:
    subscription = buy(pat)
    add_five(pat, subscription, on(3))

    canceled = cancel(pat, subscription, on(4))

    # 5 x 9.40 from 3 March: 29 of 31 days, 43.97 charged; 27 of 31 days, 40.94 given back, with tax 49.54.
    assert sorted(refunded()) == [4954, 9906]
    assert canceled.quote.refund_minor == 9906 + 4954
    assert fresh(subscription).state == "disabled"
    assert violations(at=on(4)) == []


def test_the_window_ends_to_the_second(pat: User) -> None:
    subscription = buy(pat)

    last, over = (
        quote(subscription, BOUGHT + WINDOW - timedelta(seconds=1)),
        quote(subscription, BOUGHT + WINDOW),
    )

    assert (last.ending, last.plan.refund_until) == (Ending.AT_ONCE, BOUGHT + WINDOW)
    assert (over.ending, over.plan.refund_until, over.refund_minor) == (Ending.AT_TERM, BOUGHT + WINDOW, 0)


def test_later_the_renewal_stops_and_nothing_is_refunded(pat: User) -> None:
    subscription = buy(pat)

    canceled = cancel(pat, subscription, on(10))

    assert canceled.quote.ending == Ending.AT_TERM
    after = fresh(subscription)
    assert (after.state, after.recurring_billing, after.due_at) == ("active", False, APRIL_1)
    assert bills(subscription) == [("purchase", "paid", 11374)]
    assert "canceled" in codes(subscription)
    run_sweeps(at=APRIL_1)
    assert fresh(subscription).state == "expired"
    assert charges() == 1


def test_it_can_be_undone_by_switching_recurring_billing_on_again(pat: User) -> None:
    subscription = buy(pat)
    cancel(pat, subscription, on(10))

    set_recurring_billing(
        actor=actor_of(pat), key=subscription.key, on=True, version=fresh(subscription).version, at=on(11)
    )

    renew_due(at=APRIL_1)
    assert fresh(subscription).state == "active"


def test_a_year_paid_by_the_month_goes_on_being_charged(pat: User) -> None:
    subscription = buy(pat, code="yearly-monthly")
    (_, _, monthly), *_ = bills(subscription)

    canceled = cancel(pat, subscription, on(10))

    assert (canceled.quote.ending, canceled.quote.plan.still_minor) == (Ending.AT_TERM, 11 * monthly)
    run_sweeps(at=APRIL_1)
    assert bills(subscription)[1:] == [("monthly_charge", "paid", monthly)]
    assert quote_refused(subscription, on(2, 4)) is AlreadyStopped


def test_a_monthly_charge_inside_a_term_opens_no_window(pat: User) -> None:
    subscription = buy(pat, code="yearly-monthly")
    run_sweeps(at=APRIL_1)

    found = quote(subscription, on(2, 4))

    assert (found.ending, found.plan.refund_until) == (Ending.AT_TERM, None)


def test_a_year_paid_by_the_month_ends_at_once_in_its_first_days(pat: User) -> None:
    subscription = buy(pat, code="yearly-monthly")

    canceled = cancel(pat, subscription, on(4))

    assert canceled.quote.ending == Ending.AT_ONCE
    assert fresh(subscription).state == "disabled"
    assert not renew_due(at=APRIL_1)


def test_a_renewal_opens_the_window_again(pat: User) -> None:
    subscription = buy(pat)
    run_sweeps(at=on(1, 4))

    canceled = cancel(pat, subscription, on(2, 4))

    # April has 30 days: 94.00 less 2 of them, 87.73 and tax.
    assert canceled.quote.refund_minor == 8773 + 1842
    assert fresh(subscription).state == "disabled"
    assert violations(at=on(2, 4)) == []


def test_seats_added_later_can_only_go_by_themselves(pat: User) -> None:
    subscription = buy(pat)
    add_five(pat, subscription, on(16))

    canceled = cancel(pat, subscription, on(18))

    found = canceled.quote.plan
    assert (found.ending, found.removable, found.removable_until) == (Ending.AT_TERM, 5, on(16) + WINDOW)
    assert (fresh(subscription).state, refunded()) == ("active", [])


def test_on_the_last_day_nothing_is_left_to_refund(pat: User) -> None:
    subscription = buy(pat)
    with use_login("worker"):
        Bill.objects.update(paid_at=on(30))

    assert quote(subscription, on(30)).ending == Ending.AT_ONCE
    assert quote(subscription, on(31)).ending == Ending.AT_TERM


def test_while_a_charge_is_contested_nothing_is_refunded(pat: User) -> None:
    subscription = buy(pat)
    change(subscription, disputed_at=on(3))

    canceled = cancel(pat, subscription, on(4))

    assert canceled.quote.ending == Ending.AT_TERM
    assert (fresh(subscription).state, refunded()) == ("active", [])


def test_between_two_periods_the_renewal_does_not_come(pat: User) -> None:
    subscription = buy(pat)

    cancel(pat, subscription, APRIL_1 + timedelta(minutes=1))

    run_sweeps(at=APRIL_1 + timedelta(minutes=2))
    assert fresh(subscription).state == "expired"
    assert len(bills(subscription)) == 1


# --- A bill that is not paid --------------------------------------------------------------------------------------


def decline_renewal(subscription: Subscription) -> Bill:
    """April's bill, which the bank refused."""
    with use_login("worker"):
        Card.objects.update(processor_id="pm_card_visa_chargeDeclinedInsufficientFunds")
    renew_due(at=on(1, 4))
    charge_due(at=on(1, 4))
    with use_login("worker"):
        bill = Bill.objects.get(subscription=subscription, type="renewal")
    assert (bill.status, fresh(subscription).payment_failed_at) == ("open", on(1, 4))
    return bill


def test_an_unpaid_renewal_of_the_last_days_is_called_off(pat: User) -> None:
    subscription = buy(pat)
    bill = decline_renewal(subscription)

    canceled = cancel(pat, subscription, on(5, 4))

    assert (canceled.quote.refund_minor, canceled.quote.credited_minor) == (0, bill.total_minor)
    after = fresh(subscription)
    assert (after.state, after.payment_failed_at) == ("disabled", None)
    assert bills(subscription)[1:] == [("renewal", "credited", 11374), ("cancel", "credited", -11374)]
    assert charge(bill, on(6, 4)) == "busy"
    run_sweeps(at=on(6, 4))
    assert (charges(), refunded()) == (1, [])
    assert violations(at=on(6, 4)) == []


def test_an_older_unpaid_renewal_stays_to_be_paid_and_the_card_is_left_alone(pat: User) -> None:
    subscription = buy(pat)
    bill = decline_renewal(subscription)

    canceled = cancel(pat, subscription, on(9, 4))

    assert (canceled.quote.ending, canceled.quote.credited_minor) == (Ending.AT_TERM, 0)
    assert bills(subscription)[1:] == [("renewal", "open", 11374)]
    after = fresh(subscription)
    assert (after.payment_failed_at, after.next_try_at) == (on(1, 4), None)
    assert after.pay_by_at == datetime(2026, 4, 30, 22, 0, tzinfo=UTC)
    for day in range(10, 30):
        run_sweeps(at=on(day, 4))
    assert (charges(), fresh(subscription).state) == (1, "active")
    run_sweeps(at=on(1, 5))
    ended = fresh(subscription)
    assert (ended.state, ended.disabled_reason) == ("disabled", "unpaid")
    with use_login("worker"):
        assert Bill.objects.get(pk=bill.pk).tries == bill.tries


def test_the_card_is_tried_again_when_the_renewal_is_switched_on_again(pat: User) -> None:
    subscription = buy(pat)
    with use_login("worker"):
        good_card = Card.objects.get().processor_id
    decline_renewal(subscription)
    cancel(pat, subscription, on(9, 4))
    with use_login("worker"):
        Card.objects.update(processor_id=good_card)

    set_recurring_billing(
        actor=actor_of(pat), key=subscription.key, on=True, version=fresh(subscription).version, at=on(10, 4)
    )
    run_sweeps(at=on(10, 4))

    after = fresh(subscription)
    assert (after.state, after.payment_failed_at, after.recurring_billing) == ("active", None, True)
    assert charges() == 2


@pytest.mark.parametrize("step", ["billed", "asked", "lost answer"])
def test_canceling_at_any_step_of_a_renewal_charges_nothing(pat: User, step: str) -> None:
    subscription = buy(pat)
    renew_due(at=on(1, 4))
    with use_login("worker"):
        bill = Bill.objects.get(type="renewal")
    if step == "asked":
        fault("error", "/v1/payment_intents", status=503, count=3)
        assert charge(bill, on(1, 4)) == "pending"
    if step == "lost answer":
        fault("lose_answer", "/v1/payment_intents/*/confirm")
        assert charge(bill, on(1, 4)) == "pending"

    cancel(pat, subscription, on(1, 4, hour=13))

    later = on(1, 4, hour=13) + timedelta(minutes=10)
    with use_login("worker"):
        PaymentAttempt.objects.update(leased_until=None)
        settle_attempts(later)
    run_sweeps(at=later)
    assert bills(subscription)[1][1] == "credited"
    kept = charges() - len(control("GET", "objects", kind="refund")["data"])
    assert kept == 1
    assert violations(at=later) == []


# --- A bill that was issued anew before it was paid ---------------------------------------------------------------


def correct(who: User, bill: Bill, name: str, at: datetime) -> Bill:
    billing = BillingDetails(
        name=name, street="Herengracht 2", postal_code="1016 BS", city="Amsterdam", country="NL"
    )
    return correct_bill(actor=actor_of(who, at=at), number=bill.number, billing=billing, at=at).bill


def pay(who: User, bill: Bill, at: datetime) -> None:
    actor = actor_of(who, at=at)
    pay_bill(actor=actor, number=bill.number, confirmation_token=card_token(), at=at)


def take_over_by(admin: User, subscription: Subscription, at: datetime) -> Bill:
    """The bill that the organization got in place of the open one."""
    row = fresh(subscription)
    with tenant_atomic(row.tenant_id):
        seen = plan_take_over(Subscription.objects.get(pk=row.pk)).seen
    take_over(actor=actor_of(admin, at=at), key=row.key, version=row.version, seen=seen, at=at)
    with use_login("worker"):
        return Bill.objects.filter(subscription=subscription, credits__isnull=True).latest("id")


def test_a_bill_that_was_corrected_and_then_paid_gives_back_the_unused_days_alone(pat: User) -> None:
    subscription = buy(pat)
    anew = correct(pat, decline_renewal(subscription), "Contoso B.V.", on(20, 4))
    pay(pat, anew, on(20, 4))

    canceled = cancel(pat, subscription, on(26, 4))

    # 94.00 for 4 of 30 days is 12.53, and tax 2.63.
    assert (canceled.quote.ending, canceled.quote.refund_minor) == (Ending.AT_ONCE, 1_516)
    assert canceled.quote.credited_minor == 0
    assert refunded() == [1_516]
    assert violations(at=on(26, 4)) == []


def test_seats_of_a_bill_that_was_corrected_and_then_paid_can_go_for_a_week(pat: User) -> None:
    subscription = buy(pat)
    anew = correct(pat, decline_renewal(subscription), "Contoso B.V.", on(20, 4))
    pay(pat, anew, on(20, 4))

    with tenant_atomic(pat.tenant_id):
        shown = quote_removal(subscription=fresh(subscription), quantity=8, at=on(21, 4))

    assert (shown.removed, shown.subtotal_minor) == (2, 564)


def test_correcting_an_unpaid_bill_gives_no_more_days_to_call_it_off(pat: User) -> None:
    subscription = buy(pat)
    anew = correct(pat, decline_renewal(subscription), "Contoso B.V.", on(5, 4))
    anew = correct(pat, anew, "Contoso N.V.", on(7, 4))

    assert quote(subscription, on(8, 4, hour=11)).credited_minor == anew.total_minor
    assert quote(subscription, on(8, 4, hour=12)).ending == Ending.AT_TERM


def test_a_bill_that_the_organization_took_over_and_paid_gives_back_the_unused_days_alone(
    pat: User, gina: User, contoso: Tenant
) -> None:
    subscription = buy(pat)
    decline_renewal(subscription)
    make_card(contoso)
    pay(gina, take_over_by(gina, subscription, on(20, 4)), on(20, 4))

    canceled = cancel(gina, subscription, on(26, 4))

    assert (canceled.quote.refund_minor, canceled.quote.credited_minor) == (1_516, 0)
    assert refunded() == [1_516]
    assert violations(at=on(26, 4)) == []


@pytest.mark.parametrize("is_paid", [False, True], ids=["open", "paid by transfer"])
def test_a_bill_taken_over_on_account_owes_the_days_used(
    pat: User, gina: User, contoso: Tenant, is_paid: bool
) -> None:
    subscription = buy(pat)
    decline_renewal(subscription)
    make_agreement(contoso)
    anew = take_over_by(gina, subscription, on(20, 4))
    if is_paid:
        system = Actor.system(contoso.pk)
        with tenant_atomic(system):
            book_payment(
                actor=system,
                bill=lock_bill(anew.pk),
                attempt=None,
                charge_id="",
                received_at=on(25, 4),
                at=on(25, 4),
                reference="Transfer 1",
            )

    canceled = cancel(gina, subscription, on(26, 4))

    # 26 of 30 days are owed.
    given_back = (canceled.quote.refund_minor, canceled.quote.credited_minor)
    assert given_back == ((1_516, 0) if is_paid else (0, 1_516))
    assert canceled.quote.owed_minor == (0 if is_paid else 11_374 - 1_516)
    assert violations(at=on(26, 4)) == []


# --- The organization's -------------------------------------------------------------------------------------------


@pytest.fixture
def central(gina: User, contoso: Tenant) -> Subscription:
    """Twenty-five seats at 10.00 on account, bought on 1 March."""
    make_agreement(contoso, unit_price_minor=1_000)
    return make_central_subscription(gina, quantity=25, at=BOUGHT)


def test_a_bill_on_account_is_credited_and_only_the_days_used_are_owed(
    gina: User, central: Subscription
) -> None:
    canceled = cancel(gina, central, on(4))

    # 250.00 for 31 days: 4 days are 32.26 and tax 6.77.
    assert canceled.quote.owed_minor == 3903
    assert canceled.quote.credited_minor == 30250 - 3903
    assert bills(central) == [
        ("purchase", "credited", 30250),
        ("cancel", "credited", -30250),
        ("purchase", "open", 3903),
    ]
    assert (fresh(central).state, refunded()) == ("disabled", [])
    assert violations(at=on(4)) == []


def test_later_the_organizations_renewal_stops_and_its_bill_stays(gina: User, central: Subscription) -> None:
    cancel(gina, central, on(10))

    assert bills(central) == [("purchase", "open", 30250)]
    assert (fresh(central).state, fresh(central).recurring_billing) == ("active", False)


def test_a_scheduled_one_never_starts(gina: User, contoso: Tenant) -> None:
    make_agreement(contoso)
    monthly = plan()
    later = purchase_centrally(
        actor=actor_of(gina),
        product=monthly.product,
        plan=monthly,
        quantity=5,
        starts_on=APRIL_1.date() + timedelta(days=1),
        at=BOUGHT,
    )

    canceled = cancel(gina, later, on(4))

    assert canceled.quote.ending == Ending.BEFORE_START
    after = fresh(later)
    assert (after.state, after.deleted_at, after.due_at) == ("deleted", on(4), None)
    run_sweeps(at=APRIL_1)
    assert (bills(later), codes(later)) == ([], ["purchased", "canceled"])
    assert violations(at=APRIL_1) == []


# --- Who, and when not ---------------------------------------------------------------------------------------------


def quote_refused(subscription: Subscription, at: datetime) -> type[Conflict]:
    with pytest.raises(Conflict) as refused:
        quote(subscription, at)
    return type(refused.value)


@pytest.mark.parametrize("state", ["expired", "disabled", "deleted"])
def test_what_has_ended_is_not_canceled(pat: User, state: str) -> None:
    subscription = buy(pat)
    change(subscription, state=state)

    with pytest.raises(NothingToCancel):
        cancel(pat, subscription, on(4), seen=Seen("at_once", 9906, 0, 0))

    assert (bills(subscription), refunded()) == ([("purchase", "paid", 11374)], [])


def test_a_stopped_renewal_is_not_stopped_twice_but_can_still_end_at_once(pat: User) -> None:
    subscription = buy(pat)
    change(subscription, recurring_billing=False)

    assert quote_refused(subscription, on(10)) is AlreadyStopped
    assert quote(subscription, on(4)).ending == Ending.AT_ONCE


def test_refuses_an_older_page(pat: User) -> None:
    subscription = buy(pat)

    with pytest.raises(Conflict):
        cancel(pat, subscription, on(4), version=subscription.version - 1)

    assert (fresh(subscription).state, refunded()) == ("active", [])


@pytest.mark.parametrize("at", [on(5), BOUGHT + WINDOW])
def test_refuses_when_it_would_do_something_else_than_the_page_said(pat: User, at: datetime) -> None:
    subscription = buy(pat)
    seen = quote(subscription, on(4)).seen

    with pytest.raises(CancellationChanged) as changed:
        cancel(pat, subscription, at, seen=seen)

    assert changed.value.quote.seen == quote(subscription, at).seen
    assert (fresh(subscription).state, refunded()) == ("active", [])


def test_only_who_may_manage_it_cancels(pat: User, gina: User, contoso: Tenant) -> None:
    subscription = buy(pat)
    seen = quote(subscription, on(4)).seen

    with pytest.raises(NotAllowed):
        cancel(gina, subscription, on(4), seen=seen)
    for other in (make_user(contoso), make_user(make_tenant())):
        with pytest.raises(NotVisible):
            cancel(other, subscription, on(4), seen=seen)

    assert (fresh(subscription).state, refunded()) == ("active", [])


def test_of_two_at_once_one_gets_the_present_state(pat: User) -> None:
    subscription = buy(pat)
    shown = quote(subscription, on(4)).seen
    version = fresh(subscription).version

    def click(_: int) -> str:
        try:
            cancel(pat, subscription, on(4), seen=shown, version=version)
        except Conflict as conflict:
            return conflict.code
        else:
            return "canceled"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(click, range(2)))

    assert outcomes == ["canceled", "nothing_to_cancel"]
    assert refunded() == [9906]
    assert codes(subscription).count("canceled") == 1


def test_an_open_offer_to_a_colleague_is_withdrawn(pat: User, contoso: Tenant) -> None:
    subscription = buy(pat)
    erik = make_user(contoso)
    offer_hand_over(actor=actor_of(pat), key=subscription.key, to_user_id=erik.pk, at=on(2))

    cancel(pat, subscription, on(4))

    with use_login("worker"):
        assert HandOver.objects.get().state == "withdrawn"


def test_a_refund_without_an_answer_is_made_by_the_sweep(pat: User) -> None:
    subscription = buy(pat)
    fault("lose_request", "/v1/refunds", count=3)

    cancel(pat, subscription, on(4))

    assert (fresh(subscription).state, refunded()) == ("disabled", [])
    settle_refunds(at=on(4) + timedelta(hours=1))
    assert refunded() == [9906]


def test_seats_whose_payment_waits_for_the_bank_are_withdrawn_with_it(pat: User) -> None:
    bought = buy(pat)
    waits = add_five(pat, bought, on(2), card="pm_card_threeDSecure2Required")
    assert state_of(waits) == "action"

    cancel(pat, bought, on(3))

    assert state_of(waits) == "abandoned"
    assert intents()[0]["status"] == "canceled"
    assert charges() == 1


def test_where_they_cannot_be_withdrawn_it_is_canceled_all_the_same(pat: User) -> None:
    bought = buy(pat)
    waits = add_five(pat, bought, on(2), card="pm_card_threeDSecure2Required")
    fault("error", "/v1/payment_intents/*/cancel", status=503, count=9)

    cancel(pat, bought, on(3))

    assert (fresh(bought).state, state_of(waits)) == ("disabled", "action")


def test_stopping_the_renewal_leaves_the_added_seats_to_be_paid(pat: User) -> None:
    bought = buy(pat)
    waits = add_five(pat, bought, on(12), card="pm_card_threeDSecure2Required")

    cancel(pat, bought, on(13))

    assert (fresh(bought).state, state_of(waits)) == ("active", "action")
