"""Importing products or prices from a CSV file: a dry run, and then exactly what it showed (docs/operator-catalogue.md)."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.catalogue_files import (
    PLANS,
    BadLine,
    PriceLine,
    PricesFile,
    ProductLine,
    ProductsFile,
    read_file,
)
from commerce.models import Market, Plan, Price, Product, ProductAlias
from commerce.operations.catalogue_rows import catalogue_of, price_entry, price_facts, product_entry
from commerce.operations.prices import FARTHEST, too_small
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.money import format_money
from directory.models import AuditEntry
from directory.operations.audit import record_all

type What = Literal["added", "changed", "same", "refused"]

_FIELDS = ("name", "slug", "category", "self_service", "trial_without_card", "sku_id", "sku_part_number")


class ImportMoved(Conflict):
    """The catalogue is not what it was when the dry run was shown."""

    code = "import_moved"
    message = gettext_lazy(
        "The catalogue changed since you saw this. Nothing was imported. Look at what it would do now."
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import does with one line, and in words why or from what to what."""

    line: int
    what: What
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import does, line by line in the order of the file."""

    kind: Literal["products", "prices"]
    outcomes: tuple[Outcome, ...]

    @property
    def counts(self) -> Counter[What]:
        return Counter(outcome.what for outcome in self.outcomes)

    @property
    def changes(self) -> int:
        return self.counts["added"] + self.counts["changed"]

    @property
    def digest(self) -> str:
        """The same for the same outcomes, said in the same words."""
        said = [(each.line, each.what, each.subject, each.detail) for each in self.outcomes]
        return hashlib.sha256(repr((self.kind, said)).encode()).hexdigest()


def plan_import(*, staff: Actor, content: bytes, begins_at: datetime | None, at: datetime) -> ImportPlan:
    """What an import of the file would do; changes nothing. Prices begin at `begins_at`.

    :raises NotVisible: not of the staff. :raises Unreadable: the file is of no use.
    :raises Malformed: a prices file, and no later day on which the prices begin.
    """
    file = read_file(content)
    with catalogue_of(staff):
        return _planned(file, begins_at, at)[0]


def run_import(
    *, staff: Actor, content: bytes, begins_at: datetime | None, seen: str, at: datetime
) -> ImportPlan:
    """Import the file as its dry run showed it: `seen` is the digest of that. What was refused is left out.

    :raises NotVisible: not of the staff. :raises Unreadable, Malformed: as `plan_import`.
    :raises ImportMoved: it would not do what was shown.
    """
    file = read_file(content)
    with catalogue_of(staff):
        plan, rows = _planned(file, begins_at, at)
        if plan.digest != seen:
            raise ImportMoved
        entries = (
            _write_products(staff, rows, at) if plan.kind == "products" else _write_prices(staff, rows, at)
        )
        record_all(entries)
    return plan


def _planned(
    file: ProductsFile | PricesFile, begins_at: datetime | None, at: datetime
) -> tuple[ImportPlan, list[Any]]:
    """The plan, and the rows to be written: for products (line, row or None), for prices (row, former facts or None)."""
    if isinstance(file, ProductsFile):
        outcomes, rows = _plan_products(file.lines)
        return ImportPlan("products", _in_order(outcomes, file.bad)), rows
    if begins_at is None or not at < begins_at <= at + FARTHEST:
        raise Malformed(_("Choose the later day on which these prices begin."), field="begins_on")
    outcomes, prices = _plan_prices(file.lines, begins_at, at)
    return ImportPlan("prices", _in_order(outcomes, file.bad)), prices


def _in_order(outcomes: list[Outcome], bad: Sequence[BadLine]) -> tuple[Outcome, ...]:
    refused = [Outcome(each.line, "refused", each.text, str(each.problem)) for each in bad]
    return tuple(sorted([*outcomes, *refused], key=lambda each: each.line))


# --- Products ---------------------------------------------------------------------------------------------


def _plan_products(
    lines: Sequence[ProductLine],
) -> tuple[list[Outcome], list[tuple[ProductLine, Product | None]]]:
    """Three queries."""
    products = list(Product.objects.all())
    by_key = {product.key: product for product in products}
    slugs = {product.slug: product.key for product in products}
    skus = {product.sku_id: product.key for product in products}
    aliases = dict(ProductAlias.objects.values_list("former_key", "product__key"))
    outcomes: list[Outcome] = []
    rows: list[tuple[ProductLine, Product | None]] = []
    for line in lines:
        subject = f"{line.key} {line.name}"
        why = _why_not(line, by_key, slugs, skus, aliases)
        if why:
            outcomes.append(Outcome(line.line, "refused", subject, why))
            continue
        known = by_key.get(line.key)
        new_id = line.former_key and line.former_key not in aliases
        detail = _differences(line, known) + ([_("former id %s") % line.former_key] if new_id else [])
        if known is not None and not detail:
            outcomes.append(Outcome(line.line, "same", subject))
            continue
        outcomes.append(Outcome(line.line, "changed" if known else "added", subject, "; ".join(detail)))
        rows.append((line, known))
    return outcomes, rows


def _why_not(
    line: ProductLine,
    by_key: dict[str, Product],
    slugs: dict[str, str],
    skus: dict[Any, str],
    aliases: dict[str, str],
) -> str:
    if line.key in aliases:
        return _("This is a former id of %s; use the current one.") % aliases[line.key]
    if slugs.get(line.slug, line.key) != line.key:
        return _("The slug is that of %s.") % slugs[line.slug]
    if skus.get(line.sku_id, line.key) != line.key:
        return _("The SKU id is that of %s.") % skus[line.sku_id]
    if line.former_key in by_key:
        return _("The former id is the current one of another product.")
    if line.former_key and aliases.get(line.former_key, line.key) != line.key:
        return _("The former id is that of %s.") % aliases[line.former_key]
    return ""


def _differences(line: ProductLine, known: Product | None) -> list[str]:
    if known is None:
        return [line.category, _("self-service") if line.self_service else _("central only")]
    return [
        f"{name.replace('_', ' ')}: {getattr(known, name)} \u2192 {getattr(line, name)}"
        for name in _FIELDS
        if getattr(known, name) != getattr(line, name)
    ]


def _write_products(
    staff: Actor, rows: list[tuple[ProductLine, Product | None]], at: datetime
) -> list[AuditEntry]:
    added = [Product(key=line.key, added_at=at, **_values(line)) for line, known in rows if known is None]
    made = {product.key: product for product in Product.objects.bulk_create(added)}
    Plan.objects.bulk_create(
        Plan(product=product, term_months=term, billing_months=billing)
        for product in made.values()
        for term, billing in PLANS.values()
    )
    changed, entries = [], []
    for line, known in rows:
        after = _values(line) | {"sku_id": str(line.sku_id), "former_id": line.former_key}
        if known is None:
            entries.append(product_entry(staff, "added", made[line.key], at, after=after))
            continue
        before = {name: str(getattr(known, name)) for name in _FIELDS}
        for name, value in _values(line).items():
            setattr(known, name, value)
        changed.append(known)
        entries.append(product_entry(staff, "changed", known, at, before=before, after=after))
    if changed:
        Product.objects.bulk_update(changed, _FIELDS)
    ProductAlias.objects.bulk_create(
        [
            ProductAlias(former_key=line.former_key, product=known or made[line.key])
            for line, known in rows
            if line.former_key
        ],
        ignore_conflicts=True,
    )
    return entries


def _values(line: ProductLine) -> dict[str, Any]:
    said = asdict(line)
    return {name: said[name] for name in _FIELDS}


# --- Prices -----------------------------------------------------------------------------------------------


def _plan_prices(
    lines: Sequence[PriceLine], begins_at: datetime, at: datetime
) -> tuple[list[Outcome], list[tuple[Price, dict[str, Any] | None]]]:
    """Five queries."""
    markets = Market.objects.in_bulk()
    products = {product.key: product for product in Product.objects.all()}
    for alias in ProductAlias.objects.select_related("product"):
        products.setdefault(alias.former_key, alias.product)
    plans = {
        (p.product_id, (p.term_months, p.billing_months)): p for p in Plan.objects.select_related("product")
    }
    earlier = _prices_until(begins_at)
    outcomes: list[Outcome] = []
    rows: list[tuple[Price, dict[str, Any] | None]] = []
    done: set[tuple[int, str]] = set()
    for line in lines:
        product, market = products.get(line.product_key), markets.get(line.market)
        plan = plans.get((product.pk, line.terms)) if product else None
        subject = f"{product.name if product else line.product_key}, {plan or line.terms}, {line.market}"
        why = _why_no_price(line, product, market, plan)
        if not why and plan and (plan.pk, line.market) in done:
            why = _("Another line above is about the same.")
        if why or plan is None or market is None:
            outcomes.append(Outcome(line.line, "refused", subject, why))
            continue
        done.add((plan.pk, line.market))
        last = earlier.get((plan.pk, line.market))
        shown = format_money(line.unit_price_minor, line.currency, "en")
        if last is not None and last.unit_price_minor == line.unit_price_minor:
            outcomes.append(Outcome(line.line, "same", subject, shown))
            continue
        before = format_money(last.unit_price_minor, last.currency, "en") if last else ""
        detail = f"{before} \u2192 {shown}" if before else shown
        if last is not None and last.valid_from == begins_at:
            last.plan = plan
            facts = price_facts(last)
            last.unit_price_minor, last.published_at = line.unit_price_minor, at
            outcomes.append(Outcome(line.line, "changed", subject, detail))
            rows.append((last, facts))
            continue
        outcomes.append(Outcome(line.line, "added", subject, detail))
        price = Price(
            plan=plan,
            market=market,
            currency=line.currency,
            unit_price_minor=line.unit_price_minor,
            valid_from=begins_at,
            published_at=at,
        )
        rows.append((price, None))
    return outcomes, rows


def _prices_until(begins_at: datetime) -> dict[tuple[int, str], Price]:
    """Of each plan and market the price that holds at that instant, as things stand. One query."""
    rows = Price.objects.filter(valid_from__lte=begins_at).order_by("plan_id", "market_id", "-valid_from")
    return {(price.plan_id, price.market_id): price for price in rows.distinct("plan_id", "market_id")}


def _why_no_price(line: PriceLine, product: Product | None, market: Market | None, plan: Plan | None) -> str:
    if product is None:
        return _("There is no such product.")
    if market is None:
        return _("There is no such market.")
    if market.currency != line.currency:
        return _("The market's currency is %s.") % market.currency
    if plan is None:
        return _("The product has no such plan.")
    return str(too_small(product, line.unit_price_minor, line.currency) or "")


def _write_prices(
    staff: Actor, rows: list[tuple[Price, dict[str, Any] | None]], at: datetime
) -> list[AuditEntry]:
    Price.objects.bulk_create([price for price, before in rows if before is None])
    changed = [price for price, before in rows if before is not None]
    if changed:
        Price.objects.bulk_update(changed, ["unit_price_minor", "published_at"])
    return [
        price_entry(
            staff, "changed" if before else "added", price, at, before=before, after=price_facts(price)
        )
        for price, before in rows
    ]
