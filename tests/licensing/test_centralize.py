"""Centralizing: the dry run, the job, the money a day later (product §10)."""

from datetime import timedelta
from typing import Any

import pytest

from commerce.models import Agreement, Bill, CancelRequest, OrderLine, RefundAttempt, Subscription
from commerce.operations import billing_control
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import renew_due
from config.invariants import violations
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.operations.people import disable_user
from licensing.models import CentralizedPurchase
from licensing.operations.assignments import assign_licenses, unassign_licenses
from licensing.operations.centralizing import (
    PlanChanged,
    RunOver,
    go_on,
    seen_of,
    settle_due,
    start_centralizing,
)
from licensing.operations.centralizing.starting import CannotRun, RunsAlready, TakesOverOtherwise
from licensing.queries.centralizing import people_of
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    dry_run,
    endings,
    fresh,
    give,
    holders,
    make_people,
    outcomes,
    start,
    without_access,
    work,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# The refund window of what was bought at AT is over then.
LATE = AT + 10 * DAY


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


def test_the_dry_run_says_what_happens_to_each_person(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    erik, held, gone = make_people(contoso, 3)
    bought = buy_for(pat, [erik, held, gone])
    lisa = make_user(contoso, roles=("license_admin",))
    assign_licenses(
        actor=actor_of(lisa), subscription_key=target.key, user_ids=[held.pk], at=AT, confirmed=True
    )
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=gone.pk, at=AT)

    found = dry_run(bill, [bought], target, at=AT + DAY)
    with tenant_atomic(contoso.pk):
        people, after = people_of(target, [bought.pk])
        exceptions, _after = people_of(target, [bought.pk], only_exceptions=True)
        first, then = people_of(target, [bought.pk], limit=2)
        rest, _none = people_of(target, [bought.pk], after=then or ("", 0, 0), limit=5)

    assert {person.user_id: person.outcome for person in people} == {
        pat.pk: "moved",
        erik.pk: "moved",
        held.pk: "held",
        gone.pk: "disabled",
    }
    assert after is None
    assert {person.user_id for person in exceptions} == {held.pk, gone.pk}
    assert [*first, *rest] == people
    assert (found.needed, found.free, found.missing, found.can_run) == (2, 24, 0, True)
    assert violations(at=AT) == []


def test_users_get_central_licenses_the_purchase_is_taken_over_and_no_money_moves_for_a_day(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    people = make_people(contoso, 3)
    bought = buy_for(pat, people)

    run = start(bill, [bought], target)
    work()

    everybody = {pat.pk, *(person.pk for person in people)}
    assert holders(target) == everybody
    assert holders(bought) == everybody
    assert outcomes(run) == {"moved": 4}
    row = fresh(bought)
    assert (row.owner_kind, row.recurring_billing, row.state) == ("organization", False, "active")
    run = fresh(run)
    assert (run.state, run.moved_at, run.money_at, run.undo_until) == (
        *("waiting", AT + DAY),
        *(AT + 2 * DAY, AT + 2 * DAY),
    )
    with tenant_atomic(contoso.pk):
        job = Job.objects.get(key=run.job_key)
        assert not RefundAttempt.objects.exists()
        given = AuditEntry.objects.filter(code="licensing.license.assigned", target_id=str(target.key))
        assert {entry.actor_label for entry in given} == {"Bill Bakker"}
        told = OutgoingMail.objects.get(kind="centralization")
    assert (job.state, job.done, job.failed, job.total) == ("done", 5, 0, 5)
    assert message_of(told).subject == "The users of Power BI Pro have central licenses"
    assert settle_due(at=AT + 2 * DAY - timedelta(minutes=1)) == 0
    assert violations(at=AT + DAY) == []


def test_after_a_day_the_card_that_paid_gets_the_refund_of_the_moment_it_started(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))
    # Seven days after buying the window closes, before the money moves.
    started = AT + 6 * DAY + timedelta(hours=20)
    with tenant_atomic(contoso.pk):
        promised = quote_cancellation(subscription=bought, at=started).refund_minor
    run = start(bill, [bought], target, at=started)
    work(started)

    assert settle_due(at=started + DAY) == 1

    with tenant_atomic(contoso.pk):
        purchase = CentralizedPurchase.objects.get()
        note = Bill.objects.get(type="cancel")
        attempt = RefundAttempt.objects.get()
    assert promised > 0
    assert (purchase.refund_minor, purchase.refunded_minor) == (promised, promised)
    assert (-note.total_minor, note.payer_id, attempt.amount_minor) == (promised, pat.pk, promised)
    row = fresh(bought)
    assert (row.state, row.disabled_reason) == ("disabled", "canceled")
    assert holders(bought) == holders(target)
    assert (fresh(run).state, endings(run)) == ("done", ["ended"])
    assert settle_due(at=started + 2 * DAY) == 0
    assert violations(at=started + DAY) == []


