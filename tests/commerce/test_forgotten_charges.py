"""Charges that the processor has and this database has forgotten: found, brought in, never made again (F-26)."""

import uuid
from datetime import UTC, timedelta
from io import StringIO
from typing import Any

import pytest
import stripe
from django.conf import settings
from django.core.management import CommandError, call_command

from commerce.models import Bill, Checkout, PaymentAttempt, Subscription, UnmatchedCharge
from commerce.operations import billing_control
from commerce.operations.forgotten_charges import (
    BillingGoesOn,
    Verdict,
    bring_in,
    missing_charges,
    resolve_unmatched,
)
from commerce.operations.payments import pay_checkout
from commerce.operations.renewals import renew_due, run_sweeps
from config.invariants import violations
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry
from tests.commerce.test_charge_bill import LATER, bought
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

SINCE = AT - timedelta(days=1)


def charge_behind_our_back(amount: int, *, customer: str, **metadata: str) -> str:
    """A charge as the database that was lost made it; the intent's id."""
    client = stripe.StripeClient(
        settings.STRIPE_SECRET_KEY, base_addresses={"api": settings.STRIPE_API_BASE}, max_network_retries=0
    )
    made = client.v1.payment_intents.create(
        {
            "amount": amount,
            "currency": "eur",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"attempt": f"att_{uuid.uuid4().hex}", **metadata},
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
    )
    assert made.status == "succeeded"
    return made.id


@pytest.fixture
def subscription() -> Subscription:
    """Ten seats at 9.40, paid; the renewal on 10 April is due at `LATER`. Billing is paused."""
    subscription = bought(make_user(make_tenant(), name="Pat"))
    billing_control.pause(reason="restored", at=AT)
    return subscription


def forgotten_renewal(
    subscription: Subscription, *, amount: int = 11_374, number: str = "SK-NL-2026-000099"
) -> str:
    return charge_behind_our_back(
        amount,
        customer=intents()[-1]["customer"],
        tenant=str(subscription.tenant_id),
        bill=number,
        type="renewal",
        subscription=str(subscription.key),
        period=subscription.period_end.astimezone(UTC).isoformat(),
    )


def verdicts(at: Any = LATER) -> list[tuple[str, Verdict]]:
    return [(missing.intent.id, missing.verdict) for missing in missing_charges(since=SINCE, at=at)]


def bills(subscription: Subscription) -> list[tuple[str, str]]:
    with tenant_atomic(subscription.tenant_id):
        return list(
            Bill.objects.filter(subscription=subscription).order_by("pk").values_list("type", "status")
        )


def test_what_is_booked_is_not_missing(subscription: Subscription) -> None:
    assert verdicts() == []


def test_a_renewal_that_was_forgotten_with_its_bill_is_billed_and_booked(subscription: Subscription) -> None:
    intent_id = forgotten_renewal(subscription)
    assert verdicts() == [(intent_id, Verdict.BILL_FIRST)]
    assert bills(subscription) == [("purchase", "paid")]

    bring_in(since=SINCE, at=LATER)

    assert bills(subscription) == [("purchase", "paid"), ("renewal", "paid")]
    assert verdicts() == []
    billing_control.resume(at=LATER)
    run_sweeps(at=LATER)
    assert charges() == 2
    assert violations(at=LATER) == []


def test_a_bill_whose_charge_was_forgotten_is_booked(subscription: Subscription) -> None:
    renew_due(at=LATER, while_paused=True)
    intent_id = forgotten_renewal(subscription)

    assert verdicts() == [(intent_id, Verdict.BOOK)]
    bring_in(since=SINCE, at=LATER)

    assert bills(subscription)[-1] == ("renewal", "paid")
    with tenant_atomic(subscription.tenant_id):
        attempt = PaymentAttempt.objects.get(intent_id=intent_id)
    assert (attempt.state, attempt.bill_id is not None) == ("succeeded", True)
    assert violations(at=LATER) == []


def test_a_number_given_again_does_not_mislead(subscription: Subscription) -> None:
    """The lost database gave the renewal the number that here is another purchase's."""
    other = make_user(make_tenant(), name="Other")
    billing_control.resume(at=AT, unreconciled=True)
    checkout = make_checkout(other)
    pay_checkout(actor=actor_of(other), key=checkout.key, confirmation_token=card_token(), at=AT)
    billing_control.pause(reason="restored", at=AT)
    forgotten_renewal(subscription, number="SK-NL-2026-000002")

    bring_in(since=SINCE, at=LATER)

    assert bills(subscription)[-1] == ("renewal", "paid")


def test_an_attempt_that_was_under_way_in_the_backup_is_finished() -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    billing_control.pause(reason="restored", at=AT)

    assert [verdict for _, verdict in verdicts(AT)] == [Verdict.FINISH]
    bring_in(since=SINCE, at=AT)

    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get().state == "paid"
    assert charges() == 1
    assert violations(at=AT) == []


