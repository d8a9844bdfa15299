"""What a template asks for, and where a customer's policy differs from it (product §12; docs/adr/0046).

Pure. A template says something of some targets and leaves all else to the customer. What it says goes by name:
`default`, `new_products`, `category:<name>`, `product:<key>`, `offer:<type>`, `cap`, `threshold`. A value is one of the
policy's, empty for nothing of its own; a limit is {"basis": ..., "amounts": {currency: minor units}}, with an empty basis
for no limit.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from policies.rule import Effective, Rules, Subject, effective, own_value
from policies.spending import Limit, Limits

DEFAULT, NEW_PRODUCTS, CAP, THRESHOLD = "default", "new_products", "cap", "threshold"
CATEGORY, PRODUCT, OFFER = "category:", "product:", "offer:"
LIMITS = (CAP, THRESHOLD)

type Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Theirs:
    """A customer's policy, as far as a template can speak of it. `offers`: the value of each offer type; `currency`: that
    of the customer, in which limits are made.
    """

    rules: Rules
    offers: Mapping[str, str]
    limits: Limits
    currency: str


@dataclass(frozen=True, slots=True)
class Line:
    """One target of a template beside a customer's policy.

    `wanted` and `stored` are values, or limits, None for no limit. `holds`: of a product, what holds there without groups.
    `is_silent`: the template has no amount in the customer's currency, so there is nothing to compare.
    """

    name: str
    wanted: Any
    stored: Any
    differs: bool
    holds: Effective | None = None
    subject: Subject | None = None
    is_silent: bool = False

    @property
    def key(self) -> str:
        """The category, product or offer type."""
        return self.name.partition(":")[2]

    @property
    def seen(self) -> str:
        """What a page shows of theirs, to be compared with what holds when it is changed."""
        stored = [self.stored.minor, self.stored.basis] if isinstance(self.stored, Limit) else self.stored
        holds = [self.holds.value, self.holds.is_undecided] if self.holds else None
        return json.dumps([stored, holds])


def current(said: Said, subjects: Sequence[Subject]) -> dict[str, Any]:
    """What a template says of what there is now, in the order of `compare`: products by their current keys, without those
    that the catalogue no longer has.
    """
    order = [DEFAULT, NEW_PRODUCTS, *sorted(name for name in said if name.startswith(CATEGORY))]
    kept = {name: said[name] for name in order if name in said}
    for subject in subjects:
        found = next((PRODUCT + key for key in subject.keys if PRODUCT + key in said), "")
        kept |= {PRODUCT + subject.keys[0]: said[found]} if found else {}
    rest = [name for name in said if name.startswith(OFFER)] + list(LIMITS)
    return kept | {name: said[name] for name in rest if name in said}


def compare(said: Said, theirs: Theirs, subjects: Sequence[Subject], *, at: datetime) -> list[Line]:
    """Every target of a template as `current` gives it, in one order: default, new products, categories by name, products
    as given, offer types, limits.

    A product differs where another value holds than the template's, or would hold once the template's default,
    rule for new products and categories do: so a policy of which every difference is taken away has none left.
    """
    return [
        *_tenant_lines(said, theirs),
        *_product_lines(said, theirs, subjects, at),
        *_other_lines(said, theirs),
    ]


def _tenant_lines(said: Said, theirs: Theirs) -> Iterator[Line]:
    rules = theirs.rules
    stored = {DEFAULT: rules.default, NEW_PRODUCTS: rules.new_products}
    for name in (*stored, *sorted(name for name in said if name.startswith(CATEGORY))):
        if name in said:
            found = stored.get(name, rules.categories.get(name.removeprefix(CATEGORY), ""))
            yield Line(name, said[name], found, differs=found != said[name])


def _product_lines(said: Said, theirs: Theirs, subjects: Sequence[Subject], at: datetime) -> Iterator[Line]:
    then = rules_with(said, theirs.rules, at)
    for subject in subjects:
        wanted = said.get(PRODUCT + subject.keys[0])
        if wanted is None:
            continue
        own, holds = own_value(theirs.rules, subject), effective(theirs.rules, subject)
        if wanted:
            differs = any(
                found.value != wanted or found.is_undecided for found in (holds, effective(then, subject))
            )
        else:
            differs = own != ""
        yield Line(PRODUCT + subject.keys[0], wanted, own, differs, holds, subject)


def _other_lines(said: Said, theirs: Theirs) -> Iterator[Line]:
    for kind, value in theirs.offers.items():
        if OFFER + kind in said:
            yield Line(OFFER + kind, said[OFFER + kind], value, differs=value != said[OFFER + kind])
    for name, stored in ((CAP, theirs.limits.cap), (THRESHOLD, theirs.limits.threshold)):
        if name in said:
            yield _limit_line(name, said[name], stored, theirs)


def _limit_line(name: str, asked: Mapping[str, Any], stored: Limit | None, theirs: Theirs) -> Line:
    if not asked["basis"]:
        return Line(name, None, stored, differs=stored is not None)
    minor = asked["amounts"].get(theirs.currency)
    if minor is None:
        return Line(name, None, stored, differs=False, is_silent=True)
    wanted = Limit(minor, asked["basis"])
    is_other_money = stored is not None and theirs.limits.currency != theirs.currency
    return Line(name, wanted, stored, differs=stored != wanted or is_other_money)


def rules_with(said: Said, rules: Rules, at: datetime) -> Rules:
    """The rules once what the template says above the products holds, too."""
    categories = dict(rules.categories)
    for name, value in said.items():
        if name.startswith(CATEGORY):
            categories.pop(name.removeprefix(CATEGORY), None)
            categories |= {name.removeprefix(CATEGORY): value} if value else {}
    new_products = said.get(NEW_PRODUCTS, rules.new_products)
    return replace(
        rules,
        default=said.get(DEFAULT, rules.default),
        new_products=new_products,
        new_since=(rules.new_since or at) if new_products else None,
        categories=categories,
    )


def said_by(theirs: Theirs, subjects: Sequence[Subject]) -> dict[str, Any]:
    """A template of all that a customer has said: its defaults, every value of its own, its offer types and limits."""
    rules = theirs.rules
    own = {PRODUCT + subject.keys[0]: own_value(rules, subject) for subject in subjects}
    return {
        DEFAULT: rules.default,
        NEW_PRODUCTS: rules.new_products,
        **{CATEGORY + name: value for name, value in sorted(rules.categories.items())},
        **{name: value for name, value in own.items() if value},
        **{OFFER + kind: value for kind, value in theirs.offers.items()},
        CAP: _said_limit(theirs.limits.cap, theirs.limits.currency),
        THRESHOLD: _said_limit(theirs.limits.threshold, theirs.limits.currency),
    }


def _said_limit(limit: Limit | None, currency: str) -> dict[str, Any]:
    if limit is None:
        return {"basis": "", "amounts": {}}
    return {"basis": limit.basis, "amounts": {currency: limit.minor}}
