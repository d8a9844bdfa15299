"""What holds for one product, and where it comes from: one rule for portal, API, command line and checkout.

Pure. From the least to the most specific level: the tenant's default, the rule for products that are new to it, the
product's category, the product. The most specific level that says something wins. A group's rule is an exception at
its own level: there it comes before what holds for everybody, and of several groups the strictest counts
(product §9; docs/policy.md; docs/adr/0019).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ENABLED, TRIALS_ONLY, DISABLED = "Enabled", "OnlyTrialsWithoutPaymentMethod", "Disabled"
# Of the rule for new products alone: not allowed until an admin decides. On the wire it is `DISABLED`.
ASK = "Ask"

STRICTNESS = {ENABLED: 0, TRIALS_ONLY: 1, DISABLED: 2}

type Level = Literal["tenant", "category", "product"]
type Origin = Literal["default", "new_products", "category", "product"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A product as the rule sees it. `keys`: the current key first, former ones after it."""

    keys: Sequence[str]
    category: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class GroupValue:
    """What holds for one group at one level; `key` is the category or the product, empty for the tenant."""

    level: Level
    key: str
    group: str
    value: str


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a tenant has said; built-in where it said nothing. `new_products` empty: new ones are as any other.

    `groups`: of the person who asks; none, and the values are those without groups.
    """

    default: str = ENABLED
    new_products: str = ""
    new_since: datetime | None = None
    categories: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[GroupValue] = ()


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds. `group` names the group whose exception it is; `is_undecided`: an admin is to decide first."""

    value: str
    origin: Origin
    group: str = ""
    is_undecided: bool = False


def effective(rules: Rules, subject: Subject) -> Effective:
    """The value in force for a product, on the wire's three values."""
    exception = _strictest(rules, "product", subject.keys)
    if exception:
        return Effective(exception.value, "product", exception.group)
    own = own_value(rules, subject)
    if own:
        return Effective(own, "product")
    return inherited(rules, subject)


def inherited(rules: Rules, subject: Subject) -> Effective:
    """What would hold if nothing were said of the product itself."""
    exception = _strictest(rules, "category", (subject.category,))
    if exception:
        return Effective(exception.value, "category", exception.group)
    if subject.category in rules.categories:
        return Effective(rules.categories[subject.category], "category")
    if is_new(rules, subject):
        is_undecided = rules.new_products == ASK
        return Effective(
            DISABLED if is_undecided else rules.new_products, "new_products", is_undecided=is_undecided
        )
    exception = _strictest(rules, "tenant", ("",))
    if exception:
        return Effective(exception.value, "default", exception.group)
    return Effective(rules.default, "default")


def own_value(rules: Rules, subject: Subject) -> str:
    """What was said of the product itself: of its current key, else of a former one; empty when nothing was."""
    return next((rules.products[key] for key in subject.keys if key in rules.products), "")


def is_new(rules: Rules, subject: Subject) -> bool:
    """Whether the rule for new products holds for it: it came into the catalogue after the rule was made."""
    return bool(rules.new_products and rules.new_since is not None and subject.added_at > rules.new_since)


def strictest(values: Iterable[str]) -> str:
    """The one of several values that allows the least."""
    return max(values, key=STRICTNESS.__getitem__)


def _strictest(rules: Rules, level: Level, keys: Sequence[str]) -> GroupValue | None:
    """The exception that counts at one level. Of a product's keys the first of which anything is said."""
    for key in keys:
        found = [one for one in rules.groups if (one.level, one.key) == (level, key)]
        if found:
            return max(found, key=lambda one: STRICTNESS[one.value])
    return None