def test_a_checkout_that_was_paid_after_the_backup_gets_its_order() -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    billing_control.pause(reason="restored", at=AT)
    charge_behind_our_back(
        11_374, customer=new_customer(), tenant=str(pat.tenant_id), checkout=str(checkout.key)
    )

    assert [verdict for _, verdict in verdicts(AT)] == [Verdict.BOOK]
    bring_in(since=SINCE, at=AT)

    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get().state == "paid"
        assert Subscription.objects.get().state == "active"
    assert violations(at=AT) == []


def new_customer() -> str:
    client = stripe.StripeClient(
        settings.STRIPE_SECRET_KEY, base_addresses={"api": settings.STRIPE_API_BASE}, max_network_retries=0
    )
    return client.v1.customers.create({}).id


def unmatched(subscription: Subscription) -> list[tuple[str, str, int]]:
    with use_login("worker"):
        return list(UnmatchedCharge.objects.values_list("intent_id", "cause", "amount_minor"))


def test_another_amount_is_left_to_staff_and_its_period_is_not_charged_again(
    subscription: Subscription,
) -> None:
    """Seats that were added after the backup: the renewal here is smaller than the one that was charged."""
    intent_id = forgotten_renewal(subscription, amount=13_000)

    bring_in(since=SINCE, at=LATER)
    billing_control.resume(at=LATER)
    run_sweeps(at=LATER)

    assert unmatched(subscription) == [(intent_id, "renewal SK-NL-2026-000099", 13_000)]
    assert bills(subscription)[-1] == ("renewal", "open")
    assert charges() == 2
    with tenant_atomic(subscription.tenant_id):
        assert AuditEntry.objects.filter(code="commerce.bill.charge_withheld").count() == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"tenant": "999999", "bill": "SK-NL-2026-000001"},
        {"tenant": "nonsense", "bill": "SK-NL-2026-000001"},
        {"tenant": "OWN", "checkout": "00000000-0000-4000-8000-000000000000"},
        {"tenant": "OWN", "checkout": "nonsense"},
        {"tenant": "OWN", "bill": "SK-NL-2026-000001"},
        {"tenant": "OWN", "bill": "x", "subscription": "nonsense", "period": "nonsense"},
    ],
)
def test_what_names_nothing_of_ours_is_left_to_staff(
    subscription: Subscription, metadata: dict[str, str]
) -> None:
    own = {name: str(subscription.tenant_id) if value == "OWN" else value for name, value in metadata.items()}
    intent_id = charge_behind_our_back(500, customer=intents()[-1]["customer"], **own)

    assert verdicts() == [(intent_id, Verdict.UNMATCHED)]
    bring_in(since=SINCE, at=LATER)

    assert [row[0] for row in unmatched(subscription)] == [intent_id]
    assert verdicts() == []
    assert resolve_unmatched(intent_id=intent_id, resolution="refunded by hand", at=LATER)
    assert not resolve_unmatched(intent_id=intent_id, resolution="again", at=LATER)


def test_a_charge_of_another_tenants_subscription_is_left_to_staff(subscription: Subscription) -> None:
    stranger = make_user(make_tenant())
    charge_behind_our_back(
        11_374,
        customer=intents()[-1]["customer"],
        tenant=str(stranger.tenant_id),
        bill="x",
        type="renewal",
        subscription=str(subscription.key),
        period=subscription.period_end.astimezone(UTC).isoformat(),
    )

    assert [verdict for _, verdict in verdicts()] == [Verdict.UNMATCHED]


def test_bringing_in_twice_changes_nothing_more(subscription: Subscription) -> None:
    forgotten_renewal(subscription)
    bring_in(since=SINCE, at=LATER)
    before = bills(subscription)

    again = bring_in(since=SINCE, at=LATER)

    assert again == []
    assert bills(subscription) == before


def test_nothing_is_brought_in_while_billing_goes_on(subscription: Subscription) -> None:
    forgotten_renewal(subscription)
    billing_control.resume(at=AT, unreconciled=True)

    with pytest.raises(BillingGoesOn):
        bring_in(since=SINCE, at=LATER)

    assert bills(subscription) == [("purchase", "paid")]


def test_the_command_shows_first_and_books_when_told(subscription: Subscription) -> None:
    """By the database's clock, long after the factories' March: the renewals since are due, too."""
    intent_id = forgotten_renewal(subscription)
    said = StringIO()

    with pytest.raises(CommandError) as shown:
        call_command("reconcile_processor", "--since", SINCE.isoformat(), stdout=said)

    assert shown.value.returncode == 1
    assert (
        f"{intent_id}  €113.74  tenant {subscription.tenant_id}  renewal SK-NL-2026-000099" in said.getvalue()
    )
    assert bills(subscription) == [("purchase", "paid")]

    call_command("reconcile_processor", "--since", SINCE.isoformat(), "--apply", stdout=said)

    assert bills(subscription)[1] == ("renewal", "paid")
    call_command("billing", "resume", stdout=said)
    assert said.getvalue().endswith("Billing goes on.\n")


@pytest.mark.parametrize("since", ["yesterday", "2026-11-26T03:00"])
def test_the_command_refuses_an_instant_without_a_zone(since: str) -> None:
    with pytest.raises(CommandError):
        call_command("reconcile_processor", "--since", since)
