"""What somebody who leaves bought or was buying (product §11; F-22)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.conf import settings

from commerce.documents import _payer
from commerce.models import Bill, BillTo, Checkout, Order, PaymentAttempt, Subscription, SubscriptionEvent
from commerce.operations.leaving import forget_payers
from commerce.operations.payments import Paid, attempts, pay_bill, pay_checkout
from commerce.operations.renewals import charge_due, renew_due
from commerce.operations.subscriptions import remember
from commerce.views.wording import EVENTS, event_title
from config.invariants import violations
from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.names import forget_names, forget_trail
from directory.operations.people import AccountDisabled, disable_user
from licensing.operations.leaving import free_licenses_of_leavers
from tests.factories import (
    AT,
    actor_of,
    make_bill,
    make_checkout,
    make_open_bill,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peeters", email="pat@contoso.example")


def disable(gina: User, user: User) -> None:
    disable_user(actor=actor_of(gina), user_id=user.pk, at=AT)


def delete(gina: User, user: User) -> None:
    delete_user(actor=actor_of(gina), user_id=user.pk, at=AT, real_at=real_now())


def mails(tenant: Tenant, kind: str) -> list[tuple[int, dict[str, Any]]]:
    with tenant_atomic(tenant.pk):
        return list(
            OutgoingMail.objects.filter(kind=kind).order_by("to_user_id").values_list("to_user_id", "context")
        )


@pytest.mark.parametrize(("end", "is_deletion"), [(disable, False), (delete, True)])
def test_the_billing_admins_are_told_what_a_leaver_owns(
    contoso: Tenant, gina: User, bill: User, pat: User, end: Callable[..., None], is_deletion: bool
) -> None:
    make_self_service_subscription(pat, quantity=3)

    end(gina, pat)

    told = mails(contoso, "purchaser_left")
    assert [reader for reader, _context in told] == sorted([gina.pk, bill.pk])
    facts = told[0][1]
    assert (facts["name"], facts["by"], facts["is_deletion"]) == ("Pat Peeters", "Gina", is_deletion)
    assert [(each["product"], each["quantity"], each["assigned"]) for each in facts["purchases"]] == [
        ("Power BI Pro", 3, 1)
    ]
    assert facts["link"].endswith(f"/admin/billing/your-products/?purchaser={pat.key}")


def test_nobody_is_told_of_a_leaver_who_owns_nothing(contoso: Tenant, gina: User, pat: User) -> None:
    make_subscription(contoso, owner=pat, state="deleted", due_at=None)

    disable(gina, pat)

    assert mails(contoso, "purchaser_left") == []


def test_a_deleted_purchaser_is_a_former_user_on_the_purchase_and_keeps_the_name_on_the_bill(
    contoso: Tenant, gina: User, pat: User
) -> None:
    bought = make_self_service_subscription(pat)

    delete(gina, pat)

    with tenant_atomic(contoso.pk):
        bought.refresh_from_db()
        assert (bought.purchaser_name, bought.purchaser_sort) == ("Former user", "former user")
        assert "peeters" not in bought.search_text
        assert "pat@" not in bought.search_text
        assert Bill.objects.get().bill_to.name == "Pat Peeters"
        assert SubscriptionEvent.objects.filter(actor_label="Pat Peeters").exists()


def test_the_sweep_forgets_a_name_that_a_deletion_left(contoso: Tenant, pat: User) -> None:
    bought = make_self_service_subscription(pat)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=pat.pk).update(status="deleted", name="Former user", sort_name="former user")

    assert [forget_names(at=AT) for _ in range(2)] == [3, 0]

    with tenant_atomic(contoso.pk):
        bought.refresh_from_db()
        assert Order.objects.get().actor_label == "Former user"
    assert bought.purchaser_name == "Former user"


SECOND = timedelta(seconds=1)


def payer_of(tenant: Tenant) -> tuple[str, ...]:
    with tenant_atomic(tenant.pk):
        (row,) = BillTo.objects.values_list(
            *("name", "street", "postal_code", "city", "vat_number", "own_reference", "email", "country")
        )
        return tuple(row)


def test_name_and_address_on_a_persons_bills_go_after_ten_years_and_the_books_stay(
    contoso: Tenant, pat: User
) -> None:
    bought = make_self_service_subscription(pat)
    with tenant_atomic(contoso.pk):
        Subscription.objects.update(state="deleted", due_at=None)
    before = payer_of(contoso)
    last = AT + settings.BILLS_KEPT

    counts = [forget_payers(at=at) for at in (last, last + SECOND, last + SECOND)]

    assert counts == [0, 1, 0]
    assert before[0] == "Pat Peeters"
    assert before[1]
    assert payer_of(contoso) == ("",) * 7 + before[7:]
    with tenant_atomic(contoso.pk):
        kept = Bill.objects.select_related("bill_to").get()
    assert kept.subtotal_minor == bought.quantity * bought.unit_price_minor
    assert _payer(kept)[0] == "Name and address are kept no longer"


@pytest.mark.parametrize("why", ["in use", "open", "the organization's", "billed lately"])
def test_what_is_still_billed_or_is_no_persons_stays(contoso: Tenant, pat: User, why: str) -> None:
    make_self_service_subscription(pat)
    with tenant_atomic(contoso.pk):
        if why != "in use":
            Subscription.objects.update(state="deleted", due_at=None)
        if why == "the organization's":
            Bill.objects.update(payer=None)
        row = Subscription.objects.select_related("owner_user", "bill_to", "vendor_entity", "product").get()
    if why == "open":
        make_bill(row)
    if why == "billed lately":
        make_bill(row, at=AT + SECOND, status="void")
    before = payer_of(contoso)

    assert forget_payers(at=AT + settings.BILLS_KEPT + SECOND) == 0

    assert payer_of(contoso) == before


def test_an_old_history_says_what_happened_and_not_by_whom(contoso: Tenant, pat: User) -> None:
    bought = make_self_service_subscription(pat)
    actor = actor_of(pat)
    with tenant_atomic(contoso.pk):
        facts = {"from": "Pat Peeters", "to": "Mike", "count": 1}
        told = remember(bought, "handed_over", actor=actor, at=AT, **facts)
    before = AT + settings.AUDIT_KEPT

    forget_trail(at=before)
    with tenant_atomic(contoso.pk):
        told.refresh_from_db()
        young = (told.actor_label, told.facts)
    forget_trail(at=before + SECOND)

    with tenant_atomic(contoso.pk):
        told.refresh_from_db()
    assert young == ("Pat Peeters", facts)
    assert (told.actor_label, told.facts) == ("-", {"count": 1})
    assert event_title(told, {}) == EVENTS["handed_over"]
    assert violations(at=before + SECOND, only=["I-26"]) == []


def test_the_subscription_of_a_leaver_renews_and_its_receipt_goes_to_the_billing_admins(
    contoso: Tenant, gina: User, pat: User
) -> None:
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    disable(gina, pat)
    with tenant_atomic(contoso.pk):
        due_at: datetime = Subscription.objects.get().due_at

    renew_due(at=due_at)
    charge_due(at=due_at)
    free_licenses_of_leavers(at=due_at)

    with tenant_atomic(contoso.pk):
        assert list(Bill.objects.order_by("id").values_list("type", "status")) == [
            ("purchase", "paid"),
            ("renewal", "paid"),
        ]
    told = mails(contoso, "renewal_receipt")
    assert [(reader, facts["payer_left"]) for reader, facts in told] == [(gina.pk, True)]
    assert violations(at=due_at) == []


def test_a_checkout_of_a_disabled_person_is_not_charged(contoso: Tenant, gina: User, pat: User) -> None:
    checkout = make_checkout(pat)
    actor, token = actor_of(pat), card_token()
    disable(gina, pat)

    with pytest.raises(AccountDisabled):
        pay_checkout(actor=actor, key=checkout.key, confirmation_token=token, at=AT)

    assert charges() == 0
    with tenant_atomic(contoso.pk):
        assert PaymentAttempt.objects.get().state == "canceled"
        assert Checkout.objects.get().state == "open"
        assert not Subscription.objects.exists()


def test_a_bill_that_a_disabled_person_was_paying_is_not_charged(
    contoso: Tenant, gina: User, pat: User
) -> None:
    open_bill = make_open_bill(make_subscription(contoso, owner=pat))
    actor, token = actor_of(pat), card_token()
    disable(gina, pat)

    with pytest.raises(AccountDisabled):
        pay_bill(actor=actor, number=open_bill.number, confirmation_token=token, at=AT)

    assert charges() == 0


def test_a_charge_that_was_confirmed_before_stands_and_gives_the_leaver_no_license(
    contoso: Tenant, gina: User, pat: User
) -> None:
    checkout, token = make_checkout(pat), card_token()
    actor = actor_of(pat)

    def at_step(step: str) -> None:
        if step == "R5:before":
            disable(gina, pat)

    with mock.patch.object(attempts, "reached", at_step):
        outcome = pay_checkout(actor=actor, key=checkout.key, confirmation_token=token, at=AT)

    assert isinstance(outcome, Paid)
    assert charges() == 1
    with tenant_atomic(contoso.pk):
        bought = Subscription.objects.get()
        assert (bought.owner_user_id, bought.assigned) == (pat.pk, 0)
    assert violations(at=AT) == []
