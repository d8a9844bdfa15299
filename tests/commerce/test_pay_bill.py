"""Paying an open bill by hand, against the real processor peer (product §5.6, §6; I-10, F-12, F-18)."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from commerce.gateways import Declined
from commerce.models import Bill, Card, Payment, PaymentAttempt, Subscription
from commerce.operations.bills import BillNotOpen
from commerce.operations.payments import (
    ActionNeeded,
    BillPaid,
    charge_bill,
    finish_bill,
    pay_bill,
    reconcile,
    save_card,
)
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant, User
from directory.permissions import Role
from tests.factories import AT, actor_of, make_card, make_open_bill, make_subscription, make_tenant, make_user
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

WITH_BANK = "pm_card_threeDSecure2Required"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat", purchaser_since=AT)


@pytest.fixture
def bill(tenant: Tenant, pat: User) -> Bill:
    return make_open_bill(make_subscription(tenant, owner=pat))


def pay(user: User, bill: Bill, card: str = "pm_card_visa", **facts: Any) -> Any:
    values = {"number": bill.number, "confirmation_token": card_token(card), "at": AT}
    return pay_bill(actor=actor_of(user), **values | facts)


def now(bill: Bill) -> Bill:
    with tenant_atomic(bill.tenant_id):
        return Bill.objects.select_related("subscription").get(pk=bill.pk)


def attempts_of(bill: Bill) -> list[str]:
    with tenant_atomic(bill.tenant_id):
        return list(PaymentAttempt.objects.filter(bill=bill).order_by("id").values_list("state", flat=True))


def test_a_new_card_pays_once_and_is_kept(pat: User, bill: Bill) -> None:
    first, second = pay(pat, bill), pay(pat, bill)

    assert isinstance(first, BillPaid)
    assert isinstance(second, BillPaid)
    assert now(bill).status == "paid"
    assert charges(bill=bill.number) == 1
    assert attempts_of(bill) == ["succeeded"]
    with tenant_atomic(pat.tenant_id):
        card = Card.objects.get()
        assert (card.user_id, Payment.objects.get().card_id) == (pat.pk, card.pk)
        receipt = OutgoingMail.objects.get(kind="renewal_receipt")
    assert receipt.context["card"] == {"brand": "visa", "last4": "4242"}


def test_a_saved_card_whose_bank_asks_pays_after_the_answer(pat: User, bill: Bill) -> None:
    save_card(
        actor=actor_of(pat),
        key=uuid.uuid4(),
        for_organization=False,
        confirmation_token=card_token("pm_card_authenticationRequiredSetupForOffSession"),
        at=AT,
    )
    with tenant_atomic(pat.tenant_id):
        card = Card.objects.get()

    asked = pay(pat, bill, card_id=card.pk)
    assert isinstance(asked, ActionNeeded)
    authenticate(intents()[0]["id"])
    outcome = finish_bill(actor=actor_of(pat), number=bill.number, at=AT)

    assert isinstance(outcome, BillPaid)
    assert charges(bill=bill.number) == 1


def test_a_refusal_leaves_the_calendar_of_failed_payments_alone(pat: User, bill: Bill) -> None:
    with pytest.raises(Declined):
        pay(pat, bill, "pm_card_visa_chargeDeclined")

    row = now(bill)
    assert (row.status, row.tries, row.charge_due_at) == ("open", 0, AT)
    assert row.subscription.payment_failed_at is None
    assert attempts_of(bill) == ["failed"]
    assert isinstance(pay(pat, bill), BillPaid)


def test_while_the_bank_waits_the_sweep_charges_nothing_and_another_card_ends_it(
    pat: User, bill: Bill
) -> None:
    make_card(Tenant(pk=pat.tenant_id), pat)
    pay(pat, bill, WITH_BANK)
    with use_login("worker"):
        assert charge_bill(bill_id=bill.pk, at=AT) == "pending"

    outcome = pay(pat, bill)

    assert isinstance(outcome, BillPaid)
    assert attempts_of(bill) == ["canceled", "succeeded"]
    assert charges(bill=bill.number) == 1


def test_who_never_answers_the_bank_leaves_the_bill_to_the_sweep(pat: User, bill: Bill) -> None:
    pay(pat, bill, WITH_BANK)

    reconcile(AT + timedelta(hours=1))

    assert attempts_of(bill) == ["canceled"]
    assert now(bill).status == "open"


def test_a_lost_answer_is_settled_with_one_charge(pat: User, bill: Bill) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat, bill)

    reconcile(AT + timedelta(minutes=10))

    assert now(bill).status == "paid"
    assert charges(bill=bill.number) == 1


def test_the_payer_and_the_sweep_at_once_charge_once(pat: User, bill: Bill) -> None:
    save_card(
        actor=actor_of(pat), key=uuid.uuid4(), for_organization=False, confirmation_token=card_token(), at=AT
    )
    actor, barrier = actor_of(pat), Barrier(6)

    def person(token: str) -> None:
        barrier.wait()
        pay_bill(actor=actor, number=bill.number, confirmation_token=token, at=AT)
        connections.close_all()

    def sweep() -> None:
        with use_login("worker"):
            barrier.wait()
            charge_bill(bill_id=bill.pk, at=AT)
        connections.close_all()

    tokens = [card_token() for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(person, token) for token in tokens] + [pool.submit(sweep) for _ in range(3)]
    for each in done:
        each.result()

    reconcile(AT + timedelta(minutes=10))
    assert now(bill).status == "paid"
    assert charges(bill=bill.number) == 1
    assert attempts_of(bill).count("succeeded") == 1


def test_what_the_sweep_withholds_can_be_paid_by_hand(tenant: Tenant, pat: User) -> None:
    bought = make_subscription(tenant, owner=pat, recurring_billing=False)
    bill = make_open_bill(bought)

    assert isinstance(pay(pat, bill), BillPaid)


def test_paying_what_is_disabled_for_non_payment_makes_it_active_in_the_same_period(
    tenant: Tenant, pat: User
) -> None:
    bought = make_subscription(
        tenant,
        owner=pat,
        state="disabled",
        disabled_at=AT,
        disabled_reason="unpaid",
        recurring_billing=False,
        due_at=AT + timedelta(days=90),
        payment_failed_at=AT,
    )
    bill = make_open_bill(bought)

    pay(pat, bill)

    with tenant_atomic(tenant.pk):
        row = Subscription.objects.get()
    assert (row.state, row.disabled_reason, row.disabled_at) == ("active", "", None)
    assert (row.period_start, row.due_at) == (bought.period_start, bought.period_end)
    assert (row.payment_failed_at, row.recurring_billing) == (None, False)


@pytest.mark.parametrize("reason", ["canceled", "ended", "disputed"])
def test_what_is_disabled_for_another_reason_stays_so(tenant: Tenant, pat: User, reason: str) -> None:
    bought = make_subscription(
        tenant, owner=pat, state="disabled", disabled_reason=reason, due_at=AT + timedelta(days=90)
    )

    pay(pat, make_open_bill(bought))

    with tenant_atomic(tenant.pk):
        assert Subscription.objects.get().state == "disabled"


def test_an_admin_pays_an_on_account_bill_by_the_organizations_card(tenant: Tenant, pat: User) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    bill = make_open_bill(make_subscription(tenant), collection="on_account", charge_due_at=None)

    outcome = pay(gina, bill)

    assert isinstance(outcome, BillPaid)
    with tenant_atomic(tenant.pk):
        assert Card.objects.get().user_id is None


def test_nobody_pays_anothers_bill(tenant: Tenant, pat: User, bill: Bill) -> None:
    gina, rhea = make_user(tenant, roles=(Role.GLOBAL_ADMIN,)), make_user(tenant, roles=(Role.GLOBAL_READER,))
    organizations = make_open_bill(make_subscription(tenant))
    charlie = make_user(make_tenant(), purchaser_since=AT)

    for user, wanted in ((gina, bill), (charlie, bill), (pat, organizations)):
        with pytest.raises(NotVisible):
            pay(user, wanted)
    with pytest.raises(NotAllowed):
        pay(rhea, organizations)

    assert charges() == 0


@pytest.mark.parametrize("status", ["credited", "void"])
def test_a_closed_bill_is_not_paid(pat: User, bill: Bill, status: str) -> None:
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=bill.pk).update(status=status)

    with pytest.raises(BillNotOpen):
        pay(pat, bill)

    assert charges() == 0


def test_refuses_without_a_card_and_with_anothers(tenant: Tenant, pat: User, bill: Bill) -> None:
    others = make_card(tenant, make_user(tenant))

    for facts in ({"confirmation_token": ""}, {"card_id": others.pk}):
        with pytest.raises(Malformed):
            pay(pat, bill, **facts)

    assert attempts_of(bill) == []
