"""Telling people of a license that somebody gave them or took from them (product §15)."""

from datetime import datetime, timedelta

import pytest

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.preferences import Wanted, set_preferences
from licensing.operations.assignments import (
    NoSeatLeft,
    assign_license,
    assign_licenses,
    give_back_license,
    unassign_licenses,
)
from tests.factories import actor_of, make_relationship, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db

GIVEN, TAKEN = "license_given", "license_taken"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


@pytest.fixture
def bob(contoso: Tenant) -> User:
    return make_user(contoso, name="Bob", language="nl")


@pytest.fixture
def subscription(contoso: Tenant, alice: User) -> Subscription:
    return make_subscription(contoso, owner=alice, quantity=2)


def told(tenant: Tenant) -> list[tuple[str, int, str]]:
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(kind__in=[GIVEN, TAKEN]).order_by("id")
        return list(rows.values_list("kind", "to_user_id", "state"))


def test_whoever_gets_a_license_is_told_by_whom(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    assert told(contoso) == [(GIVEN, bob.pk, "queued")]
    with tenant_atomic(contoso.pk):
        mail = OutgoingMail.objects.get()
        assert (mail.to_address, mail.language, mail.created_at) == (bob.email, "nl", at)
        assert mail.context["by"] == "Alice"
        assert (mail.context["product"], mail.context["organization"]) == ("Power BI Pro", "Contoso")
        assert mail.context["link"].endswith("/my/licenses/")


def test_taking_it_back_and_giving_it_again_are_things_of_their_own(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    actor, facts = actor_of(alice), {"subscription_key": subscription.key, "user_ids": [bob.pk]}

    for minute, change in enumerate((assign_licenses, unassign_licenses, assign_licenses)):
        change(actor=actor, at=at + timedelta(minutes=minute), **facts)

    assert [kind for kind, _user, _state in told(contoso)] == [GIVEN, TAKEN, GIVEN]


def test_what_is_done_again_at_the_same_instant_is_told_once_and_the_others_of_the_list_are_told_too(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    subscription = make_subscription(contoso, owner=alice, quantity=3)
    carol = make_user(contoso)
    actor, key = actor_of(alice), subscription.key

    assign_licenses(actor=actor, subscription_key=key, user_ids=[bob.pk], at=at)
    unassign_licenses(actor=actor, subscription_key=key, user_ids=[bob.pk], at=at)
    result = assign_licenses(actor=actor, subscription_key=key, user_ids=[carol.pk, bob.pk], at=at)

    assert result.done == 2
    assert [(kind, user) for kind, user, _state in told(contoso)] == [
        (GIVEN, bob.pk),
        (TAKEN, bob.pk),
        (GIVEN, carol.pk),
    ]


def test_of_a_list_those_are_told_who_got_one(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    carol, late = make_user(contoso), make_user(contoso)
    disabled = make_user(contoso, status="disabled")

    assign_licenses(
        actor=actor_of(alice),
        subscription_key=subscription.key,
        user_ids=[disabled.pk, bob.pk, carol.pk, late.pk],
        at=at,
    )

    assert told(contoso) == [(GIVEN, bob.pk, "queued"), (GIVEN, carol.pk, "queued")]


def test_nobody_is_told_what_they_did_themselves(
    contoso: Tenant, subscription: Subscription, alice: User, at: datetime
) -> None:
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=alice.pk, at=at)
    give_back_license(actor=actor_of(alice), subscription_key=subscription.key, at=at)

    assert told(contoso) == []


def test_a_refusal_and_a_caller_that_tells_by_itself_tell_nothing(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    others = [make_user(contoso).pk for _ in range(2)]
    assign_licenses(
        actor=actor_of(alice), subscription_key=subscription.key, user_ids=others, at=at, tells=False
    )

    with pytest.raises(NoSeatLeft):
        assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    assert told(contoso) == []


def test_who_switched_it_off_finds_it_in_the_portal_alone(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    set_preferences(actor=actor_of(bob), wanted={GIVEN: Wanted(is_on=False)}, at=at)

    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    assert told(contoso) == [(GIVEN, bob.pk, "portal")]


def test_the_partner_of_whoever_gave_it_is_named(contoso: Tenant, bob: User, at: datetime) -> None:
    partner = make_tenant(name="Northwind")
    petra = make_user(partner, name="Petra")
    make_relationship(contoso, partner, roles=("license_admin",), users=(petra,), ends_at=at + timedelta(9))
    central = make_subscription(contoso)

    assign_license(actor=actor_of(petra, contoso, at=at), subscription_key=central.key, user_id=bob.pk, at=at)

    with tenant_atomic(contoso.pk):
        mail = OutgoingMail.objects.get(kind=GIVEN)
        assert mail.context["by"] == "Petra"
        assert mail.context["partner"].startswith("Northwind")