def test_past_the_window_the_renewal_stops_and_it_runs_out(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))

    found = dry_run(bill, [bought], target, at=LATE)
    run = start(bill, [bought], target, at=LATE)
    work(LATE)
    settle_due(at=LATE + DAY)

    assert found.refund_minor == 0
    row = fresh(bought)
    assert (row.state, row.recurring_billing, row.term_end) == ("active", False, bought.term_end)
    assert endings(run) == ["ended"]
    with tenant_atomic(contoso.pk):
        assert not Bill.objects.filter(credits__isnull=False).exists()
    assert violations(at=LATE + DAY) == []


def test_past_the_window_it_ends_now_without_refund_if_the_admin_chose_that(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))

    start(bill, [bought], target, ends_now=True, at=LATE)
    work(LATE)
    settle_due(at=LATE + DAY)

    row = fresh(bought)
    assert (row.state, row.disabled_at, row.disabled_reason) == ("disabled", LATE + DAY, "canceled")
    with tenant_atomic(contoso.pk):
        # Brought back it has its seats once, as after any cancellation.
        assert sum(OrderLine.objects.filter(subscription=row).values_list("quantity", flat=True)) == 0
        assert not RefundAttempt.objects.exists()
    assert violations(at=LATE + DAY) == []


def test_a_yearly_commitment_is_still_owed_and_so_runs_out(contoso: Tenant, bill: User, pat: User) -> None:
    yearly = plan("power-bi-pro", "yearly-monthly")
    target = make_central_subscription(bill, quantity=5, at=AT)
    bought = make_self_service_subscription(pat, plan=yearly, quantity=2)

    money = dry_run(bill, [bought], target, at=LATE).purchases[0].money
    start(bill, [bought], target, ends_now=True, at=LATE)
    work(LATE)
    settle_due(at=LATE + DAY)

    assert (money.still_minor > 0, money.can_end_now) == (True, False)
    assert fresh(bought).state == "active"


def test_an_open_bill_moves_to_the_organization_and_is_called_off_with_the_money(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))
    renewed = bought.period_end
    renew_due(at=renewed)

    start(bill, [bought], target, at=renewed + DAY)
    work(renewed + DAY)
    with tenant_atomic(contoso.pk):
        moved = Bill.objects.get(type="renewal", status="open", subscription=bought)
    assert (moved.payer_id, moved.collection) == (None, "on_account")
    settle_due(at=renewed + 2 * DAY)

    with tenant_atomic(contoso.pk):
        moved.refresh_from_db()
    assert moved.status == "credited"
    assert fresh(bought).state == "disabled"
    assert violations(at=renewed + 2 * DAY) == []


def test_the_purchasers_are_asked_instead(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))

    run = start(bill, [bought], target, ending="ask")
    work()
    settle_due(at=AT + 2 * DAY)

    with tenant_atomic(contoso.pk):
        request = CancelRequest.objects.get()
    assert (request.state, request.purchaser_id, request.asked_by) == ("asked", pat.pk, "Bill Bakker")
    assert "central license" in request.message
    row = fresh(bought)
    assert (row.owner_user_id, row.recurring_billing) == (pat.pk, True)
    assert (fresh(run).state, endings(run)) == ("done", ["asked"])
    assert len(holders(target)) == 2


