"""Undoing a run: everything as before, and nobody without access meanwhile (product §10)."""

from datetime import timedelta
from typing import Any

import pytest

from commerce.models import Bill, CancelRequest, Subscription
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.renewals import renew_due
from config.invariants import INVARIANTS, violations
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant, User
from directory.operations.jobs import cancel_job
from directory.operations.outbox import message_of
from licensing.operations.assignments import unassign_licenses
from licensing.operations.centralizing import NotUndoable, settle_due, undo_centralizing
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    endings,
    fresh,
    holders,
    make_people,
    outcomes,
    picture,
    start,
    without_access,
    work,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

SOON = AT + DAY + timedelta(hours=3)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def target(bill: User) -> Subscription:
    return central_of(bill)


def execute(statement: str) -> None:
    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute(statement)


def test_holders_owners_cards_and_renewals_are_exactly_as_before(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    people = make_people(contoso, 4)
    uma = make_user(contoso, name="Uma")
    first, second = buy_for(pat, people[:3]), buy_for(uma, people[3:])
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=first.pk).update(next_quantity=4)
    before = picture()
    run = start(bill, [first, second], target)
    work()
    assert picture() != before

    undo_centralizing(actor=actor_of(bill), key=run.key, at=SOON)
    work(SOON)

    assert picture() == before
    assert (fresh(run).state, endings(run), outcomes(run)) == (
        *("undone", ["undone", "undone"]),
        {"undone": 6},
    )
    assert settle_due(at=AT + 5 * DAY) == 0
    with tenant_atomic(contoso.pk):
        told = OutgoingMail.objects.get(kind="take_over_undone", to_user_id=pat.pk)
    assert message_of(told).subject == "Power BI Pro is yours again"
    assert violations(at=SOON) == []


def test_bills_that_moved_go_back_to_the_purchaser(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    renewed = bought.period_end
    renew_due(at=renewed)
    before = picture()
    run = start(bill, [bought], target, at=renewed)
    work(renewed)

    undo_centralizing(actor=actor_of(bill), key=run.key, at=renewed + timedelta(hours=1))
    work(renewed + timedelta(hours=1))

    assert picture() == before
    with tenant_atomic(contoso.pk):
        owed = Bill.objects.get(type="renewal", status="open", subscription=bought)
    assert (owed.payer_id, owed.collection, owed.charge_due_at) == (
        *(pat.pk, "card"),
        renewed + timedelta(hours=1),
    )
    assert violations(at=renewed + timedelta(hours=1)) == []


def test_a_request_to_cancel_is_withdrawn_and_its_licenses_are_taken_back(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))
    before = picture()
    run = start(bill, [bought], target, ending="ask")
    work()

    undo_centralizing(actor=actor_of(bill), key=run.key, at=SOON)
    work(SOON)

    assert picture() == before
    with tenant_atomic(contoso.pk):
        assert CancelRequest.objects.get().state == "withdrawn"


def test_what_somebody_changed_meanwhile_stays_and_nobody_loses_access(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    people = make_people(contoso, 2)
    bought = buy_for(pat, people)
    run = start(bill, [bought], target)
    work()
    actor = actor_of(bill)
    with tenant_atomic(contoso.pk):
        quote = quote_cancellation(subscription=fresh(bought), at=SOON)
    cancel_subscription(actor=actor, key=bought.key, version=fresh(bought).version, seen=quote.seen, at=SOON)

    undo_centralizing(actor=actor, key=run.key, at=SOON)
    work(SOON)

    everybody = [pat.pk, *(person.pk for person in people)]
    assert fresh(bought).state == "disabled"
    assert outcomes(run) == {"kept": 3}
    assert without_access(everybody, contoso.pk, bought.product_id) == []
    assert violations(at=SOON) == []


def test_who_lost_the_license_of_the_purchase_keeps_the_central_one(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    (erik,) = make_people(contoso, 1)
    bought = buy_for(pat, [erik])
    run = start(bill, [bought], target)
    work()
    lisa = make_user(contoso, roles=("license_admin",))
    unassign_licenses(actor=actor_of(lisa), subscription_key=bought.key, user_ids=[erik.pk], at=SOON)

    undo_centralizing(actor=actor_of(bill), key=run.key, at=SOON)
    work(SOON)

    assert (holders(target), holders(bought)) == ({erik.pk}, {pat.pk})
    assert outcomes(run) == {"kept": 1, "undone": 1}


def test_after_the_money_it_cannot_be_undone(bill: User, pat: User, target: Subscription) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], target)
    work()

    with pytest.raises(NotUndoable):
        undo_centralizing(actor=actor_of(bill), key=run.key, at=AT + 2 * DAY)
    settle_due(at=AT + 2 * DAY)
    with pytest.raises(NotUndoable):
        undo_centralizing(actor=actor_of(bill), key=run.key, at=AT + 2 * DAY)

    assert fresh(bought).state == "disabled"


