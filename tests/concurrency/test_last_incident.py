"""Forty premier cases at once for the last three incidents: three are opened, and no incident is lost (product §14)."""

from collections import Counter

import pytest

from commerce.models import SupportCase
from commerce.operations.case_talk import MailTaken, NoIncidentLeft, Written, open_conversation, write_in
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.commerce.talking import ask, grant, said, used
from tests.concurrency.threads import all_at_once
from tests.factories import (
    AT,
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

AT_ONCE = 16


@pytest.fixture
def bill() -> User:
    return make_user(make_tenant(name="Contoso"), name="Bill", roles=("billing_admin",))


def test_the_last_incidents_are_taken_once(bill: User) -> None:
    bought = make_central_subscription(bill)
    assert bought.agreement is not None
    grant(bought.agreement, 5, 2)
    actor = actor_of(bill)

    def send(number: int) -> str:
        try:
            open_conversation(
                actor=actor,
                key=bought.key,
                kind="question",
                subject=f"Question {number}",
                written=Written("Where is it?"),
                is_premier=True,
                at=AT,
            )
        except NoIncidentLeft:
            return "none left"
        return "opened"

    answers = Counter(all_at_once(send, count=40, at_once=AT_ONCE))

    assert answers == {"opened": 3, "none left": 37}
    assert used(bought.agreement.pk, bill.tenant_id) == 5
    with tenant_atomic(bill.tenant_id):
        assert SupportCase.objects.count() == 3


def test_a_mail_that_comes_twice_at_once_is_taken_once(bill: User) -> None:
    case = ask(bill, make_self_service_subscription(bill))
    actor = actor_of(bill)

    def send(number: int) -> str:
        try:
            write_in(actor=actor, key=case.key, written=Written("Done.", message_id="a" * 64), at=AT)
        except MailTaken:
            return "there"
        return "taken"

    answers = Counter(all_at_once(send, count=20, at_once=AT_ONCE))

    assert answers == {"taken": 1, "there": 19}
    assert [text for _author, text, _is_staff in said(case)] == ["Where is my report?", "Done."]