def test_who_cannot_be_asked_stops_the_run_before_it_begins(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=pat.pk, at=AT)

    with pytest.raises(CannotRun):
        start(bill, [bought], target, ending="ask")

    assert len(dry_run(bill, [bought], target, ending="ask", at=AT).unaskable) == 1
    assert holders(target) == set()


def test_too_few_free_licenses_stop_it_before_it_begins(contoso: Tenant, bill: User, pat: User) -> None:
    target = central_of(bill, quantity=2)
    bought = buy_for(pat, make_people(contoso, 2))

    with pytest.raises(CannotRun) as refused:
        start(bill, [bought], target)

    assert refused.value.plan.missing == 1
    assert holders(target) == set()
    with use_login("worker"):
        assert not Job.objects.exists()


def test_seats_that_went_meanwhile_leave_the_purchase_as_it_is_and_it_can_be_tried_again(
    contoso: Tenant, bill: User, pat: User
) -> None:
    target = central_of(bill, quantity=3)
    bought = buy_for(pat, make_people(contoso, 2))
    run = start(bill, [bought], target)
    other = make_people(contoso, 1, first=50)
    lisa = make_user(contoso, roles=("license_admin",))
    assign_licenses(actor=actor_of(lisa), subscription_key=target.key, user_ids=[other[0].pk], at=AT + DAY)

    work()

    assert (endings(run), outcomes(run)) == (["blocked"], {"moved": 2, "no_seat": 1})
    with tenant_atomic(contoso.pk):
        assert "1 person has no central license" in CentralizedPurchase.objects.get().problem
    assert fresh(bought).owner_user_id == pat.pk
    unassign_licenses(actor=actor_of(lisa), subscription_key=target.key, user_ids=[other[0].pk], at=AT + DAY)
    later = AT + DAY + timedelta(hours=1)
    go_on(actor=actor_of(bill), key=run.key, at=later)
    work(later)

    assert (endings(run), outcomes(run)) == (["taken_over"], {"moved": 3})
    assert fresh(run).money_at == later + DAY
    with pytest.raises(RunOver):
        go_on(actor=actor_of(bill), key=run.key, at=later)
    assert violations(at=later) == []


def test_terms_that_changed_meanwhile_are_shown_and_agreed_to_by_trying_again(
    contoso: Tenant, bill: User, pat: User
) -> None:
    target = central_of(bill, quantity=3)
    bought = buy_for(pat, make_people(contoso, 2))
    run = start(bill, [bought], target)
    with tenant_atomic(contoso.pk):
        Agreement.objects.update(payment_days=14)
    work()
    assert endings(run) == ["blocked"]
    later = AT + DAY + timedelta(hours=1)

    with pytest.raises(TakesOverOtherwise):
        go_on(actor=actor_of(bill), key=run.key, at=later)

    with tenant_atomic(contoso.pk):
        purchase = CentralizedPurchase.objects.get()
    assert (purchase.state, fresh(run).tried_at) == ("blocked", AT + DAY)
    assert purchase.problem == (
        "Taken over, it is paid on account, due in 14 days; open bills that move: none. Try again to do that."
    )
    go_on(actor=actor_of(bill), key=run.key, at=later)
    work(later)
    assert endings(run) == ["taken_over"]
    assert fresh(bought).is_organizations


def test_a_guest_who_may_not_hold_one_stops_it(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    (frank,) = make_people(contoso, 1)
    bought = buy_for(pat, [frank])
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=frank.pk).update(kind="guest")

    with pytest.raises(CannotRun) as refused:
        start(bill, [bought], target)

    assert refused.value.plan.stranded == 1
    assert without_access([frank.pk], contoso.pk, bought.product_id) == []


def test_who_comes_to_the_purchase_before_the_money_gets_a_central_license_first(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [], quantity=5)
    start(bill, [bought], target)
    work()
    (late,) = make_people(contoso, 1, first=70)
    lisa = make_user(contoso, roles=("license_admin",))
    assign_licenses(actor=actor_of(lisa), subscription_key=bought.key, user_ids=[late.pk], at=AT + DAY)

    settle_due(at=AT + 2 * DAY)

    assert holders(target) == {pat.pk, late.pk}
    assert fresh(bought).state == "disabled"
    assert without_access([pat.pk, late.pk], contoso.pk, bought.product_id) == []
    assert violations(at=AT + 2 * DAY) == []


