"""Somebody is disabled or deleted while they pay or are given a license: one of the two comes first (F-22)."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from commerce.models import Checkout, Subscription
from commerce.operations.payments import guards, pay_checkout
from commerce.operations.payments.customers import customer_of
from config.invariants import violations
from config.kit.clock import real_now
from config.kit.errors import DomainError, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.models import Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.people import AccountDisabled, disable_user, enable_user
from licensing.models import Assignment
from licensing.operations.assignments import PersonUnknown, assign_license, assign_licenses
from licensing.operations.leaving import free_licenses_of_leavers
from tests.concurrency.test_refunds import patiently
from tests.concurrency.threads import all_at_once
from tests.factories import AT, actor_of, make_central_subscription, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


def beside(work: Callable[[], Any]) -> "Future[Any]":
    """Run it on a thread of its own."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(run)
    finally:
        pool.shutdown(wait=False)


def until_somebody_waits(future: "Future[Any]") -> bool:
    """Whether another connection waits for a row, and goes on waiting; asked inside a transaction."""
    in_a_row = 0
    for _ in range(400):
        with connection().cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
            )
            in_a_row = in_a_row + 1 if cursor.fetchone()[0] else 0
        if in_a_row == 10:
            return True
        if future.done():
            return False
        time.sleep(0.01)
    return False


def pay_while_being_disabled(gina: User, pat: User) -> "Future[Any]":
    """What came of a payment that waited for who disables its payer."""
    checkout: Checkout = make_checkout(pat)
    actor, token, admin = actor_of(pat), card_token(), actor_of(gina)
    # Whoever paid before is known to the processor, so that the payment gets as far as its last look.
    customer_of(actor=actor, payer=pat, at=AT)
    with tenant_atomic(pat.tenant_id):
        disable_user(actor=admin, user_id=pat.pk, at=AT)
        payment = beside(lambda: pay_checkout(actor=actor, key=checkout.key, confirmation_token=token, at=AT))
        assert until_somebody_waits(payment)
    with suppress(AccountDisabled):
        payment.result(30)
    return payment


@pytest.mark.usefixtures("empty_processor")
def test_a_payment_waits_for_who_disables_its_payer_and_is_not_charged(gina: User, pat: User) -> None:
    payment = pay_while_being_disabled(gina, pat)

    assert isinstance(payment.exception(), AccountDisabled)
    assert charges() == 0
    with tenant_atomic(pat.tenant_id):
        assert not Subscription.objects.exists()
    assert violations(at=AT) == []


@pytest.mark.usefixtures("empty_processor")
def test_without_that_lock_somebody_who_was_disabled_is_charged(gina: User, pat: User) -> None:
    with mock.patch.object(guards, "require_active"):
        payment = pay_while_being_disabled(gina, pat)

    assert payment.exception() is None
    assert charges() == 1


def test_nobody_is_given_a_license_while_being_deleted(contoso: Tenant, gina: User, pat: User) -> None:
    subscription = make_central_subscription(gina, quantity=5)
    admin = actor_of(gina)
    with tenant_atomic(contoso.pk):
        User.objects.select_for_update().get(pk=pat.pk)
        User.objects.filter(pk=pat.pk).update(status="deleted", deleted_at=AT)
        given = beside(
            lambda: assign_license(actor=admin, subscription_key=subscription.key, user_id=pat.pk, at=AT)
        )
        assert until_somebody_waits(given)

    assert isinstance(given.exception(30), PersonUnknown)
    with tenant_atomic(contoso.pk):
        assert not Assignment.objects.exists()
    assert violations(at=AT) == []


def test_nor_in_a_list_of_several(contoso: Tenant, gina: User, pat: User) -> None:
    subscription, mike = make_central_subscription(gina, quantity=5), make_user(contoso)
    admin = actor_of(gina)
    with tenant_atomic(contoso.pk):
        User.objects.select_for_update().get(pk=pat.pk)
        User.objects.filter(pk=pat.pk).update(status="deleted", deleted_at=AT)
        given = beside(
            lambda: assign_licenses(
                actor=admin, subscription_key=subscription.key, user_ids=[pat.pk, mike.pk], at=AT
            )
        )
        assert until_somebody_waits(given)

    assert given.result(30).outcomes == ((pat.pk, "unknown"), (mike.pk, "assigned"))
    assert violations(at=AT) == []


@pytest.mark.parametrize("_round", range(3))
def test_whoever_is_deleted_and_given_a_license_at_once_holds_none(
    contoso: Tenant, gina: User, _round: int
) -> None:
    subscription = make_central_subscription(gina, quantity=40)
    people = [make_user(contoso) for _ in range(12)]
    admin = actor_of(gina)

    def work(n: int) -> None:
        user = people[n // 2]
        with suppress(DomainError):
            if n % 2:
                patiently(
                    lambda: assign_license(
                        actor=admin, subscription_key=subscription.key, user_id=user.pk, at=AT
                    )
                )
            else:
                patiently(lambda: delete_user(actor=admin, user_id=user.pk, at=AT, real_at=real_now()))

    all_at_once(work, count=24)

    with tenant_atomic(contoso.pk):
        assert User.objects.filter(status="deleted").count() == 12
        assert not Assignment.objects.live().exists()
        subscription.refresh_from_db()
    assert subscription.assigned == 0
    assert violations(at=AT) == []


def test_sweeps_admins_and_returning_people_agree_on_the_seats(contoso: Tenant, gina: User) -> None:
    subscription = make_central_subscription(gina, quantity=20)
    people = [make_user(contoso) for _ in range(10)]
    admin = actor_of(gina)
    assign_licenses(
        actor=admin, subscription_key=subscription.key, user_ids=[user.pk for user in people], at=AT
    )
    with tenant_atomic(contoso.pk):
        User.objects.exclude(pk=gina.pk).update(status="disabled", disabled_at=AT)
        Tenant.objects.update(seats_kept_days=0)
    enabled, lock = [], threading.Lock()

    def work(n: int) -> None:
        if n % 3 == 0:
            patiently(lambda: free_licenses_of_leavers(at=AT))
            return
        with suppress(NotVisible):
            patiently(lambda: enable_user(actor=admin, user_id=people[n % 10].pk, at=AT))
            with lock:
                enabled.append(people[n % 10].pk)

    all_at_once(work, count=30)

    with tenant_atomic(contoso.pk):
        subscription.refresh_from_db()
        live = Assignment.objects.live().values_list("user__status", flat=True)
        assert subscription.assigned == len(live)
        assert set(live) <= {"active"}
    assert violations(at=AT) == []
