"""Two who decide about one request at once, and two who ask for the same person: real threads (product §7.5)."""

from collections import Counter
from datetime import datetime

import pytest

from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from licensing.models import Assignment, LicenseRequest, RequestedPerson
from licensing.operations.requests import (
    AlreadyAsked,
    NotEnoughLicenses,
    RequestOver,
    approve_request,
    ask_for_licenses,
    reject_request,
    withdraw_request,
)
from tests.concurrency.threads import all_at_once
from tests.factories import actor_of, make_subscription, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DECIDERS = 8


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def deciders(contoso: Tenant) -> list[User]:
    return [make_user(contoso, roles=("license_admin",)) for _ in range(DECIDERS)]


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike")


def ask(user: User, at: datetime) -> LicenseRequest:
    return ask_for_licenses(
        actor=actor_of(user), product=product(), user_ids=[user.pk], reason="x", at=at
    ).request


def live(tenant: Tenant) -> int:
    with tenant_atomic(tenant.pk):
        return Assignment.objects.live().count()


def test_of_many_who_approve_one_request_one_gives_one_license(
    contoso: Tenant, deciders: list[User], mike: User, at: datetime
) -> None:
    make_subscription(contoso, quantity=50)
    request = ask(mike, at)
    actors = [actor_of(user) for user in deciders]

    def decide(n: int) -> str:
        try:
            if n % 2:
                approve_request(actor=actors[n], key=request.key, at=at)
                return "approved"
            reject_request(actor=actors[n], key=request.key, message="No", at=at)
        except RequestOver:
            return "over"
        return "rejected"

    answers = Counter(all_at_once(decide, count=DECIDERS))

    assert answers["approved"] + answers["rejected"] == 1
    assert answers["over"] == DECIDERS - 1
    assert live(contoso) == answers["approved"]
    with tenant_atomic(contoso.pk):
        assert OutgoingMail.objects.filter(kind="request_decided").count() == 1
    assert violations(at=at, only=["I-01", "I-30"]) == []


def test_the_last_license_goes_to_one_of_many_requests(
    contoso: Tenant, deciders: list[User], at: datetime
) -> None:
    make_subscription(contoso, quantity=1)
    requests = [ask(make_user(contoso), at) for _ in range(DECIDERS)]
    actors = [actor_of(user) for user in deciders]

    def decide(n: int) -> str:
        try:
            approve_request(actor=actors[n], key=requests[n].key, at=at)
        except NotEnoughLicenses:
            return "none left"
        return "approved"

    answers = Counter(all_at_once(decide, count=DECIDERS))

    assert answers == {"approved": 1, "none left": DECIDERS - 1}
    assert live(contoso) == 1
    assert violations(at=at, only=["I-01", "I-30"]) == []


def test_withdrawn_and_approved_at_once_it_is_one_of_both(
    contoso: Tenant, deciders: list[User], mike: User, at: datetime
) -> None:
    make_subscription(contoso, quantity=5)
    request = ask(mike, at)
    requester, decider = actor_of(mike), actor_of(deciders[0])

    def act(n: int) -> str:
        try:
            if n:
                approve_request(actor=decider, key=request.key, at=at)
                return "approved"
            withdraw_request(actor=requester, key=request.key, at=at)
        except RequestOver:
            return "over"
        return "withdrawn"

    answers = Counter(all_at_once(act, count=2))

    assert answers["over"] == 1
    assert live(contoso) == answers["approved"]


def test_of_many_who_ask_for_the_same_person_one_is_the_first(
    contoso: Tenant, deciders: list[User], mike: User, at: datetime
) -> None:
    actors = [actor_of(user) for user in deciders]

    def ask_too(n: int) -> str:
        try:
            ask_for_licenses(actor=actors[n], product=product(), user_ids=[mike.pk], reason="x", at=at)
        except AlreadyAsked:
            return "asked before"
        return "asked"

    answers = Counter(all_at_once(ask_too, count=DECIDERS))

    assert answers == {"asked": 1, "asked before": DECIDERS - 1}
    with tenant_atomic(contoso.pk):
        assert (LicenseRequest.objects.count(), RequestedPerson.objects.count()) == (1, 1)
