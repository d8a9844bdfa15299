"""Eligibility from real rows: the demo tenants' cases (product §3.3, §17)."""

from typing import Any

import pytest

from commerce.queries.catalogue import product_keys
from commerce.queries.eligibility import eligibility_for
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.permissions import Role
from policies.operations.policies import set_product_policy
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user, product

pytestmark = pytest.mark.django_db


def codes(user: User, slug: str = "power-bi-pro") -> tuple[str, ...]:
    return eligibility_for(actor=actor_of(user), product=product(slug), at=AT).codes


@pytest.mark.parametrize(
    ("tenant", "slug", "expected"),
    [
        ({"country": "NL"}, "power-bi-pro", ()),
        ({"country": "US"}, "visio-plan-2", ()),
        ({"country": "US", "kind": "government"}, "power-bi-pro", ("government",)),
        ({"country": "GB", "kind": "education"}, "power-bi-pro", ("education",)),
        ({"country": "IN"}, "power-bi-pro", ("market_closed",)),
        ({"country": "BR"}, "power-bi-pro", ()),
        ({"country": "BR"}, "project-plan-1", ("category_excluded",)),
        ({"country": "BR"}, "visio-plan-1", ("category_excluded",)),
        ({"country": "CD"}, "power-apps-per-user", ()),
        ({"country": "CD"}, "project-plan-3", ("category_excluded",)),
        ({"country": "CD"}, "visio-plan-2", ("category_excluded",)),
        ({"country": "NL", "is_managed": False}, "power-bi-pro", ("tenant_unmanaged",)),
        ({"country": "NL", "standing": "suspended"}, "power-bi-pro", ("tenant_suspended",)),
        ({"country": "NL"}, "viva-goals", ("product_central_only",)),
        ({"country": "FR"}, "power-bi-pro", ("not_sold_in_country",)),
        ({"country": "IN"}, "viva-goals", ("market_closed", "product_central_only")),
    ],
)
def test_tenants(tenant: dict[str, Any], slug: str, expected: tuple[str, ...]) -> None:
    assert codes(make_user(make_tenant(**tenant)), slug) == expected


def test_an_account_synced_from_on_premises_is_treated_like_any_other() -> None:
    assert codes(make_user(make_tenant(), source="on_premises")) == ()


def test_a_guest_is_led_home() -> None:
    assert codes(make_user(make_tenant(), kind="guest")) == ("guest",)


def test_a_disabled_account_may_not() -> None:
    user = make_user(make_tenant())
    actor = actor_of(user)
    with tenant_atomic(user.tenant_id):
        User.objects.filter(pk=user.pk).update(status="disabled")

    assert eligibility_for(actor=actor, product=product(), at=AT).codes == ("account_inactive",)


def test_a_partner_buys_nothing_by_card_for_a_customer() -> None:
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    make_relationship(customer, partner, users=(petra,))

    decision = eligibility_for(actor=actor_of(petra, customer), product=product(), at=AT)

    assert decision.codes == ("acting_for_customer",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Disabled", ("policy_disabled",)),
        ("OnlyTrialsWithoutPaymentMethod", ("policy_trials_only",)),
        ("Enabled", ()),
    ],
)
def test_the_tenants_policy_decides_for_the_product(value: str, expected: tuple[str, ...]) -> None:
    tenant = make_tenant()
    admin = actor_of(make_user(tenant, roles=(Role.BILLING_ADMIN,)))
    mike = make_user(tenant)
    blocked = product("power-automate-per-user")

    set_product_policy(actor=admin, product_keys=product_keys(blocked), value=value, at=AT)

    assert codes(mike, "power-automate-per-user") == expected
    assert codes(mike, "power-bi-pro") == ()


def test_reads_seven_times_inside_its_own_block(django_assert_num_queries: Any) -> None:
    actor = actor_of(make_user(make_tenant()))
    wanted = product()

    with django_assert_num_queries(11):
        eligibility_for(actor=actor, product=wanted, at=AT)
