"""The users of somebody's purchase get licenses of the organization's, all of them or nobody (product §5.1, §11)."""

import uuid
from datetime import datetime
from typing import Any

import pytest

from commerce.models import Subscription
from config.invariants import violations
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.people import disable_user
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses
from licensing.operations.giving import NobodyToGive, NotEnoughFree, give_central_licenses_to_users
from tests.factories import (
    actor_of,
    client_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def dora(contoso: Tenant) -> User:
    return make_user(contoso, name="Dora")


@pytest.fixture
def bought(contoso: Tenant, gina: User, dora: User, at: datetime) -> Subscription:
    """Of Dora, who left; Erik and Daan use it, and she herself."""
    subscription = make_self_service_subscription(dora, quantity=5, at=at)
    people = [make_user(contoso, name=name).pk for name in ("Erik", "Daan")]
    assign_licenses(actor=actor_of(dora), subscription_key=subscription.key, user_ids=people, at=at)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=at)
    return subscription


def give(user: User, bought: Subscription, central: Subscription, at: datetime) -> int:
    return give_central_licenses_to_users(
        actor=actor_of(user), source_key=bought.key, central_key=central.key, at=at
    ).done


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        return list(rows.values_list("user__name", flat=True))


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_every_active_user_gets_one_and_keeps_the_old_one(
    gina: User, bought: Subscription, at: datetime
) -> None:
    central = make_central_subscription(gina, quantity=2, at=at)

    assert give(gina, bought, central, at) == 2

    assert holders(central) == ["Erik", "Daan"]
    assert holders(bought) == ["Dora", "Erik", "Daan"]
    assert violations(at=at) == []


def test_who_has_one_already_is_left_out_and_again_gives_nothing(
    contoso: Tenant, gina: User, bought: Subscription, at: datetime
) -> None:
    central = make_central_subscription(gina, quantity=3, at=at)
    with tenant_atomic(contoso.pk):
        erik = User.objects.get(name="Erik")
    assign_licenses(
        actor=actor_of(gina), subscription_key=central.key, user_ids=[erik.pk], at=at, confirmed=True
    )

    assert give(gina, bought, central, at) == 1
    with pytest.raises(NobodyToGive):
        give(gina, bought, central, at)

    assert holders(central) == ["Erik", "Daan"]


def test_with_too_few_free_nobody_gets_one(gina: User, bought: Subscription, at: datetime) -> None:
    central = make_central_subscription(gina, quantity=1, at=at)

    with pytest.raises(NotEnoughFree, match="2 licenses are needed and 1 are free there"):
        give(gina, bought, central, at)

    assert holders(central) == []
    assert violations(at=at) == []


def test_only_the_organizations_subscriptions_of_that_product_count(
    contoso: Tenant, gina: User, bought: Subscription, at: datetime
) -> None:
    others = [
        make_central_subscription(gina, plan=plan("visio-plan-1"), at=at),
        make_self_service_subscription(make_user(contoso), at=at),
        make_central_subscription(make_user(make_tenant(), roles=("global_admin",)), at=at),
    ]

    for other in others:
        with pytest.raises(NotVisible):
            give(gina, bought, other, at)
    with pytest.raises(NotVisible):
        give_central_licenses_to_users(
            actor=actor_of(gina), source_key=others[0].key, central_key=uuid.uuid4(), at=at
        )


@pytest.mark.parametrize(
    ("roles", "error"),
    [((), NotVisible), (("billing_admin",), NotAllowed), (("global_reader",), NotAllowed)],
)
def test_others_may_not(
    contoso: Tenant,
    gina: User,
    bought: Subscription,
    at: datetime,
    roles: tuple[str, ...],
    error: type[Exception],
) -> None:
    central = make_central_subscription(gina, quantity=2, at=at)

    with pytest.raises(error):
        give(make_user(contoso, roles=roles), bought, central, at)

    assert holders(central) == []


def test_the_page_says_who_needs_one_and_gives_them(
    contoso: Tenant, gina: User, bought: Subscription, at: datetime
) -> None:
    lisa = make_user(contoso, roles=("license_admin",))
    client, address = client_of(lisa), f"/admin/licenses/{bought.key}/give-central/"
    assert address in text(client.get(f"/admin/licenses/{bought.key}/"))
    assert "The organization has no free license of this product" in text(client.get(address))
    central = make_central_subscription(gina, quantity=2, at=at)

    page = text(client.get(address))
    nothing = client.post(address, {"shown_for_tenant": contoso.pk})
    done = client.post(address, {"shown_for_tenant": contoso.pk, "central": str(central.key)})

    assert "2 people use it and have no license of the organization's." in page
    assert "Assign 2 licenses" in page
    assert (nothing.status_code, done.status_code) == (422, 303)
    assert "2 licenses were assigned." in text(client.get(done["Location"]))
    assert "Everybody who uses it has a license of the organization's already." in text(client.get(address))
    assert holders(central) == ["Erik", "Daan"]