def test_without_a_free_license_the_money_waits_rather_than_somebody_losing_access(
    contoso: Tenant, bill: User, pat: User
) -> None:
    target = central_of(bill, quantity=1)
    bought = buy_for(pat, [], quantity=5)
    run = start(bill, [bought], target)
    work()
    (late,) = make_people(contoso, 1, first=70)
    lisa = make_user(contoso, roles=("license_admin",))
    assign_licenses(actor=actor_of(lisa), subscription_key=bought.key, user_ids=[late.pk], at=AT + DAY)

    assert settle_due(at=AT + 2 * DAY) == 0

    assert fresh(bought).state == "active"
    assert without_access([late.pk], contoso.pk, bought.product_id) == []
    assert fresh(run).money_at == AT + 2 * DAY + timedelta(hours=1)
    unassign_licenses(actor=actor_of(lisa), subscription_key=bought.key, user_ids=[late.pk], at=AT + 2 * DAY)
    assert settle_due(at=AT + 2 * DAY + timedelta(hours=1)) == 1
    assert fresh(bought).state == "disabled"


def test_what_waits_for_a_free_license_goes_on_once_there_is_one(
    contoso: Tenant, bill: User, pat: User
) -> None:
    target = central_of(bill, quantity=2)
    bought = buy_for(pat, [], quantity=5)
    run = start(bill, [bought], target)
    work()
    late, other = make_people(contoso, 2, first=70)
    lisa = actor_of(make_user(contoso, roles=("license_admin",)))
    assign_licenses(actor=lisa, subscription_key=bought.key, user_ids=[late.pk], at=AT + DAY)
    assign_licenses(actor=lisa, subscription_key=target.key, user_ids=[other.pk], at=AT + DAY)
    hour = timedelta(hours=1)
    assert [settle_due(at=AT + 2 * DAY + hours * hour) for hours in (0, 1)] == [0, 0]
    assert outcomes(run) == {"moved": 1, "no_seat": 1}
    unassign_licenses(actor=lisa, subscription_key=target.key, user_ids=[other.pk], at=AT + 2 * DAY + hour)

    assert settle_due(at=AT + 2 * DAY + 2 * hour) == 1

    assert (outcomes(run), endings(run)) == ({"moved": 2}, ["ended"])
    assert holders(target) == {pat.pk, late.pk}
    assert fresh(bought).state == "disabled"
    assert violations(at=AT + 2 * DAY + 2 * hour) == []


def test_who_holds_two_purchases_takes_one_license_and_a_hand_taken_back_one_is_given_again(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    uma = make_user(contoso, name="Uma")
    first, second = buy_for(pat, [uma]), buy_for(uma, [uma], quantity=2)

    found = dry_run(bill, [first, second], target, at=AT + DAY)
    run = start(bill, [first, second], target)
    work()

    assert found.needed == 2
    assert holders(target) == {pat.pk, uma.pk}
    assert outcomes(run) == {"moved": 2, "held": 1}
    lisa = make_user(contoso, roles=("license_admin",))
    unassign_licenses(actor=actor_of(lisa), subscription_key=target.key, user_ids=[uma.pk], at=AT + DAY)
    settle_due(at=AT + 2 * DAY)
    assert holders(target) == {pat.pk, uma.pk}
    assert violations(at=AT + 2 * DAY) == []


def test_a_purchase_canceled_meanwhile_is_left_to_its_purchaser(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], target)
    set_recurring_billing(
        actor=actor_of(fresh(pat)), key=bought.key, on=False, version=fresh(bought).version, at=AT + DAY
    )

    work()

    assert endings(run) == ["left"]
    assert fresh(bought).owner_user_id == pat.pk
    assert holders(target) == {pat.pk}