def test_it_can_be_undone_until_the_first_purchase_runs_out(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    late = bought.period_end - timedelta(hours=2)

    run = start(bill, [bought], target, at=late)
    work(late)

    assert fresh(run).undo_until == bought.period_end
    with pytest.raises(NotUndoable):
        undo_centralizing(actor=actor_of(bill), key=run.key, at=bought.period_end)


def test_a_run_whose_job_was_ended_can_be_undone(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], target)
    with pytest.raises(NotUndoable):
        undo_centralizing(actor=actor_of(bill), key=run.key, at=SOON)
    cancel_job(actor=actor_of(bill), key=run.job_key, at=SOON)  # type: ignore[arg-type]

    undo_centralizing(actor=actor_of(bill), key=run.key, at=SOON)
    work(SOON)

    assert (fresh(run).state, endings(run)) == ("undone", ["undone"])


def test_neither_readers_nor_strangers_undo(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    run = start(bill, [buy_for(pat, [])], target)
    work()

    with pytest.raises(NotAllowed):
        undo_centralizing(actor=actor_of(make_user(contoso, roles=("global_reader",))), key=run.key, at=SOON)
    with pytest.raises(NotVisible):
        undo_centralizing(
            actor=actor_of(make_user(make_tenant(), roles=("global_admin",))), key=run.key, at=SOON
        )


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        (
            "what a run gave is a license of its central subscription for that person, and is over once taken back",
            "UPDATE licensing_centralizedperson SET user_id = (SELECT max(id) FROM directory_user)",
        ),
        (
            "what a run gave is a license of its central subscription for that person, and is over once taken back",
            "UPDATE licensing_centralizedperson SET outcome = 'undone'",
        ),
        (
            "a run is over exactly when nothing of it waits, and moves no money before its time",
            "UPDATE licensing_centralization SET state = 'done', closed_at = now()",
        ),
        (
            "a run is over exactly when nothing of it waits, and moves no money before its time",
            "UPDATE licensing_centralizedpurchase SET state = 'waiting'",
        ),
    ],
)
def test_the_check_finds_what_a_hand_has_broken(
    contoso: Tenant, bill: User, pat: User, target: Subscription, rule: str, statement: str
) -> None:
    start(bill, [buy_for(pat, [])], target)
    work()
    make_user(contoso)
    assert violations(at=AT + DAY) == []

    execute(statement)

    assert {found.rule for found in violations(at=AT + DAY, only=["I-32"])} == {rule}


def test_the_check_finds_who_lost_access_when_a_run_ended_a_purchase(
    bill: User, pat: User, target: Subscription
) -> None:
    start(bill, [buy_for(pat, [])], target)
    work()
    settle_due(at=AT + 2 * DAY)
    assert violations(at=AT + 2 * DAY) == []

    execute(f"UPDATE licensing_assignment SET ended_at = assigned_at WHERE subscription_id = {target.pk}")

    found: list[Any] = violations(at=AT + 2 * DAY, only=["I-32"])
    rules = [each.rule for each in INVARIANTS if each.number == "I-32"]
    assert {each.rule for each in found} == {rules[2]}
