"""A service that a data policy switched off is refused by every door, and runs on in the books (product §14)."""

from typing import Any

import pytest

from commerce.models import Subscription
from commerce.operations.central import Choice, quote_purchase
from commerce.operations.changes.reactivating import require_reactivable
from commerce.operations.changes.rules import require_growable
from commerce.operations.checkouts import NotEligible
from commerce.queries.eligibility import eligibility_for
from config.kit.tenancy import tenant_atomic
from directory.models import Group, GroupMembership, Tenant, User
from directory.permissions import Role
from licensing.models import GroupLicense, WaitingPlace
from licensing.operations.assignments import Outcome, assign_license, assign_licenses, unassign_licenses
from licensing.operations.requests import approve_request, ask_for_licenses
from licensing.queries.groups import members_without
from policies.operations.data import Place, ServiceOff, Values, set_data_policy
from policies.queries.requests import request_door
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_agreement,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike")


@pytest.fixture
def lea(contoso: Tenant, gina: User) -> User:
    """Of the group Lab, which keeps Power BI Pro whatever holds for the others."""
    lea = make_user(contoso, name="Lea")
    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Lab")
        GroupMembership.objects.create(tenant=contoso, group=lab, user=lea)
    say(gina, Place(product().pk, "Power BI Pro", lab.pk), service_on=True)
    return lea


def say(by: User, place: Place | None = None, **values: Any) -> None:
    set_data_policy(actor=actor_of(by), place=place or Place(), values=Values(**values), at=AT)


def switch_off(by: User) -> None:
    say(by, Place(product().pk, "Power BI Pro"), service_on=False)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_nobody_buys_or_tries_it_and_the_reason_says_what_to_do(gina: User, mike: User) -> None:
    switch_off(gina)

    for wanted in ("purchase", "trial", "free_trial"):
        decision = eligibility_for(actor=actor_of(mike), product=product(), at=AT, wanted=wanted)  # type: ignore[arg-type]
        assert "service_off" in decision.codes
    (reason,) = (each for each in decision.reasons if each.code == "service_off")
    assert str(reason.heading) == "Contoso switched Power BI Pro off"
    assert "Your IT admins can switch it on" in str(reason.advice)
    assert eligibility_for(actor=actor_of(mike), product=product("visio-plan-2"), at=AT).is_eligible


def test_a_group_that_keeps_it_buys_it(gina: User, lea: User, mike: User) -> None:
    switch_off(gina)

    assert eligibility_for(actor=actor_of(lea), product=product(), at=AT).is_eligible
    assert not eligibility_for(actor=actor_of(mike), product=product(), at=AT).is_eligible


def test_it_is_not_bought_centrally_unless_a_group_keeps_it(contoso: Tenant, gina: User) -> None:
    make_agreement(contoso)
    choice = Choice(plan=plan(), quantity=5, starts_on=None)
    switch_off(gina)

    with tenant_atomic(contoso.pk), pytest.raises(ServiceOff):
        quote_purchase(actor=actor_of(gina), choice=choice, at=AT)


def test_it_is_bought_centrally_for_a_group_that_keeps_it(contoso: Tenant, gina: User, lea: User) -> None:
    make_agreement(contoso)
    switch_off(gina)

    with tenant_atomic(contoso.pk):
        choice = Choice(plan=plan(), quantity=5, starts_on=None)
        assert quote_purchase(actor=actor_of(gina), choice=choice, at=AT).quantity == 5


def test_no_seats_are_added_whoever_owns_it(contoso: Tenant, gina: User, mike: User) -> None:
    of_the_organization, of_mike = make_subscription(contoso), make_subscription(contoso, owner=mike)
    switch_off(gina)

    with tenant_atomic(contoso.pk):
        with pytest.raises(ServiceOff):
            require_growable(actor_of(gina), of_the_organization, AT)
        with pytest.raises(NotEligible):
            require_growable(actor_of(mike), of_mike, AT)


def test_what_is_disabled_is_not_brought_back_and_what_is_expired_renews(contoso: Tenant, gina: User) -> None:
    disabled, expired = (
        make_subscription(contoso, state=state, due_at=AT, recurring_billing=False)
        for state in (Subscription.State.DISABLED, Subscription.State.EXPIRED)
    )
    switch_off(gina)

    with tenant_atomic(contoso.pk):
        require_reactivable(actor_of(gina), expired, AT)
        with pytest.raises(ServiceOff):
            require_reactivable(actor_of(gina), disabled, AT)


def test_a_single_license_is_refused_with_what_to_do(contoso: Tenant, gina: User, mike: User) -> None:
    central = make_subscription(contoso)
    switch_off(gina)

    with pytest.raises(ServiceOff) as refused:
        assign_license(actor=actor_of(gina), subscription_key=central.key, user_id=mike.pk, at=AT)

    assert "A global admin can switch it on" in str(refused.value)
    with tenant_atomic(contoso.pk):
        central.refresh_from_db()
    assert central.assigned == 0


