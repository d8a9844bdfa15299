"""Asking a purchaser to cancel: who may, who can be asked, reminders, and what closes it (product §10)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils.translation import override

from commerce.models import CancelRequest, Subscription, SubscriptionEvent
from commerce.operations.cancel_requests import (
    AlreadyAsked,
    NobodyToAsk,
    NotAsked,
    ask_to_cancel,
    decline_cancel_request,
    withdraw_cancel_request,
)
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.checkouts import BillingDetails
from commerce.operations.handovers import accept_hand_over, offer_hand_over
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import remind_asked
from commerce.operations.subscriptions import disable
from commerce.operations.takeovers import take_over
from commerce.queries.takeovers import plan_take_over
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.operations.people import disable_user
from tests.factories import (
    AT,
    actor_of,
    make_agreement,
    make_card,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DAY = timedelta(days=1)
# Local midnights in Amsterdam, three, seven and fourteen days after the tenth of March.
REMINDERS = [datetime(2026, 3, day, 23, tzinfo=UTC) for day in (12, 16, 23)]


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


def ask(by: User | Actor, subscription: Subscription, *, at: datetime = AT, **facts: Any) -> CancelRequest:
    actor = actor_of(by) if isinstance(by, User) else by
    return ask_to_cancel(actor=actor, key=subscription.key, at=at, **facts)


def fresh[T: (Subscription, CancelRequest)](row: T) -> T:
    with tenant_atomic(row.tenant_id):
        return type(row).objects.get(pk=row.pk)


def mails() -> list[OutgoingMail]:
    with use_login("worker"):
        return list(OutgoingMail.objects.filter(kind="cancel_request").order_by("id"))


def answers() -> list[tuple[str, int, str]]:
    """What who asked was told: which answer, to whom, and the subject."""
    with use_login("worker"):
        rows = list(OutgoingMail.objects.filter(kind="cancel_request_answered").order_by("id"))
    return [(row.context["what"], row.to_user_id, str(message_of(row).subject)) for row in rows]


def last_answer() -> str:
    with use_login("worker"):
        row = OutgoingMail.objects.filter(kind="cancel_request_answered").latest("id")
    return str(message_of(row).body)


def requests() -> list[str]:
    with use_login("worker"):
        return list(CancelRequest.objects.order_by("id").values_list("state", flat=True))


def test_the_purchaser_gets_a_mail_at_once_that_leads_to_the_page_with_the_button(
    pat: User, bill: User, bought: Subscription
) -> None:
    request = ask(bill, bought, message="Use the  central licenses.\n")

    (mail,) = mails()
    body = str(message_of(mail).body)
    assert (mail.to_user_id, mail.context["stage"]) == (pat.pk, "asked")
    assert message_of(mail).subject == "Bill Bakker asks you to cancel Power BI Pro"
    assert f"/admin/billing/your-products/{bought.key}/cancel/" in body
    assert "Use the central licenses." in body
    assert (request.state, request.reminders, request.next_reminder_at) == ("asked", 0, REMINDERS[0])
    row = fresh(bought)
    assert (row.state, row.recurring_billing, row.version, row.owner_user_id) == (
        *("active", True, bought.version),
        pat.pk,
    )
    with tenant_atomic(bought.tenant_id):
        entry = AuditEntry.objects.get(code="commerce.cancel_request.asked")
        assert (entry.actor_label, entry.after["purchaser"]) == ("Bill Bakker", "Pat Peters")
        assert SubscriptionEvent.objects.filter(code="cancel_asked", subscription=bought).count() == 1
    assert violations(at=AT) == []


def test_three_reminders_follow_each_sent_once_and_then_taking_over_is_offered(
    bill: User, bought: Subscription
) -> None:
    request = ask(bill, bought)
    make_agreement(bill.tenant)

    for hours in range(0, 24 * 25, 6):
        remind_asked(at=AT + timedelta(hours=hours))

    told = [
        (mail.context["stage"], mail.created_at.date().isoformat(), mail.context.get("is_last"))
        for mail in mails()
    ]
    assert told == [
        ("asked", "2026-03-10", False),
        ("reminder", "2026-03-13", False),
        ("reminder", "2026-03-17", False),
        ("reminder", "2026-03-24", True),
    ]
    last = message_of(mails()[-1])
    assert last.subject == "Bill Bakker still waits for you to cancel Power BI Pro"
    assert "after it Contoso may take the purchase over" in str(last.body)
    row = fresh(request)
    assert (row.reminders, row.next_reminder_at, row.was_reminded_in_vain) == (3, None, True)


def test_after_an_outage_the_latest_reminder_alone_is_sent(bill: User, bought: Subscription) -> None:
    request = ask(bill, bought)

    sent = remind_asked(at=REMINDERS[1] + DAY)

    assert sent == 1
    assert (fresh(request).reminders, fresh(request).next_reminder_at) == (2, REMINDERS[2])
    assert remind_asked(at=REMINDERS[1] + DAY) == 0


def test_many_are_reminded_in_batches(bill: User, pat: User) -> None:
    for slug in ("power-bi-pro", "visio-plan-2", "project-plan-3"):
        ask(bill, make_self_service_subscription(pat, plan=plan(slug)))

    assert remind_asked(at=REMINDERS[0], limit=2) == 3
    assert len(mails()) == 6


def test_who_was_asked_and_left_gets_no_reminder(
    contoso: Tenant, bill: User, pat: User, bought: Subscription
) -> None:
    ask(bill, bought)
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=pat.pk, at=AT)

    assert remind_asked(at=REMINDERS[0]) == 0
    assert len(mails()) == 1


def test_asking_twice_is_refused_with_the_date(bill: User, bought: Subscription) -> None:
    ask(bill, bought)

    with pytest.raises(AlreadyAsked) as refused, override("en"):
        ask(bill, bought, at=AT + DAY)

    assert (
        str(refused.value) == "Pat Peters was asked on 10 Mar 2026 by Bill Bakker already. Nothing was sent."
    )
    assert (requests(), len(mails())) == (["asked"], 1)


def test_a_purchaser_who_left_cannot_be_asked(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=pat.pk, at=AT)

    with pytest.raises(NobodyToAsk, match="left and cannot be asked"):
        ask(bill, bought)

    assert (requests(), mails()) == ([], [])


def test_what_ends_already_or_is_nobodys_cannot_be_asked_about(
    bill: User, pat: User, bought: Subscription
) -> None:
    central = make_central_subscription(bill, plan=plan("visio-plan-2"))
    with pytest.raises(NobodyToAsk, match="a person made by self-service"):
        ask(bill, central)
    set_recurring_billing(actor=actor_of(pat), key=bought.key, on=False, version=bought.version, at=AT)
    with pytest.raises(NobodyToAsk, match="Its renewal is stopped"):
        ask(bill, bought)

    assert (requests(), mails()) == ([], [])


def test_canceling_answers_it(pat: User, bill: User, bought: Subscription) -> None:
    request = ask(bill, bought)
    with tenant_atomic(pat.tenant_id):
        quote = quote_cancellation(subscription=fresh(bought), at=AT + DAY)

    cancel_subscription(
        actor=actor_of(pat), key=bought.key, version=fresh(bought).version, seen=quote.seen, at=AT + DAY
    )

    row = fresh(request)
    assert (row.state, row.closed_by, row.closed_at, row.next_reminder_at) == (
        *("canceled", "Pat Peters", AT + DAY),
        None,
    )
    assert answers() == [("canceled", bill.pk, "Pat Peters canceled Power BI Pro")]
    assert "It has ended, and nobody has access" in last_answer()
    assert remind_asked(at=REMINDERS[2]) == 0
    assert violations(at=AT + DAY) == []


def test_stopping_the_renewal_answers_it(pat: User, bill: User, bought: Subscription) -> None:
    request = ask(bill, bought)

    set_recurring_billing(actor=actor_of(pat), key=bought.key, on=False, version=bought.version, at=AT)

    assert fresh(request).state == "canceled"
    assert answers() == [("canceled", bill.pk, "Pat Peters canceled Power BI Pro")]
    assert "Everybody keeps their license until its last day, 9 Apr 2026." in last_answer()


def test_who_was_asked_can_keep_it_and_who_asked_is_told(pat: User, bill: User, bought: Subscription) -> None:
    request = ask(bill, bought)

    decline_cancel_request(actor=actor_of(pat), key=bought.key, at=AT + DAY)

    row = fresh(request)
    assert (row.state, row.closed_by, row.closed_at, row.next_reminder_at) == (
        *("declined", "Pat Peters", AT + DAY),
        None,
    )
    assert fresh(bought).recurring_billing
    assert fresh(bought).version == bought.version
    assert answers() == [("declined", bill.pk, "Pat Peters keeps Power BI Pro")]
    assert "You can take it over for Contoso, or ask again." in last_answer()
    with tenant_atomic(bought.tenant_id):
        assert AuditEntry.objects.filter(code="commerce.cancel_request.declined").count() == 1
        assert SubscriptionEvent.objects.filter(code="cancel_declined", subscription=bought).count() == 1
    assert remind_asked(at=REMINDERS[2]) == 0
    with pytest.raises(NotAsked):
        decline_cancel_request(actor=actor_of(pat), key=bought.key, at=AT + DAY)
    ask(bill, bought, at=AT + 2 * DAY)
    assert requests() == ["declined", "asked"]
    assert violations(at=AT + 2 * DAY) == []


def test_nobody_declines_for_the_purchaser(contoso: Tenant, bill: User, bought: Subscription) -> None:
    ask(bill, bought)
    for other, error in (
        (bill, NotAllowed),
        (make_user(contoso, roles=("global_reader",)), NotAllowed),
        (make_user(contoso), NotVisible),
        (make_user(make_tenant(), roles=("global_admin",)), NotVisible),
    ):
        with pytest.raises(error):
            decline_cancel_request(actor=actor_of(other), key=bought.key, at=AT)

    assert (requests(), answers()) == (["asked"], [])


def test_where_who_asked_left_the_other_admins_are_told(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    ask(bill, bought)
    disable_user(actor=actor_of(gina), user_id=bill.pk, at=AT)

    decline_cancel_request(actor=actor_of(pat), key=bought.key, at=AT)

    assert [(what, reader) for what, reader, _subject in answers()] == [("declined", gina.pk)]


def test_who_asked_for_a_partner_is_answered_by_the_customers_admins(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))
    ask(actor_of(petra, contoso), bought)

    set_recurring_billing(actor=actor_of(pat), key=bought.key, on=False, version=bought.version, at=AT)

    assert [(what, reader) for what, reader, _subject in answers()] == [("canceled", bill.pk)]


def test_taking_over_ends_it(contoso: Tenant, bill: User, bought: Subscription) -> None:
    make_agreement(contoso)
    request = ask(bill, bought)
    with tenant_atomic(contoso.pk):
        seen = plan_take_over(fresh(bought)).seen

    take_over(actor=actor_of(bill), key=bought.key, version=bought.version, seen=seen, at=AT)

    assert fresh(request).state == "taken_over"
    assert answers() == []
    assert violations(at=AT) == []


def test_another_owner_and_a_forced_end_close_it(contoso: Tenant, pat: User, bill: User) -> None:
    handed, ended = (
        make_self_service_subscription(pat, plan=plan(slug)) for slug in ("power-bi-pro", "visio-plan-2")
    )
    requests_made = [ask(bill, handed), ask(bill, ended)]
    erik = make_user(contoso, name="Erik")
    offer = offer_hand_over(actor=actor_of(pat), key=handed.key, to_user_id=erik.pk, at=AT)
    accept_hand_over(
        actor=actor_of(erik),
        key=offer.key,
        version=fresh(handed).version,
        card_id=make_card(contoso, erik).pk,
        billing=BillingDetails("Erik", "Street 1", "1000 AA", "Amsterdam", "NL"),
        agrees_to_terms=True,
        at=AT,
    )
    with tenant_atomic(contoso.pk):
        locked = Subscription.objects.select_related("product").get(pk=ended.pk)
        disable(locked, actor=Actor.system(contoso.pk), reason="disputed", at=AT)

    assert [fresh(request).state for request in requests_made] == ["ended", "ended"]
    assert answers() == [
        ("ended", bill.pk, "Pat Peters need not answer about Power BI Pro any more"),
        ("ended", bill.pk, "Pat Peters need not answer about Visio Plan 2 any more"),
    ]
    assert violations(at=AT) == []


def test_it_can_be_withdrawn_and_asked_again(pat: User, bill: User, bought: Subscription) -> None:
    ask(bill, bought)

    withdraw_cancel_request(actor=actor_of(bill), key=bought.key, at=AT + DAY)

    assert [mail.context["stage"] for mail in mails()] == ["asked", "withdrawn"]
    assert message_of(mails()[-1]).subject == "You are no longer asked to cancel Power BI Pro"
    with pytest.raises(NotAsked):
        withdraw_cancel_request(actor=actor_of(bill), key=bought.key, at=AT + DAY)
    ask(bill, bought, at=AT + 2 * DAY)
    assert requests() == ["withdrawn", "asked"]
    assert len(mails()) == 3


def test_a_message_that_is_too_long_sends_nothing(bill: User, bought: Subscription) -> None:
    with pytest.raises(Malformed):
        ask(bill, bought, message="x" * 501)

    assert (requests(), mails()) == ([], [])


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_may_neither_ask_nor_withdraw(
    contoso: Tenant, bill: User, bought: Subscription, roles: tuple[str, ...], error: type[Exception]
) -> None:
    other = make_user(contoso, roles=roles)
    with pytest.raises(error):
        ask(other, bought)
    ask(bill, bought)

    with pytest.raises(error):
        withdraw_cancel_request(actor=actor_of(other), key=bought.key, at=AT)

    assert requests() == ["asked"]


def test_neither_the_purchaser_nor_a_stranger_may_and_a_partner_with_the_role_may(
    contoso: Tenant, pat: User, bought: Subscription
) -> None:
    with tenant_atomic(contoso.pk):
        buyer = User.objects.get(pk=pat.pk)
    with pytest.raises(NotAllowed):
        ask(buyer, bought)
    with pytest.raises(NotVisible):
        ask(make_user(make_tenant(), roles=("global_admin",)), bought)
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))

    ask(actor_of(petra, contoso), bought)

    assert "Northwind" in mails()[0].context["partner"]


def test_a_request_that_no_longer_fits_is_found(bill: User, bought: Subscription) -> None:
    ask(bill, bought)
    assert violations(at=AT, only=["I-31"]) == []

    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute(
            "UPDATE commerce_subscription SET recurring_billing = false WHERE id = %s", [bought.pk]
        )

    assert [found.number for found in violations(at=AT, only=["I-31"])] == ["I-31"]
