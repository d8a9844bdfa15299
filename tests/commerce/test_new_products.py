"""Admins are told once of each product that awaits their decision (product §9)."""

from datetime import timedelta

import pytest

from commerce.models import Product
from commerce.operations.catalogue import PRICES_VALID_FROM
from commerce.operations.new_products import tell_of_new_products
from commerce.queries.eligibility import eligibility_for
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.permissions import Role
from policies.operations import policies as operations
from policies.operations.policies import Change, change_policies
from tests.factories import AT, actor_of, make_product, make_tenant, make_user

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

RULED = AT - timedelta(days=10)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(tenant: Tenant) -> User:
    return make_user(tenant, roles=(Role.BILLING_ADMIN,))


@pytest.fixture
def new() -> Product:
    return make_product(name="Fresh", category="Visio", added_at=AT)


def say(admin: User, *changes: Change) -> None:
    change_policies(actor=actor_of(admin), changes=changes, at=RULED)


def told(tenant: Tenant) -> list[tuple[int | None, str]]:
    with tenant_atomic(tenant.pk):
        mails = OutgoingMail.objects.filter(kind="new_product").order_by("id")
        return [(mail.to_user_id, mail.context["product"]) for mail in mails]


def test_admins_are_told_once_of_a_product_that_nobody_can_buy_until_they_decide(
    tenant: Tenant, bill: User, new: Product
) -> None:
    make_user(tenant, roles=(Role.LICENSE_ADMIN,))
    say(bill, operations.new_products("Ask"))

    assert (tell_of_new_products(at=AT), tell_of_new_products(at=AT + timedelta(days=1))) == (1, 0)

    assert told(tenant) == [(bill.pk, "Fresh")]
    codes = eligibility_for(actor=actor_of(make_user(tenant)), product=new, at=AT).codes
    assert "policy_undecided" in codes


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [operations.new_products("Disabled")],
        [operations.new_products("Ask"), operations.of_category("Visio", "Enabled")],
    ],
)
def test_nobody_is_told_where_there_is_nothing_to_decide(
    tenant: Tenant, bill: User, new: Product, changes: list[Change]
) -> None:
    say(bill, *changes)

    assert tell_of_new_products(at=AT) == 0
    assert told(tenant) == []


def test_a_decision_about_the_product_is_one(tenant: Tenant, bill: User, new: Product) -> None:
    say(bill, operations.new_products("Ask"), operations.of_product([new.key], "Enabled"))

    assert tell_of_new_products(at=AT) == 0


def test_what_came_before_the_rule_is_not_new(tenant: Tenant, bill: User) -> None:
    make_product(name="Old", category="Visio", added_at=PRICES_VALID_FROM)
    say(bill, operations.new_products("Ask"))

    assert tell_of_new_products(at=AT) == 0
