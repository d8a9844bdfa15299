"""SCIM filters as conditions of the database (RFC 7644 §3.4.2.2).

Text without case is folded by the database on both sides, so that it agrees with itself whatever its collation.
Empty text stands for an attribute that is not there.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any, Final, override

from django.db.models import Expression, F, Q, Value
from django.db.models.functions import Lower
from django.db.models.lookups import (
    Contains,
    EndsWith,
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
    StartsWith,
)
from scim2_models import InvalidFilterException, Resource, ScimFilter
from scim2_models.path import (
    AttributeBinding,
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)

LONGEST: Final = 2_000
MOST_TERMS: Final = 50
NOTHING: Final = Q(pk__in=[])
_LOOKUPS: Final[Mapping[str, Any]] = {
    "eq": Exact,
    "co": Contains,
    "sw": StartsWith,
    "ew": EndsWith,
    "gt": GreaterThan,
    "ge": GreaterThanOrEqual,
    "lt": LessThan,
    "le": LessThanOrEqual,
}

# One attribute: the condition that it compares so with a value, and that it is there. The name of the operator, then
# the value as the schema types it.
type Compare = Callable[[str, Any], Q]


class Attribute:
    """How one attribute is compared."""

    def __init__(self, compare: Compare, present: Q) -> None:
        self.compare, self.present = compare, present


def text(expression: str | Expression, *, exact: bool = False) -> Attribute:
    """A column of text; `exact`: with its case."""
    column = F(expression) if isinstance(expression, str) else expression
    folded = column if exact else Lower(column)
    present = ~Q(Exact(column, Value("")))

    def compare(op: str, value: Any) -> Q:
        if value is None:
            return ~present
        wanted = Value(str(value))
        matches = Q(_LOOKUPS[op](folded, wanted if exact else Lower(wanted)))
        return matches if op == "eq" else matches & present

    return Attribute(compare, present)


def key(column: str) -> Attribute:
    """A public key; what is no key equals none."""

    def compare(op: str, value: Any) -> Q:
        if op != "eq":
            raise InvalidFilterException(detail="Ids are compared with eq and ne alone.")
        try:
            return Q(**{column: uuid.UUID(str(value))})
        except ValueError:
            return NOTHING

    return Attribute(compare, Q())


def constant(value: str, present: Q = Q()) -> Attribute:  # noqa: B008
    """What is the same for everybody who has it."""

    def compare(op: str, wanted: Any) -> Q:
        if wanted is None:
            return ~present if present else NOTHING
        mine, other = value.lower(), str(wanted).lower()
        holds = {
            "eq": mine == other,
            "co": other in mine,
            "sw": mine.startswith(other),
            "ew": mine.endswith(other),
        }.get(op)
        if holds is None:
            raise InvalidFilterException(detail=f"{op} cannot be asked of this attribute.")
        return present if holds else NOTHING

    return Attribute(compare, present)


def truth(is_true: Q) -> Attribute:
    """A boolean that is always there."""
    return Attribute(lambda op, value: is_true if value else ~is_true, Q())


def instant(expression: str | Expression) -> Attribute:
    """A column of instants."""
    column = F(expression) if isinstance(expression, str) else expression

    def compare(op: str, value: Any) -> Q:
        if not isinstance(value, datetime) or op not in ("eq", "gt", "ge", "lt", "le"):
            raise InvalidFilterException(detail="An instant is compared with an instant.")
        return Q(_LOOKUPS[op](column, Value(value)))

    return Attribute(compare, Q())


# Attributes by field and sub-field.
type Attributes = Mapping[tuple[str, str | None], Attribute]


def condition(
    expression: str, model: type[Resource[Any]], attributes: Attributes, *, single: frozenset[str]
) -> Q:
    """The rows that a filter asks for; `single` are the lists that never hold more than one entry here.

    :raises InvalidFilterException: it is too long, or asks what cannot be asked.
    """
    if len(expression) > LONGEST:
        raise InvalidFilterException(detail=f"A filter has at most {LONGEST} signs.")
    bound = ScimFilter[model](expression)  # type: ignore[valid-type]
    return _Conditions(bound, attributes, single).visit(bound.ast)


class _Conditions(FilterVisitor[Q]):
    """An attribute that the resource does not have matches nothing (RFC 7644 §3.4.2.1)."""

    def __init__(self, bound: ScimFilter[Any], attributes: Attributes, single: frozenset[str]) -> None:
        self.bound, self.attributes, self.single = bound, attributes, single
        self.terms = 0

    @override
    def visit(self, node: FilterNode) -> Q:
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise InvalidFilterException(detail=f"A filter has at most {MOST_TERMS} terms.")
        return super().visit(node)

    @override
    def visit_comparison(self, node: Comparison) -> Q:
        binding = self.bound.resolve_comparison(node.attr_path, strict=False)
        if binding is None:
            return NOTHING
        attribute = self._attribute(binding)
        value = coerce_value(binding, node.value, node.op)
        if isinstance(value, str):
            _check(value)
        if node.op == CompareOperator.ne:
            return ~attribute.compare("eq", value)
        return attribute.compare(node.op.value, value)

    @override
    def visit_present(self, node: Present) -> Q:
        binding = self.bound.resolve_comparison(node.attr_path, strict=False)
        return NOTHING if binding is None else self._attribute(binding).present

    @override
    def visit_not(self, node: Not) -> Q:
        return ~self.visit(node.expr)

    @override
    def visit_logical_expr(self, node: LogicalExpr) -> Q:
        terms = [self.visit(term) for term in node.terms]
        return reduce(and_ if node.op == LogicalOperator.and_ else or_, terms)

    @override
    def visit_value_path(self, node: ValuePath) -> Q:
        """One entry that meets all of the filter: where there is one at most, the filter of the whole attribute."""
        binding = self.bound.resolve(node.attr_path, strict=False)
        if binding is None:
            return NOTHING
        is_single = binding.field_name in self.single
        inner = self.visit(_within(node.val_filter, node.attr_path.attr, is_single=is_single))
        present = self.attributes.get((binding.field_name, "value"))
        return inner & present.present if present else inner

    def _attribute(self, binding: AttributeBinding) -> Attribute:
        found = self.attributes.get((binding.field_name, binding.sub_field_name))
        if found is None:
            raise InvalidFilterException(detail=f"{binding.urn} cannot be filtered.")
        return found


def _within(node: FilterNode, attribute: str, *, is_single: bool) -> FilterNode:
    """The filter of a selection, with the names that it has outside of it.

    :raises InvalidFilterException: it says what an entry is not, of a list of many.
    """
    match node:
        case Comparison(attr_path=path, op=op) if is_single or op != CompareOperator.ne:
            return replace(node, attr_path=AttrPath(attribute, path.attr))
        case Present(attr_path=path):
            return replace(node, attr_path=AttrPath(attribute, path.attr))
        case LogicalExpr(terms=terms):
            inner = tuple(_within(term, attribute, is_single=is_single) for term in terms)
            return replace(node, terms=inner)
        case Not(expr=inner) if is_single:
            return Not(_within(inner, attribute, is_single=True))
    raise InvalidFilterException(detail=f"{attribute} cannot be asked for what an entry of it is not.")


def _check(value: str) -> None:
    """:raises InvalidFilterException: the database cannot hold such a text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFilterException(detail="The filter holds a sign that is none.") from None
    if "\0" in value:
        raise InvalidFilterException(detail="The filter holds a NUL.")