def test_people_of_a_disabled_purchase_get_central_licenses_and_nothing_else_happens(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, make_people(contoso, 1))
    with tenant_atomic(contoso.pk):
        quote = quote_cancellation(subscription=bought, at=AT)
    cancel_subscription(
        actor=actor_of(fresh(pat)), key=bought.key, version=bought.version, seen=quote.seen, at=AT
    )
    page = client_of(bill).get(f"/admin/billing/your-products/{bought.key}/").content.decode()

    run = start(bill, [bought], target)
    work()
    settle_due(at=AT + 2 * DAY)

    assert "Give these 2 people a central license" in page
    assert holders(target) == holders(bought)
    assert (endings(run), fresh(bought).owner_user_id) == (["left"], pat.pk)
    assert without_access(sorted(holders(bought)), contoso.pk, bought.product_id) == []


def test_while_billing_is_paused_no_money_moves(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], target)
    work()
    billing_control.pause(reason="A drill", at=AT + DAY)

    assert settle_due(at=AT + 2 * DAY) == 0

    assert (fresh(run).state, fresh(bought).state) == ("waiting", "active")
    billing_control.resume(at=AT + 2 * DAY, unreconciled=True)
    assert settle_due(at=AT + 2 * DAY) == 1


def test_what_changed_since_the_dry_run_starts_nothing(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [], quantity=3)
    shown = seen_of(dry_run(bill, [bought], target, at=AT), ends_now=False)
    give(pat, bought, make_people(contoso, 1))
    values: dict[str, Any] = {"ending": "take_over", "ends_now": False, "at": AT}

    with pytest.raises(PlanChanged) as refused:
        start_centralizing(
            actor=actor_of(bill), purchase_keys=[bought.key], target_key=target.key, seen=shown, **values
        )

    assert refused.value.plan.needed == 2
    with use_login("worker"):
        assert not Job.objects.exists()


def test_one_purchase_is_in_one_run_at_a_time(bill: User, pat: User, target: Subscription) -> None:
    bought = buy_for(pat, [])
    start(bill, [bought], target)

    with pytest.raises(RunsAlready):
        start(bill, [bought], target)


def test_purchases_of_two_products_and_none_are_refused(bill: User, pat: User, target: Subscription) -> None:
    other = make_self_service_subscription(pat, plan=plan("visio-plan-2"))

    with pytest.raises(Malformed):
        start(bill, [buy_for(pat, []), other], target)
    with pytest.raises(Malformed):
        start(bill, [], target)


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_may_not(
    contoso: Tenant,
    bill: User,
    pat: User,
    target: Subscription,
    roles: tuple[str, ...],
    error: type[Exception],
) -> None:
    bought = buy_for(pat, [])
    shown = seen_of(dry_run(bill, [bought], target, at=AT), ends_now=False)
    other = make_user(contoso, roles=roles)

    with pytest.raises(error):
        start_centralizing(
            actor=actor_of(other),
            purchase_keys=[bought.key],
            target_key=target.key,
            ending="take_over",
            ends_now=False,
            seen=shown,
            at=AT,
        )


def test_a_partner_with_the_role_runs_it_and_another_organization_sees_nothing_of_it(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))
    shown = seen_of(dry_run(bill, [bought], target, at=AT + DAY), ends_now=False)
    values: dict[str, Any] = {
        "purchase_keys": [bought.key],
        "target_key": target.key,
        "ending": "take_over",
        "ends_now": False,
        "seen": shown,
        "at": AT + DAY,
    }
    with pytest.raises(NotVisible):
        start_centralizing(actor=actor_of(make_user(make_tenant(), roles=("global_admin",))), **values)

    run = start_centralizing(actor=actor_of(petra, contoso), **values)
    work()

    assert endings(run) == ["taken_over"]
    assert holders(target) == {pat.pk}


def test_whoever_lost_the_role_gives_nobody_a_license(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], target)
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=bill.pk, at=AT)

    work()

    assert (holders(target), endings(run), fresh(run).state) == (set(), ["waiting"], "running")
    gina = make_user(contoso, name="Gina", roles=("global_admin",))
    go_on(actor=actor_of(gina), key=run.key, at=AT + DAY)
    work()
    assert (holders(target), fresh(run).state) == ({pat.pk}, "waiting")
