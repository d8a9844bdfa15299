"""Centralizing while others assign, take back, cancel and buy: nobody loses access, nothing is counted twice (F-19)."""

import random
from datetime import timedelta

import pytest

from commerce.models import Subscription
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.recurring import set_recurring_billing
from config.invariants import violations
from config.kit.errors import DomainError
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.jobs import run_jobs
from licensing.operations.assignments import assign_licenses, unassign_licenses
from licensing.operations.centralizing import (
    moving,
    settle_due,
    start_centralizing,
    undo_centralizing,
    undoing,
)
from licensing.operations.centralizing.starting import seen_of
from tests.concurrency.test_refunds import patiently
from tests.concurrency.threads import all_at_once
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    dry_run,
    fresh,
    holders,
    make_people,
    start,
    without_access,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

NOW = AT + DAY
PEOPLE = 24


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PEOPLE_A_CHUNK", 4)
    monkeypatch.setattr(undoing, "PEOPLE_A_CHUNK", 4)


def work(at: object = NOW) -> None:
    patiently(lambda: run_jobs(clock=lambda: at, seconds=20.0))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("seed", range(3))
def test_others_assign_take_back_and_cancel_while_it_runs_and_is_undone_or_settled(
    contoso: Tenant, bill: User, pat: User, seed: int
) -> None:
    chance = random.Random(seed)
    lisa = make_user(contoso, roles=("license_admin",))
    target = central_of(bill, quantity=PEOPLE + 20)
    first = make_people(contoso, PEOPLE)
    come = make_people(contoso, 10, first=500)
    bought = buy_for(pat, first, quantity=PEOPLE + 20)
    run = start(bill, [bought], target, at=NOW)
    with tenant_atomic(contoso.pk):
        purchaser = actor_of(User.objects.get(pk=pat.pk))
    admin = actor_of(lisa)
    gone = [person.pk for person in chance.sample(first, 6)]
    # Whoever nobody takes a license from.
    stay = [person.pk for person in first if person.pk not in gone]

    def others(n: int) -> str:
        if n == 0:
            work()
            return "worked"
        person = come[n % len(come)].pk
        try:
            match n % 4:
                case 0:
                    patiently(
                        lambda: assign_licenses(
                            actor=purchaser,
                            subscription_key=bought.key,
                            user_ids=[person],
                            at=NOW,
                            confirmed=True,
                        )
                    )
                case 1:
                    patiently(
                        lambda: unassign_licenses(
                            actor=purchaser, subscription_key=bought.key, user_ids=[gone[n % 6]], at=NOW
                        )
                    )
                case 2:
                    patiently(
                        lambda: unassign_licenses(
                            actor=admin, subscription_key=target.key, user_ids=[gone[n % 6]], at=NOW
                        )
                    )
                case _ if n == 11:
                    set_recurring_billing(
                        actor=purchaser, key=bought.key, on=False, version=fresh(bought).version, at=NOW
                    )
        except DomainError as refused:
            return refused.code
        return "done"

    all_at_once(others, count=16, at_once=6)
    work()

    assert without_access(stay, contoso.pk, bought.product_id) == []
    assert violations(at=NOW) == []
    ends = NOW + timedelta(hours=2)
    if chance.random() < 0.5:
        undo_centralizing(actor=actor_of(bill), key=run.key, at=ends)
        work(ends)
    else:
        ends = NOW + DAY
        settle_due(at=ends)
    assert without_access(stay, contoso.pk, bought.product_id) == []
    assert without_access(sorted(holders(bought)), contoso.pk, bought.product_id) == []
    assert violations(at=ends) == []


def test_of_ten_starts_at_once_one_run_is_begun(contoso: Tenant, bill: User, pat: User) -> None:
    target = central_of(bill)
    bought = buy_for(pat, [])
    shown = seen_of(dry_run(bill, [bought], target, at=NOW), ends_now=False)

    def begin(_n: int) -> str:
        try:
            patiently(
                lambda: start_centralizing(
                    actor=actor_of(bill),
                    purchase_keys=[bought.key],
                    target_key=target.key,
                    ending="take_over",
                    ends_now=False,
                    seen=shown,
                    at=NOW,
                )
            )
        except DomainError as refused:
            return refused.code
        return "begun"

    answers = all_at_once(begin, count=10, at_once=5)

    assert sorted(answers) == ["begun", *["centralized_already"] * 9]
    assert violations(at=NOW) == []


@pytest.mark.parametrize("_round", range(3))
def test_undoing_and_the_money_never_both_happen(contoso: Tenant, bill: User, pat: User, _round: int) -> None:
    target = central_of(bill)
    bought = buy_for(pat, [])
    run = start(bill, [bought], target, at=NOW)
    work()
    just_before, due = NOW + DAY - timedelta(seconds=1), NOW + DAY

    def end(n: int) -> str:
        try:
            if n % 2:
                patiently(lambda: settle_due(at=due))
            else:
                patiently(lambda: undo_centralizing(actor=actor_of(bill), key=run.key, at=just_before))
        except DomainError as refused:
            return refused.code
        return "done"

    all_at_once(end, count=4)
    work(due)
    settle_due(at=due)

    row, ended = fresh(bought), fresh(run)
    assert (ended.state, row.state, row.owner_kind) in (
        ("done", "disabled", "organization"),
        ("undone", "active", "person"),
    )
    assert without_access([pat.pk], contoso.pk, bought.product_id) == []
    assert violations(at=due) == []


@pytest.mark.parametrize("_round", range(3))
def test_the_purchaser_who_cancels_at_that_moment_and_the_run_count_on_one_state(
    contoso: Tenant, bill: User, pat: User, _round: int
) -> None:
    target = central_of(bill)
    bought = buy_for(pat, make_people(contoso, 2))
    people = sorted(holders(bought))
    start(bill, [bought], target, at=NOW)
    with tenant_atomic(contoso.pk):
        purchaser = actor_of(User.objects.get(pk=pat.pk))
        quote = quote_cancellation(subscription=Subscription.objects.get(pk=bought.pk), at=NOW)

    def end(n: int) -> str:
        if not n:
            work()
            return "worked"
        try:
            patiently(
                lambda: cancel_subscription(
                    actor=purchaser, key=bought.key, version=bought.version, seen=quote.seen, at=NOW
                )
            )
        except DomainError as refused:
            return refused.code
        return "canceled"

    answers = all_at_once(end, count=2)
    work()

    row = fresh(bought)
    assert (row.state == "disabled") == ("canceled" in answers)
    assert row.is_organizations == ("canceled" not in answers)
    assert holders(target) == set(people)
    assert without_access(people, contoso.pk, bought.product_id) == []
    assert violations(at=NOW) == []
