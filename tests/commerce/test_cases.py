"""Support is asked to cancel a leaver's purchase, carries it out or declines (product §11, §14)."""

import uuid
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from commerce.models import Bill, Subscription, SubscriptionEvent, SupportCase
from commerce.operations.cancellations import AlreadyStopped
from commerce.operations.cases import (
    AlreadyAsked,
    CaseClosed,
    PurchaserIsHere,
    ask_to_cancel,
    carry_out,
    decline,
    waiting_cases,
)
from config.invariants import violations
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.people import disable_user, enable_user
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LATER = AT + timedelta(days=8)


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
def bought(contoso: Tenant, gina: User) -> Subscription:
    """Power BI Pro of somebody who left."""
    dora = make_user(contoso, name="Dora")
    subscription = make_self_service_subscription(dora, quantity=3)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=AT)
    return subscription


def ask(user: User, bought: Subscription, at: datetime = LATER, **facts: Any) -> SupportCase:
    return ask_to_cancel(actor=actor_of(user), key=bought.key, **{"message": "She left.", "at": at} | facts)


def again(bought: Subscription) -> Subscription:
    with tenant_atomic(bought.tenant_id):
        row: Subscription = Subscription.objects.get(pk=bought.pk)
        return row


def mails(tenant: Tenant) -> list[tuple[int, dict[str, Any]]]:
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(kind="case_answered").order_by("to_user_id")
        return list(rows.values_list("to_user_id", "context"))


