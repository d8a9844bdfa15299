"""Where a policy differs from a template (product §12; docs/adr/0046)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.drift import CAP, DEFAULT, NEW_PRODUCTS, Line, Theirs, compare, current, rules_with, said_by
from policies.rule import ASK, DISABLED, ENABLED, TRIALS_ONLY, Rules, Subject, effective
from policies.spending import Limit, Limits

AT = datetime(2026, 3, 10, tzinfo=UTC)
OLD = Subject(("VISIO", "FORMER"), "Visio", AT - timedelta(days=9))
NEW = Subject(("APPS",), "Power Platform", AT - timedelta(days=1))
SUBJECTS = (OLD, NEW)
OFFERS = {"SaaS": ENABLED, "POWERBIVISUALS": DISABLED}


def theirs(*, limits: Limits | None = None, currency: str = "EUR", **rules: Any) -> Theirs:
    return Theirs(Rules(**rules), OFFERS, limits or Limits(), currency)


def differing(said: dict[str, Any], found: Theirs) -> list[str]:
    return [line.name for line in compare(said, found, SUBJECTS, at=AT) if line.differs]


def limit(basis: str = "person_month", **amounts: int) -> dict[str, Any]:
    return {"basis": basis, "amounts": amounts}


def test_what_the_template_does_not_name_is_left_to_the_customer() -> None:
    found = theirs(default=DISABLED, products={"VISIO": ENABLED}, limits=Limits("EUR", Limit(1, "purchase")))

    assert compare({}, found, SUBJECTS, at=AT) == []


def test_values_of_the_organization_are_compared_as_they_are_stored() -> None:
    said = {DEFAULT: TRIALS_ONLY, NEW_PRODUCTS: ASK, "category:Visio": "", "offer:SaaS": DISABLED}

    assert differing(said, theirs(categories={"Visio": ENABLED})) == [*said]
    assert differing(said, theirs(default=TRIALS_ONLY, new_products=ASK, new_since=AT)) == ["offer:SaaS"]


def test_a_product_differs_where_another_value_holds_wherever_it_comes_from() -> None:
    said = {"product:VISIO": DISABLED}

    assert differing(said, theirs()) == ["product:VISIO"]
    assert differing(said, theirs(default=DISABLED)) == []
    assert differing(said, theirs(categories={"Visio": DISABLED})) == []
    assert differing(said, theirs(default=DISABLED, products={"FORMER": ENABLED})) == ["product:VISIO"]


def test_a_product_that_awaits_a_decision_is_not_one_that_is_not_allowed() -> None:
    waits = theirs(new_products=ASK, new_since=AT - timedelta(days=30))

    assert differing({"product:VISIO": DISABLED}, waits) == ["product:VISIO"]


def test_a_product_differs_where_the_rest_of_the_template_would_take_its_value_away() -> None:
    said = {DEFAULT: DISABLED, "product:VISIO": ENABLED}

    assert differing(said, theirs()) == [DEFAULT, "product:VISIO"]


def test_as_inherited_asks_for_no_value_of_its_own() -> None:
    said = {"product:VISIO": ""}

    assert differing(said, theirs(products={"FORMER": ENABLED})) == ["product:VISIO"]
    assert differing(said, theirs(default=DISABLED)) == []


@pytest.mark.parametrize(
    ("stored", "asked", "is_different"),
    [
        (None, limit(EUR=5000), True),
        (Limit(5000, "person_month"), limit(EUR=5000), False),
        (Limit(5000, "purchase"), limit(EUR=5000), True),
        (Limit(4999, "person_month"), limit(EUR=5000), True),
        (Limit(5000, "person_month"), limit(""), True),
        (None, limit(""), False),
        (Limit(5000, "person_month"), limit(USD=5000), False),
    ],
)
def test_limits_are_compared_in_the_customers_currency(
    stored: Limit | None, asked: dict[str, Any], is_different: bool
) -> None:
    found = theirs(limits=Limits("EUR" if stored else "", stored))

    assert differing({CAP: asked}, found) == ([CAP] if is_different else [])


def test_a_template_without_an_amount_in_the_currency_has_nothing_to_compare() -> None:
    line = compare({CAP: limit(USD=1)}, theirs(), SUBJECTS, at=AT)[0]

    assert (line.is_silent, line.differs) == (True, False)


def test_a_limit_in_other_money_than_the_customers_differs() -> None:
    stored = Limits("USD", Limit(5000, "person_month"))

    assert differing({CAP: limit(EUR=5000)}, theirs(limits=stored)) == [CAP]


def test_products_go_by_their_current_keys_and_those_that_are_gone_are_left_out() -> None:
    said = {"product:GONE": ENABLED, "product:FORMER": ENABLED, DEFAULT: DISABLED, "offer:SaaS": ENABLED}

    assert list(current(said, SUBJECTS).items()) == [
        (DEFAULT, DISABLED),
        ("product:VISIO", ENABLED),
        ("offer:SaaS", ENABLED),
    ]


def test_what_was_seen_tells_apart_value_origin_and_what_is_stored() -> None:
    said = {"product:VISIO": TRIALS_ONLY}

    def seen(**rules: Any) -> str:
        return compare(said, theirs(**rules), SUBJECTS, at=AT)[0].seen

    assert len({seen(), seen(default=DISABLED), seen(products={"VISIO": ENABLED})}) == 3
    assert seen() == seen(categories={"Project": DISABLED})


values = st.sampled_from([ENABLED, TRIALS_ONLY, DISABLED])
own = st.dictionaries(st.sampled_from(["VISIO", "FORMER", "APPS"]), values)
categories = st.dictionaries(st.sampled_from(["Visio", "Power Platform"]), values)
rules_of_somebody = st.builds(
    Rules,
    default=values,
    new_products=st.sampled_from(["", ENABLED, DISABLED, ASK]),
    new_since=st.just(AT - timedelta(days=5)),
    categories=categories,
    products=own,
)
limits_of_somebody = st.builds(
    Limits, st.just("EUR"), st.one_of(st.none(), st.builds(Limit, st.integers(0, 2), st.just("purchase")))
)
templates = st.fixed_dictionaries(
    {},
    optional={
        DEFAULT: values,
        NEW_PRODUCTS: st.sampled_from(["", ENABLED, ASK]),
        "category:Visio": st.one_of(st.just(""), values),
        "product:VISIO": st.one_of(st.just(""), values),
        "product:APPS": st.one_of(st.just(""), values),
        "offer:SaaS": st.sampled_from([ENABLED, DISABLED]),
        CAP: st.sampled_from([limit(""), limit("purchase", EUR=1), limit("purchase", USD=1)]),
    },
)


def applied(found: Theirs, lines: list[Line]) -> Theirs:
    """The policy with what differs set as the template says."""
    said = {line.name: line.wanted for line in lines}
    products = dict(found.rules.products)
    for line in lines:
        if line.subject:
            for key in line.subject.keys:
                products.pop(key, None)
            products |= {line.key: line.wanted} if line.wanted else {}
    limits = Limits("EUR", said[CAP]) if CAP in said else found.limits
    offers = {kind: said.get(f"offer:{kind}", value) for kind, value in found.offers.items()}
    return replace(
        found,
        rules=replace(rules_with(said, found.rules, AT), products=products),
        offers=offers,
        limits=limits,
    )


@settings(deadline=None)
@given(templates, rules_of_somebody, limits_of_somebody)
def test_a_policy_of_which_every_difference_is_taken_away_has_none_left(
    said: dict[str, Any], rules: Rules, limits: Limits
) -> None:
    found = Theirs(rules, OFFERS, limits, "EUR")

    then = applied(found, [line for line in compare(said, found, SUBJECTS, at=AT) if line.differs])

    assert differing(said, then) == []
    for subject in SUBJECTS:
        wanted = said.get(f"product:{subject.keys[0]}")
        holds = effective(then.rules, subject)
        assert not wanted or (holds.value == wanted and not holds.is_undecided)


@settings(deadline=None)
@given(rules_of_somebody, limits_of_somebody)
def test_nobody_differs_from_a_template_made_of_the_own_policy(rules: Rules, limits: Limits) -> None:
    found = Theirs(rules, OFFERS, limits, "EUR")
    copied = said_by(found, SUBJECTS)

    assert [name for name in differing(copied, found) if not name.startswith("product:")] == []
