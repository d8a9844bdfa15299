"""What holds for a product's data and where it comes from (product §14, docs/data.md)."""

import itertools

import pytest

from directory.permissions import ROLES
from policies.data_rule import (
    ADMIN_ROLES,
    ADMINS,
    BUILT_IN_DAYS,
    EVERYONE,
    HOLDERS,
    Said,
    Value,
    effective,
    may_create,
)
from policies.models import Creators

TENANT, PRODUCT = Said(service_on=False), Said(7, service_on=True)


def test_where_nothing_was_said_all_is_on_shared_kept_90_days_and_made_by_holders() -> None:
    held = effective([])

    assert held.service == Value(True, "built_in")
    assert held.sharing == Value(True, "built_in")
    assert held.retention == Value(BUILT_IN_DAYS, "built_in") == Value(90, "built_in")
    assert held.creators == Value(HOLDERS, "built_in")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([TENANT], Value(False, "tenant")),
        ([TENANT, PRODUCT], Value(True, "product")),
        ([TENANT, PRODUCT, Said(None, "Lab", service_on=False)], Value(False, "group", "Lab")),
        (
            [PRODUCT, Said(None, "Lab", service_on=False), Said(7, "Lab", service_on=True)],
            Value(True, "group_product", "Lab"),
        ),
    ],
)
def test_a_group_beats_the_product_and_the_product_beats_the_tenant_in_any_order(
    said: list[Said], expected: Value[bool]
) -> None:
    for order in itertools.permutations(said):
        assert effective(order).service == expected


def test_of_several_groups_the_strictest_counts() -> None:
    lab = Said(None, "Lab", service_on=True, external_sharing=True, creators=EVERYONE)
    law = Said(None, "Law", service_on=False, external_sharing=False, creators=ADMINS)

    held = effective([lab, law])

    assert held.service == Value(False, "group", "Law")
    assert held.sharing == Value(False, "group", "Law")
    assert held.creators == Value(ADMINS, "group", "Law")


def test_each_setting_is_looked_for_by_itself() -> None:
    held = effective(
        [Said(external_sharing=False), Said(7, retention_days=30), Said(7, "Lab", creators=ADMINS)]
    )

    assert (held.sharing.origin, held.retention.origin, held.creators.origin) == (
        "tenant",
        "product",
        "group_product",
    )
    assert held.service.origin == "built_in"


@pytest.mark.parametrize(
    ("creators", "entitled", "admin", "expected"),
    [
        (EVERYONE, False, False, True),
        (HOLDERS, False, True, False),
        (HOLDERS, True, False, True),
        (ADMINS, True, False, False),
        (ADMINS, False, True, True),
    ],
)
def test_who_may_make_a_workspace(creators: str, entitled: bool, admin: bool, expected: bool) -> None:
    said = {"creators": creators, "is_entitled": entitled, "is_admin": admin}

    assert may_create(service_on=True, **said) is expected
    assert may_create(service_on=False, **said) is False


def test_the_values_are_those_that_are_stored_and_readers_are_no_admins() -> None:
    assert set(Creators.values) == {EVERYONE, HOLDERS, ADMINS}
    assert set(ADMIN_ROLES) == set(ROLES) - {"global_reader"}