def test_of_a_list_those_get_one_who_may_use_it(contoso: Tenant, gina: User, lea: User, mike: User) -> None:
    central = make_subscription(contoso)
    switch_off(gina)

    result = assign_licenses(
        actor=actor_of(gina), subscription_key=central.key, user_ids=[mike.pk, lea.pk], at=AT
    )

    assert result.outcomes == ((mike.pk, Outcome.SERVICE_OFF), (lea.pk, Outcome.ASSIGNED))
    assert result.free == 9


def test_a_freed_seat_waits_for_who_may_use_it(contoso: Tenant, gina: User, lea: User, mike: User) -> None:
    central = make_subscription(contoso, quantity=1)
    assign_license(actor=actor_of(gina), subscription_key=central.key, user_id=gina.pk, at=AT)
    with tenant_atomic(contoso.pk):
        for user in (mike, lea):
            WaitingPlace.objects.create(
                tenant=contoso, subscription=central, user=user, added_at=AT, added_by="Gina"
            )
    switch_off(gina)

    unassign_licenses(actor=actor_of(gina), subscription_key=central.key, user_ids=[gina.pk], at=AT)

    with tenant_atomic(contoso.pk):
        waiting = WaitingPlace.objects.filter(ended_at=None).values_list("user_id", flat=True)
        assert list(waiting) == [mike.pk]


def test_a_group_gives_no_seat_and_its_page_says_why(contoso: Tenant, gina: User, mike: User) -> None:
    central = make_subscription(contoso)
    with tenant_atomic(contoso.pk):
        team = Group.objects.create(tenant=contoso, name="Team")
        GroupMembership.objects.create(tenant=contoso, group=team, user=mike)
        license = GroupLicense.objects.create(
            tenant=contoso,
            subscription=central,
            group=team,
            group_name="Team",
            assigned_at=AT,
            assigned_by="Gina",
        )
    switch_off(gina)

    with tenant_atomic(contoso.pk):
        assert [(each.user, each.why) for each in members_without(license)] == [(mike, "service_off")]


def test_it_is_not_asked_for(contoso: Tenant, gina: User, mike: User, lea: User) -> None:
    switch_off(gina)

    with pytest.raises(ServiceOff):
        ask_for_licenses(actor=actor_of(mike), product=product(), user_ids=[mike.pk], reason="x", at=AT)
    with tenant_atomic(contoso.pk):
        assert not request_door(actor=actor_of(mike), product_id=product().pk).is_open
        assert request_door(actor=actor_of(lea), product_id=product().pk).is_open
        assert request_door(actor=actor_of(mike), product_id=product("visio-plan-2").pk).is_open


def test_a_request_from_before_is_not_granted_by_a_free_license(
    contoso: Tenant, gina: User, mike: User
) -> None:
    make_subscription(contoso)
    asked = ask_for_licenses(actor=actor_of(mike), product=product(), user_ids=[mike.pk], reason="x", at=AT)
    switch_off(gina)

    with pytest.raises(ServiceOff):
        approve_request(actor=actor_of(gina), key=asked.request.key, at=AT)


def test_who_holds_a_license_reads_that_it_is_off_and_why(contoso: Tenant, gina: User, mike: User) -> None:
    central = make_subscription(contoso)
    assign_license(actor=actor_of(gina), subscription_key=central.key, user_id=mike.pk, at=AT)
    browser = client_of(mike)
    assert browser.get("/apps/power-bi-pro/").status_code == 200
    switch_off(gina)

    closed = browser.get("/apps/power-bi-pro/")

    assert closed.status_code == 403
    assert "Power BI Pro is switched off" in text(closed)
    assert "Contoso switched it off, however it was bought" in text(closed)
    assert "Request a license" not in text(closed)
    assert "Switched off by Contoso" in text(browser.get("/"))
    assert "Switched off" in text(browser.get("/my/licenses/"))


def test_running_purchases_show_it_to_who_owns_and_who_manages_them(
    contoso: Tenant, gina: User, mike: User
) -> None:
    own = make_subscription(contoso, owner=mike)
    lisa = make_user(contoso, roles=(Role.LICENSE_ADMIN,))
    pages = [
        (gina, "/admin/billing/your-products/"),
        (mike, "/admin/billing/your-products/"),
        (gina, f"/admin/billing/your-products/{own.key}/"),
        (mike, f"/admin/billing/your-products/{own.key}/"),
        (lisa, f"/admin/licenses/{own.key}/"),
    ]
    said = ("Switched off", "Contoso switched Power BI Pro off")
    for user, address in pages:
        page = client_of(user).get(address)
        assert page.status_code == 200, address
        assert not any(each in text(page) for each in said)
    switch_off(gina)

    for user, address in pages:
        assert any(each in text(client_of(user).get(address)) for each in said), address
