"""What holds for a product and where it comes from (product §9, docs/policy.md)."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from policies.rule import (
    ASK,
    DISABLED,
    ENABLED,
    STRICTNESS,
    TRIALS_ONLY,
    Effective,
    GroupValue,
    Rules,
    Subject,
    effective,
)

RULED = datetime(2026, 3, 10, tzinfo=UTC)
OLD = Subject(("NEW", "FORMER"), "Visio", RULED - timedelta(days=1))
NEW = Subject(("NEW", "FORMER"), "Visio", RULED + timedelta(days=1))
VALUES = (ENABLED, TRIALS_ONLY, DISABLED)


def test_everything_is_allowed_where_nothing_was_said() -> None:
    assert effective(Rules(), NEW) == Effective(ENABLED, "default")


def test_the_more_specific_level_wins() -> None:
    rules = Rules(default=DISABLED, categories={"Visio": TRIALS_ONLY}, products={"NEW": ENABLED})

    assert effective(rules, OLD) == Effective(ENABLED, "product")
    assert effective(Rules(default=DISABLED, categories={"Visio": TRIALS_ONLY}), OLD) == Effective(
        TRIALS_ONLY, "category"
    )
    assert effective(Rules(default=DISABLED, categories={"Project": ENABLED}), OLD) == Effective(
        DISABLED, "default"
    )


def test_what_was_said_of_a_former_id_holds_and_the_current_one_comes_first() -> None:
    assert effective(Rules(products={"FORMER": DISABLED}), OLD).value == DISABLED
    assert effective(Rules(products={"FORMER": DISABLED, "NEW": ENABLED}), OLD).value == ENABLED


@pytest.mark.parametrize(
    ("ruled", "found"),
    [
        (ENABLED, Effective(ENABLED, "new_products")),
        (TRIALS_ONLY, Effective(TRIALS_ONLY, "new_products")),
        (DISABLED, Effective(DISABLED, "new_products")),
        (ASK, Effective(DISABLED, "new_products", is_undecided=True)),
    ],
)
def test_a_product_that_came_after_the_rule_is_new_and_an_older_one_is_not(
    ruled: str, found: Effective
) -> None:
    rules = Rules(new_products=ruled, new_since=RULED)

    assert effective(rules, NEW) == found
    assert effective(rules, OLD) == Effective(ENABLED, "default")


@pytest.mark.parametrize(
    "rules",
    [
        Rules(new_products=ASK, new_since=RULED, categories={"Visio": ENABLED}),
        Rules(new_products=ASK, new_since=RULED, products={"NEW": ENABLED}),
    ],
)
def test_a_category_or_a_product_decides_about_a_new_one(rules: Rules) -> None:
    assert effective(rules, NEW).value == ENABLED
    assert not effective(rules, NEW).is_undecided


def test_a_groups_rule_is_an_exception_at_its_own_level_alone() -> None:
    makers = GroupValue("category", "Visio", "Makers", ENABLED)

    assert effective(Rules(default=DISABLED, groups=[makers]), OLD) == Effective(
        ENABLED, "category", "Makers"
    )
    assert effective(Rules(categories={"Visio": DISABLED}, groups=[makers]), OLD).value == ENABLED
    assert effective(Rules(products={"NEW": DISABLED}, groups=[makers]), OLD) == Effective(
        DISABLED, "product"
    )


def test_a_groups_rule_for_every_product_does_not_decide_about_a_new_one() -> None:
    everything = GroupValue("tenant", "", "Makers", ENABLED)
    rules = Rules(default=DISABLED, new_products=ASK, new_since=RULED, groups=[everything])

    assert effective(rules, NEW).is_undecided
    assert effective(rules, OLD) == Effective(ENABLED, "default", "Makers")


def test_a_groups_rule_for_a_former_id_holds_for_the_product() -> None:
    rules = Rules(groups=[GroupValue("product", "FORMER", "Makers", DISABLED)])

    assert effective(rules, OLD) == Effective(DISABLED, "product", "Makers")


@pytest.mark.parametrize("general", VALUES)
@pytest.mark.parametrize(
    "values", [*product(VALUES), *product(VALUES, VALUES), *product(VALUES, VALUES, VALUES)]
)
def test_of_several_groups_of_one_level_the_strictest_counts(values: tuple[str, ...], general: str) -> None:
    groups = [GroupValue("product", "NEW", f"Group {n}", value) for n, value in enumerate(values)]

    found = effective(Rules(products={"NEW": general}, groups=groups), OLD)

    assert STRICTNESS[found.value] == max(STRICTNESS[value] for value in values)
