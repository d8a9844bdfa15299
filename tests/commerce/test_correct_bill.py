"""Correcting whom a bill is made out to: credited once, issued anew, no money moves twice (product §6; I-07, I-19)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from commerce.models import (
    Bill,
    BillLine,
    BillSeries,
    Payment,
    PaymentAttempt,
    RefundAttempt,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.checkouts import BillingDetails
from commerce.operations.corrections import (
    AlreadyCorrected,
    BeingPaid,
    Corrected,
    NotCorrectable,
    NothingToCorrect,
    correct_bill,
)
from commerce.operations.on_account import tell_of_bills
from commerce.operations.payments import pay_checkout, settle_refunds
from commerce.operations.payments.attempts import begin
from commerce.operations.renewals import charge_due
from commerce.queries.seats import lots_of
from config.invariants import violations
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import send_due_mails
from tests.commerce.test_charge_bill import LATER, billed, bought
from tests.commerce.test_vat_register import NUMBER, Register, register
from tests.factories import (
    AT,
    actor_of,
    make_bill,
    make_bill_to,
    make_checkout,
    make_credit_note,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges, refunds

__all__ = ["register"]

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

FIRST, SECOND, THIRD = (f"SK-NL-2026-00000{n}" for n in (1, 2, 3))
NEXT_DAY = AT + timedelta(days=1)
RIGHT = BillingDetails(
    name="Contoso B.V.", street="Herengracht 2", postal_code="1016 BS", city="Amsterdam", country="NL"
)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def paid(pat: User) -> Subscription:
    """Ten seats at 9.40: 94.00 and 21 % tax, 113.74, paid by card with bill 1."""
    return make_self_service_subscription(pat)


def correct(user: User, number: str = FIRST, billing: BillingDetails = RIGHT) -> Corrected:
    with tenant_atomic(user.tenant_id):
        user = User.objects.get(pk=user.pk)
    return correct_bill(actor=actor_of(user), number=number, billing=billing, at=NEXT_DAY)


def rows(of: Any, model: Any, *fields: str, **where: Any) -> list[Any]:
    with tenant_atomic(of.tenant_id):
        return list(model.objects.filter(**where).order_by("pk").values_list(*fields))


def everything(of: Any) -> list[int]:
    """How many rows there are of what a correction writes."""
    with tenant_atomic(of.tenant_id):
        models: list[Any] = [Bill, BillLine, Payment, SubscriptionEvent, AuditEntry, OutgoingMail]
        return [model.objects.count() for model in models]


def test_it_is_credited_and_issued_anew_with_the_next_numbers(pat: User, paid: Subscription) -> None:
    done = correct(pat)

    assert rows(
        pat, Bill, "number", "type", "status", "total_minor", "credits__number", "replaces__number"
    ) == [
        (FIRST, "purchase", "credited", 11_374, None, None),
        (SECOND, "credit", "credited", -11_374, FIRST, None),
        (THIRD, "purchase", "paid", 11_374, None, FIRST),
    ]
    assert (done.old.number, done.credit_note.number, done.bill.number) == (FIRST, SECOND, THIRD)
    assert rows(pat, BillSeries, "next_number") == [(4,)]
    assert violations(at=NEXT_DAY) == []


def test_only_the_details_are_others(pat: User, paid: Subscription) -> None:
    kept = [
        *(
            "order_id",
            "payer_id",
            "collection",
            "due_at",
            "period_start",
            "period_end",
            "paid_at",
            "paid_minor",
        ),
        *("currency", "subtotal_minor", "tax_name", "tax_rate", "tax_minor", "vendor_entity_id"),
    ]
    lines = ("description", "quantity", "unit_price_minor", "amount_minor", "service_start", "service_end")

    correct(pat)

    assert rows(pat, Bill, *kept, number=THIRD) == rows(pat, Bill, *kept, number=FIRST)
    assert rows(pat, BillLine, *lines, bill__number=THIRD) == rows(pat, BillLine, *lines, bill__number=FIRST)
    assert rows(pat, Bill, "bill_to__name", "bill_to__street", "bill_to__email") == [
        ("Pat Peters", "Keizersgracht 1", "pat@contoso.example"),
        ("Pat Peters", "Keizersgracht 1", "pat@contoso.example"),
        ("Contoso B.V.", "Herengracht 2", "pat@contoso.example"),
    ]


def test_seller_and_tax_are_those_of_the_bill_whatever_the_purchase_has_now(
    pat: User, paid: Subscription
) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(tax_rate=25, tax_name="GST")

    correct(pat)

    assert rows(pat, Bill, "tax_name", "tax_rate", "tax_minor", number=THIRD) == [("VAT", 21, 1_974)]


def test_what_was_paid_counts_for_the_new_bill_and_nothing_is_given_back(
    pat: User, paid: Subscription
) -> None:
    correct(pat)

    assert rows(pat, Payment, "bill__number", "amount_minor", "moved_from__bill__number", "received_at") == [
        (FIRST, 11_374, None, AT),
        (THIRD, 11_374, FIRST, AT),
    ]
    assert rows(pat, RefundAttempt, "pk") == []
    assert rows(pat, Bill, "paid_minor", "credited_minor", "refunded_minor", number=FIRST) == [
        (11_374, 11_374, 0)
    ]


@pytest.mark.usefixtures("empty_processor")
def test_what_is_given_back_later_goes_to_the_card_that_paid(pat: User) -> None:
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    done = correct(pat)

    note = make_credit_note(done.bill, 3_000, at=NEXT_DAY)
    settle_refunds(at=NEXT_DAY)

    assert [made["amount"] for made in refunds()] == [3_630]
    assert rows(pat, Bill, "status", number=note.number) == [("paid",)]
    assert charges() == 1
    assert violations(at=NEXT_DAY) == []


def test_the_days_to_cancel_stay_those_of_the_first_charge(pat: User, paid: Subscription) -> None:
    def windows() -> list[Any]:
        with tenant_atomic(pat.tenant_id):
            return [(lot.quantity, lot.charged_at, lot.refund_until) for lot in lots_of(paid)]

    before = windows()

    correct(pat)

    assert windows() == before == [(10, AT, AT + timedelta(days=7))]


@pytest.mark.usefixtures("empty_processor")
def test_an_unpaid_bill_stays_due_as_it_was_and_is_charged_once(pat: User) -> None:
    subscription = bought(pat)
    wrong = billed(subscription)
    place = (
        "status",
        "charge_due_at",
        "tries",
        "last_decline",
        "failed_at",
        "dunning_step",
        "next_dunning_at",
    )
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=wrong.pk).update(
            tries=1, last_decline="insufficient_funds", decline_kind="soft", failed_at=AT, dunning_step=1
        )
    before = rows(pat, Bill, *place, pk=wrong.pk)

    done = correct(pat, wrong.number)

    assert rows(pat, Bill, *place, pk=done.bill.pk) == before
    assert rows(pat, Bill, "status", "charge_due_at", pk=wrong.pk) == [("credited", None)]
    charge_due(at=LATER)
    assert charges() == 2
    assert rows(pat, Bill, "status", pk=done.bill.pk) == [("paid",)]
    assert violations(at=LATER, only=["I-07", "I-09", "I-10", "I-19"]) == []


def test_a_bill_on_account_that_is_past_due_stays_past_due(contoso: Tenant) -> None:
    admin = make_user(contoso, name="Bill", roles=("billing_admin",))
    number = make_bill(make_subscription(contoso), status="past_due").number

    done = correct(admin, number)

    assert (done.bill.status, done.bill.collection, done.bill.payer_id) == ("past_due", "on_account", None)


def test_a_bill_on_account_in_place_of_another_is_told_of_once(contoso: Tenant) -> None:
    admin = make_user(contoso, name="Bill", roles=("billing_admin",))
    wrong = make_bill(make_subscription(contoso), type="renewal", due_at=AT + timedelta(days=30))

    correct(admin, wrong.number)
    tell_of_bills(at=NEXT_DAY)

    assert rows(admin, OutgoingMail, "kind") == [("bill_corrected",)]


def test_a_bill_is_corrected_once_and_the_new_one_can_be_again(pat: User, paid: Subscription) -> None:
    correct(pat)
    before = everything(pat)

    with pytest.raises(AlreadyCorrected) as refused:
        correct(pat, billing=replace(RIGHT, name="Contoso Holding B.V."))

    assert refused.value.number == THIRD
    assert everything(pat) == before
    again = correct(pat, THIRD, replace(RIGHT, name="Contoso Holding B.V."))
    assert again.bill.number == "SK-NL-2026-000005"
    assert rows(pat, Payment, "moved_from__bill__number") == [(None,), (FIRST,), (THIRD,)]
    assert violations(at=NEXT_DAY) == []


def test_refuses_details_that_the_bill_has_already(pat: User, paid: Subscription) -> None:
    same = BillingDetails(
        name="Pat Peters", street="Keizersgracht 1", postal_code="1015 CJ", city="Amsterdam", country="NL"
    )
    before = everything(pat)

    with pytest.raises(NothingToCorrect):
        correct(pat, billing=same)

    assert everything(pat) == before


def test_refuses_a_bill_of_which_something_was_credited_and_its_credit_note(
    pat: User, paid: Subscription
) -> None:
    with tenant_atomic(pat.tenant_id):
        note = make_credit_note(Bill.objects.get(number=FIRST), 3_000)
    before = everything(pat)

    for number in (FIRST, note.number):
        with pytest.raises(NotCorrectable):
            correct(pat, number)

    assert everything(pat) == before


@pytest.mark.usefixtures("empty_processor")
def test_refuses_while_a_card_is_being_charged(pat: User) -> None:
    bill = billed(bought(pat))
    with tenant_atomic(pat.tenant_id):
        begin(actor=actor_of(pat), cause=bill, customer_id="cus_1", at=AT)
    before = everything(pat)

    with pytest.raises(BeingPaid):
        correct(pat, bill.number)

    assert everything(pat) == before
    assert rows(pat, PaymentAttempt, "state", bill=bill) == [("created",)]


def test_it_is_for_who_pays_alone(contoso: Tenant, pat: User, paid: Subscription) -> None:
    central = make_bill(make_subscription(contoso)).number
    reader = make_user(contoso, name="Rhea", roles=("global_reader",))
    partners = make_tenant(name="Northwind")
    petra = make_user(partners, name="Petra")
    make_relationship(contoso, partners, users=(petra,), roles=("billing_admin",))
    admin = make_user(contoso, name="Bill", roles=("billing_admin",))
    charlie = make_user(make_tenant(name="Fabrikam"), name="Charlie", roles=("global_admin",))
    before = everything(pat)

    for stranger in (admin, charlie, make_user(contoso, name="Mike")):
        with pytest.raises(NotVisible):
            correct(stranger, FIRST)
    for stranger in (charlie, pat):
        with pytest.raises(NotVisible):
            correct(stranger, central)
    with pytest.raises(NotAllowed):
        correct(reader, central)
    with pytest.raises(NotAllowed):
        correct_bill(actor=actor_of(petra, acting_for=contoso), number=central, billing=RIGHT, at=NEXT_DAY)

    assert everything(pat) == before
    correct(admin, central)
    assert rows(pat, Bill, "bill_to__name", replaces__number=central) == [("Contoso B.V.",)]


def test_a_suspended_organization_may_pay_and_not_correct(
    contoso: Tenant, pat: User, paid: Subscription
) -> None:
    with use_login("owner"):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")
    before = everything(pat)

    with pytest.raises(NotAllowed, match="suspended"):
        correct(pat)

    assert everything(pat) == before


def test_a_new_vat_number_is_looked_up_and_changes_no_tax(
    pat: User, paid: Subscription, register: type[Register]
) -> None:
    correct(pat, billing=replace(RIGHT, vat_number=NUMBER))
    correct(pat, THIRD, replace(RIGHT, vat_number=NUMBER, name="Contoso Holding B.V."))

    said = ("bill_to__vat_number", "bill_to__vat_is_verified", "tax_minor", "total_minor")
    assert rows(pat, Bill, *said, replaces__isnull=False) == [(NUMBER, True, 1_974, 11_374)] * 2
    assert len(register.asked) == 1


def test_later_bills_take_the_new_details_where_they_would_have_taken_the_wrong_ones(
    contoso: Tenant, pat: User, paid: Subscription
) -> None:
    other = make_self_service_subscription(make_user(contoso, name="Sam"))
    elsewhere = make_bill_to(contoso, name="Elsewhere")
    with tenant_atomic(contoso.pk):
        second = Bill.objects.get(subscription=other).number
        Subscription.objects.filter(pk=other.pk).update(bill_to=elsewhere)
        sam = User.objects.get(name="Sam")

    correct(pat)
    correct(sam, second)

    assert rows(pat, Subscription, "bill_to__name") == [("Contoso B.V.",), ("Elsewhere",)]


def test_is_told_in_the_history_the_trail_and_a_mail_with_both_pdfs(pat: User, paid: Subscription) -> None:
    send_due_mails(at=NEXT_DAY)
    mail.outbox.clear()

    correct(pat)
    send_due_mails(at=NEXT_DAY)

    facts = {"bill": FIRST, "credit_note": SECOND, "replaced_by": THIRD}
    assert rows(pat, SubscriptionEvent, "facts", code="bill_corrected") == [(facts,)]
    ((label, after),) = rows(pat, AuditEntry, "target_label", "after", code="commerce.bill.corrected")
    assert (label, after["replaced_by"], after["changed"]) == (
        FIRST,
        THIRD,
        ["name", "street", "postal_code"],
    )
    (told,) = [each for each in mail.outbox if each.to == ["pat@contoso.example"]]
    assert told.subject == f"{FIRST} is corrected: {THIRD} takes its place"
    assert [name for name, _, _ in told.attachments] == [f"{SECOND}.pdf", f"{THIRD}.pdf"]
    assert "nothing is charged or refunded" in str(told.body)
