"""The form of the purchase policy: its fields, what was chosen in them, and the changes that these are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from commerce.queries.policy import Row, Table
from commerce.views.policy_wording import label_of
from config.kit.actors import Actor
from config.kit.errors import Malformed, Text
from policies import rule
from policies.models import NewProducts, PolicyValue
from policies.operations import policies as operations
from policies.operations.policies import Change
from policies.queries.policies import offer_type_values
from policies.rule import Rules


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the form: its name there, what is stored, what can be chosen, and what is but is not saved yet."""

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, Text]]
    draft: str | None = None

    @property
    def id(self) -> str:
        return self.name.replace(":", "-").replace(" ", "-")

    @property
    def shown(self) -> str:
        return str(dict(self.options).get(self.value, ""))

    @property
    def selected(self) -> str:
        return self.value if self.draft is None else self.draft


@dataclass(frozen=True, slots=True)
class Chosen:
    """One field with another value than is stored."""

    field: Field
    value: str

    @property
    def shown(self) -> str:
        return str(dict(self.field.options)[self.value])


def fields_of(actor: Actor, table: Table) -> dict[str, Field]:
    """Every value of the form by its name."""
    rules = table.policy.rules
    values = list(PolicyValue.choices)
    fields = [
        Field("default", _("Every product"), rules.default, values),
        Field(
            "new_products",
            _("Products that are new in the catalogue"),
            rules.new_products,
            [("", _("As every product")), *NewProducts.choices],
        ),
        *(
            Field(
                f"category:{name}", name, rules.categories.get(name, ""), [("", _("As inherited")), *values]
            )
            for name in table.categories
        ),
        *(
            Field(f"product:{row.product.key}", row.product.name, row.own, _options_of(row))
            for row in table.rows
        ),
        *(
            Field(
                f"offer:{kind}",
                str(kind.label),
                value,
                [each for each in values if each[0] != rule.TRIALS_ONLY],
            )
            for kind, value in offer_type_values(actor=actor).items()
        ),
    ]
    return {field.name: field for field in fields}


def _options_of(row: Row) -> list[tuple[str, Text]]:
    """As inherited, or one of the three; trials only where the product has such a trial, or it is set already."""
    has_trial = row.product.trial_without_card or row.own == rule.TRIALS_ONLY
    return [
        ("", _("As inherited: %(value)s") % {"value": label_of(row.inherited)}),
        *(each for each in PolicyValue.choices if has_trial or each[0] != rule.TRIALS_ONLY),
    ]


def with_drafts(fields: dict[str, Field], params: QueryDict) -> dict[str, Field]:
    """The fields with what was chosen and is not saved yet; what cannot be chosen is passed over."""
    given = params.dict()
    return {
        name: replace(field, draft=str(given[name])) if given.get(name) in dict(field.options) else field
        for name, field in fields.items()
    }


def chosen_of(request: HttpRequest, fields: dict[str, Field]) -> list[Chosen]:
    """What was posted and differs from what is stored.

    :raises Malformed: a value that cannot be chosen.
    """
    chosen = []
    for name, field in fields.items():
        value = request.POST.get(name, field.value)
        if value not in dict(field.options):
            raise Malformed(_("That is no value of this policy."), field=name)
        if value != field.value:
            chosen.append(Chosen(field, value))
    return chosen


def rules_with(table: Table, chosen: Sequence[Chosen], at: datetime) -> Rules:
    """The rules as they would be."""
    rules = table.policy.rules
    categories, products = dict(rules.categories), dict(rules.products)
    keys = {row.product.key: row.subject.keys for row in table.rows}
    for each in chosen:
        kind, _colon, key = each.field.name.partition(":")
        if kind == "default":
            rules = replace(rules, default=each.value)
        elif kind == "new_products":
            rules = replace(rules, new_products=each.value, new_since=rules.new_since or at)
        elif kind == "category":
            categories.pop(key, None)
            categories |= {key: each.value} if each.value else {}
        elif kind == "product":
            for former in keys[key]:
                products.pop(former, None)
            products |= {key: each.value} if each.value else {}
    return replace(rules, categories=categories, products=products)


def change_of(chosen: Chosen, table: Table, was: str | None) -> Change:
    """The change of one field; `was`: the value that the page showed.

    :raises Malformed: the page did not say it.
    """
    if was is None:
        raise Malformed(_("Look at the changes again before saving."), field=chosen.field.name)
    kind, _colon, key = chosen.field.name.partition(":")
    value, seen = chosen.value or None, {"value": was or None}
    match kind:
        case "default":
            return operations.default_for_all(chosen.value, seen=seen)
        case "new_products":
            return operations.new_products(chosen.value, seen={"value": was})
        case "category":
            return operations.of_category(key, value, seen=seen)
        case "offer":
            return operations.of_offer_type(key, chosen.value, seen=seen)
    row = next(row for row in table.rows if row.product.key == key)
    return operations.of_product(row.subject.keys, value, name=row.product.name, seen=seen)