def test_a_billing_admin_opens_a_case_and_nothing_else_changes(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    case = ask(bill, bought)

    assert (case.state, case.message, case.asked_by, case.asked_by_id) == (
        *("open", "She left.", "Bill", bill.pk),
    )
    assert (again(bought).state, again(bought).recurring_billing) == ("active", True)
    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.filter(code="commerce.case.opened").count() == 1
        assert SubscriptionEvent.objects.filter(code="support_asked_to_cancel").count() == 1
    assert [(each.organization, each.product, each.quantity) for each in waiting_cases()] == [
        ("Contoso", "Power BI Pro", 3)
    ]


def test_a_second_case_is_not_opened(bill: User, gina: User, bought: Subscription) -> None:
    ask(bill, bought)

    with pytest.raises(AlreadyAsked):
        ask(gina, bought)

    assert len(waiting_cases()) == 1


def test_nobody_asks_for_the_purchase_of_who_is_here(contoso: Tenant, bill: User) -> None:
    subscription = make_self_service_subscription(make_user(contoso))

    with pytest.raises(PurchaserIsHere):
        ask(bill, subscription)

    assert waiting_cases() == []


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_may_not_ask(
    contoso: Tenant, bought: Subscription, roles: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(make_user(contoso, roles=roles), bought)

    assert waiting_cases() == []


def test_a_partner_with_the_delegated_role_asks(contoso: Tenant, bought: Subscription) -> None:
    partner = make_tenant()
    petra = make_user(partner, name="Petra")
    make_relationship(contoso, partner, roles=("billing_admin",), users=(petra,))

    case = ask_to_cancel(actor=actor_of(petra, contoso), key=bought.key, message="", at=LATER)

    assert (case.asked_by, case.asked_by_id) == ("Petra", None)


def test_a_message_that_is_too_long_is_refused(bill: User, bought: Subscription) -> None:
    with pytest.raises(Malformed):
        ask(bill, bought, message="x" * 1001)


def test_what_ends_by_itself_is_not_asked_for(contoso: Tenant, bill: User, bought: Subscription) -> None:
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=bought.pk).update(recurring_billing=False)

    with pytest.raises(AlreadyStopped):
        ask(bill, bought)


def test_support_stops_the_renewal_and_the_admins_read_it(
    contoso: Tenant, gina: User, bill: User, bought: Subscription
) -> None:
    case = ask(bill, bought)

    carry_out(key=case.key, staff="sven", answer="Done as asked.", at=LATER)

    assert (again(bought).state, again(bought).recurring_billing) == ("active", False)
    told = mails(contoso)
    assert [reader for reader, _facts in told] == sorted([gina.pk, bill.pk])
    facts = told[0][1]
    assert (facts["is_done"], facts["ending"], facts["answer"]) == (True, "at_term", "Done as asked.")
    with tenant_atomic(contoso.pk):
        case.refresh_from_db()
        entry = AuditEntry.objects.get(code="commerce.subscription.canceled")
    assert (case.state, case.answered_by, entry.actor_label) == ("done", "Support: sven", "Support: sven")
    assert violations(at=LATER) == []


def test_inside_the_refund_window_the_unused_days_go_back(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    case = ask(bill, bought, at=AT + timedelta(days=1))

    carry_out(key=case.key, staff="sven", answer="", at=AT + timedelta(days=1))

    assert again(bought).state == "disabled"
    ((_reader, facts), *_rest) = mails(contoso)
    assert (facts["ending"], facts["refund_minor"] > 0) == ("at_once", True)
    with tenant_atomic(contoso.pk):
        assert Bill.objects.filter(type="cancel").count() == 1
    assert violations(at=AT + timedelta(days=1)) == []


def test_a_case_is_answered_once(bill: User, bought: Subscription) -> None:
    case = ask(bill, bought)
    carry_out(key=case.key, staff="sven", answer="", at=LATER)

    for answer in (carry_out, decline):
        with pytest.raises(CaseClosed):
            answer(key=case.key, staff="sven", answer="No.", at=LATER)


def test_a_crash_between_canceling_and_answering_is_taken_up_again(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    case = ask(bill, bought)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=bought.pk).update(recurring_billing=False)

    carry_out(key=case.key, staff="sven", answer="", at=LATER)

    assert [facts["is_done"] for _reader, facts in mails(contoso)] == [True, True]


def test_support_cancels_nothing_of_who_came_back_and_declines_with_a_reason(
    contoso: Tenant, gina: User, bill: User, bought: Subscription
) -> None:
    case = ask(bill, bought)
    assert bought.owner_user_id is not None
    enable_user(actor=actor_of(gina), user_id=bought.owner_user_id, at=LATER)

    with pytest.raises(PurchaserIsHere):
        carry_out(key=case.key, staff="sven", answer="", at=LATER)
    with pytest.raises(Malformed):
        decline(key=case.key, staff="sven", answer=" ", at=LATER)
    decline(key=case.key, staff="sven", answer="Dora is back.", at=LATER)

    assert again(bought).recurring_billing
    assert {(facts["is_done"], facts["answer"]) for _reader, facts in mails(contoso)} == {
        (False, "Dora is back.")
    }


def test_there_is_no_other_case() -> None:
    with pytest.raises(NotVisible):
        carry_out(key=uuid.uuid4(), staff="sven", answer="", at=LATER)


def test_the_staff_work_by_command(bill: User, bought: Subscription) -> None:
    case = ask(bill, bought)

    def run(*words: str) -> str:
        said = StringIO()
        call_command("support_case", *words, stdout=said)
        return said.getvalue()

    assert f"{case.key}" in run("list")
    assert "Contoso: Power BI Pro, 1 of 3 assigned. Bill: She left." in run("list")
    with pytest.raises(CommandError):
        run("decline", str(case.key))
    assert "Carried out" in run("cancel", str(case.key), "--staff", "sven")
    assert run("list") == "No case waits.\n"


def test_the_page_says_what_support_would_do_and_opens_the_case(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    client = client_of(bill)
    address = f"/admin/billing/your-products/{bought.key}/support/"
    assert address in client.get(f"/admin/billing/your-products/{bought.key}/").content.decode()

    page = client.get(address).content.decode()
    answer = client.post(address, {"shown_for_tenant": contoso.pk, "message": "She left."})

    assert "Nothing is canceled or charged by it yet." in page
    assert answer.status_code == 303
    assert "With support" in client.get(address).content.decode()
    assert "Support was asked to cancel it" in client.get(answer["Location"]).content.decode()
    assert len(waiting_cases()) == 1
