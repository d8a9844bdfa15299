"""Bills made for N due subscriptions, against the same rows written to the same tables by one bare statement.

    python -m benchmarks.renewals --due 200000 --scale 1000000

`ratio`: the bare statement's cost to ours, for N due at once, every key and index in place. `ratio_scale`: our
cost each with 10,000 due to that with `--scale` due. Before the big one, five rounds at a tenth of N alternate
with the reference and show the spread; the control is the reference to itself.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.db import connections  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from commerce.operations.catalogue import load_catalogue  # noqa: E402
from commerce.operations.renewals import renew_due  # noqa: E402
from commerce.periods import INSTANT_SQL  # noqa: E402
from config.kit.tenancy import use_login  # noqa: E402

TENANTS = 2_000
SMALL = 10_000
SMALL_TIMES = 3
# Cohort k was bought on this day + k, by the month; so a month later one cohort falls due a day.
FIRST_DAY = date(2026, 1, 1)
MOST_COHORTS = 28


@dataclass(frozen=True, slots=True)
class Cohort:
    """Subscriptions that fall due on one day, and on no other until all have been measured."""

    number: int
    size: int

    @property
    def at(self) -> datetime:
        """Well after the local midnights of the day on which it falls due, well before the next."""
        day = datetime(FIRST_DAY.year, FIRST_DAY.month + 1, FIRST_DAY.day, 6, tzinfo=UTC)
        return day + timedelta(days=self.number)


class Cohorts:
    """Deals out cohorts in the order in which they fall due; they are written all at once."""

    def __init__(self) -> None:
        self.dealt: list[Cohort] = []

    def deal(self, size: int, times: int = 1) -> Iterator[Cohort]:
        cohorts = [Cohort(len(self.dealt) + number, size) for number in range(times)]
        self.dealt += cohorts
        assert len(self.dealt) <= MOST_COHORTS
        return iter(cohorts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renewals", description=__doc__)
    parser.add_argument(
        "--due", type=int, default=200_000, help="subscriptions due at once (default %(default)s)"
    )
    parser.add_argument(
        "--scale", type=int, default=1_000_000, help="due at once for ratio_scale (default %(default)s)"
    )
    options = parser.parse_args()
    tenth = max(options.due // 10, 1)

    cohorts = Cohorts()
    for_rounds = cohorts.deal(tenth, 3 * ROUNDS)
    for_big = cohorts.deal(options.due, 3)
    for_small = cohorts.deal(SMALL, SMALL_TIMES)
    for_scale = cohorts.deal(options.scale)
    for_small_again = cohorts.deal(SMALL, SMALL_TIMES)

    began = time.perf_counter()
    seed(cohorts.dealt)
    total = sum(cohort.size for cohort in cohorts.dealt)
    print(f"{total:,} subscriptions written in {time.perf_counter() - began:,.0f} s", flush=True)

    rounds = pairs(lambda: ours(next(for_rounds)), lambda: reference(next(for_rounds)))
    report(f"{tenth:,} due", rounds)
    big = pairs(lambda: ours(next(for_big)), lambda: reference(next(for_big)), rounds=1)
    ratio = report(f"{options.due:,} due", big)

    small = [ours(cohort) for cohort in for_small]
    large = ours(next(for_scale))
    small += [ours(cohort) for cohort in for_small_again]
    ratio_scale = median(small) / large
    print(
        f"scale: {1e6 * median(small):,.0f} us each of {SMALL:,} due"
        f" ({1e6 * min(small):,.0f} to {1e6 * max(small):,.0f}), {1e6 * large:,.0f} us each of {options.scale:,}"
    )
    print_figures(ratio=ratio, ratio_scale=ratio_scale)


def ours(cohort: Cohort) -> float:
    """Seconds for one bill, by the sweep as it runs in production."""
    began = time.perf_counter()
    swept = renew_due(at=cohort.at)
    cost = time.perf_counter() - began
    assert (swept.moved, swept.parked, swept.busy) == (cohort.size, 0, 0), swept
    return cost / cohort.size


def reference(cohort: Cohort) -> float:
    """Seconds for one bill, by one statement that finds every value of every row ready in a table."""
    worker, owner = connections["worker"], connections["owner"]
    with owner.cursor() as cursor:
        cursor.execute("TRUNCATE bench_ready")
        cursor.execute(_READY, {"at": cohort.at})
        cursor.execute("ANALYZE bench_ready")
    with worker.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(_BARE)
        cost = time.perf_counter() - began
        assert cursor.fetchone()[0] == cohort.size
    return cost / cohort.size


def seed(cohorts: list[Cohort]) -> None:
    """Tenants with one buyer each, and every cohort's subscriptions with order, line and paid first bill."""
    with use_login("owner"):
        load_catalogue()
    owner = connections["owner"]
    with owner.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_TENANTS, {"tenants": TENANTS})
        for cohort in cohorts:
            cursor.execute(
                _SUBSCRIPTIONS,
                {
                    "size": cohort.size,
                    "tenants": TENANTS,
                    "anchor": FIRST_DAY + timedelta(days=cohort.number),
                    "before": sum(each.size for each in cohorts[: cohort.number]),
                },
            )
        cursor.execute(_SERIES)
        cursor.execute(_READY_TABLE)
        cursor.execute("SET synchronous_commit = on")
        cursor.execute("VACUUM ANALYZE")
    with connections["worker"].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")


_TENANTS = """
WITH made AS (
    INSERT INTO directory_tenant
           (key, name, kind, standing, is_managed, creates_members, country, time_zone, currency, language, created_at)
    SELECT gen_random_uuid(), 'Tenant ' || n, 'commercial', 'good', true, true,
           (ARRAY['NL', 'DE'])[1 + n %% 2], (ARRAY['Europe/Amsterdam', 'Europe/Berlin'])[1 + n %% 2], 'EUR', 'en', now()
      FROM generate_series(1, %(tenants)s) n
    RETURNING id, name
), people AS (
    INSERT INTO directory_user
           (tenant_id, key, kind, status, source, name, sort_name, email, issuer, subject, language, created_at)
    SELECT id, gen_random_uuid(), 'member', 'active', 'cloud', 'Buyer of ' || name, 'buyer of ' || lower(name),
           'buyer@' || id || '.example', 'https://' || id || '.example', 'buyer', 'en', now()
      FROM made
)
INSERT INTO commerce_billto (tenant_id, name, street, postal_code, city, country, vat_number, own_reference, email)
SELECT id, name, 'Keizersgracht 1', '1015 CJ', 'Amsterdam', 'NL', '', '', '' FROM made
"""

_START = INSTANT_SQL.format(anchor="%(anchor)s", months="0", zone="t.time_zone")
_END = INSTANT_SQL.format(anchor="%(anchor)s", months="1", zone="t.time_zone")
_NEXT = INSTANT_SQL.format(anchor="s.anchor_date", months="2", zone="s.time_zone")

_SUBSCRIPTIONS = f"""
WITH tenants AS MATERIALIZED (
    SELECT t.id, t.time_zone, m.code AS market, m.currency, m.tax_name, m.tax_rate, m.vendor_entity_id,
           u.id AS user_id, u.name AS user_name, u.sort_name, b.id AS bill_to_id, e.bill_series,
           row_number() OVER (ORDER BY t.id) AS place
      FROM directory_tenant t JOIN commerce_market m ON m.code = t.country
      JOIN commerce_vendorentity e ON e.id = m.vendor_entity_id
      JOIN directory_user u ON u.tenant_id = t.id JOIN commerce_billto b ON b.tenant_id = t.id
), offers AS MATERIALIZED (
    SELECT p.id, p.product_id, product.name, price.market_id, price.unit_price_minor,
           row_number() OVER (PARTITION BY price.market_id ORDER BY p.id) AS place,
           count(*) OVER (PARTITION BY price.market_id) AS all
      FROM commerce_plan p JOIN commerce_price price ON price.plan_id = p.id
      JOIN commerce_product product ON product.id = p.product_id WHERE p.term_months = 1
), rows AS MATERIALIZED (
    SELECT nextval('commerce_subscription_id_seq') AS id, nextval('commerce_order_id_seq') AS order_id,
           nextval('commerce_bill_id_seq') AS bill_id, t.id AS tenant_id, o.id AS plan_id, o.product_id,
           o.name AS product, o.unit_price_minor AS unit, 1 + n %% 40 AS quantity, n + %(before)s AS number, t.place,
           t.time_zone, t.market, t.currency, t.tax_name, t.tax_rate, t.vendor_entity_id, t.user_id, t.user_name,
           t.sort_name, t.bill_to_id, t.bill_series, {_START} AS starts, {_END} AS ends
      FROM generate_series(1, %(size)s) n
      JOIN tenants t ON t.place = 1 + (n::bigint * 7919) %% %(tenants)s
      JOIN offers o ON o.market_id = t.market AND o.place = 1 + n %% o.all
), subscriptions AS (
    INSERT INTO commerce_subscription
           (id, tenant_id, key, product_id, plan_id, channel, owner_kind, owner_user_id, purchaser_id, bill_to_id,
            product_sort, purchaser_name, purchaser_sort, search_text, quantity, assigned, market_id,
            vendor_entity_id, currency, unit_price_minor, period_price_minor, tax_name, tax_rate, term_months,
            billing_months, time_zone, anchor_date, state, recurring_billing, period_index, period_start, period_end,
            term_end, due_at, activated_at, parked_reason, created_at, version)
    SELECT id, tenant_id, gen_random_uuid(), product_id, plan_id, 'self-service', 'person', user_id, user_id,
           bill_to_id, lower(product), user_name, sort_name, lower(product) || ' ' || sort_name, quantity, 0, market,
           vendor_entity_id, currency, unit, quantity * unit, tax_name, tax_rate, 1, 1, time_zone, %(anchor)s,
           'active', true, 0, starts, ends, ends, ends, starts, '', starts, 0
      FROM rows
), orders AS (
    INSERT INTO commerce_order (id, tenant_id, key, type, placed_at, actor_user_id, actor_label)
    SELECT order_id, tenant_id, gen_random_uuid(), 'purchase', starts, user_id, user_name FROM rows
), order_lines AS (
    INSERT INTO commerce_orderline
           (tenant_id, order_id, subscription_id, quantity, currency, unit_price_minor, amount_minor)
    SELECT tenant_id, order_id, id, quantity, currency, unit, quantity * unit FROM rows
), bills AS (
    INSERT INTO commerce_bill
           (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id, bill_to_id,
            payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency, subtotal_minor,
            tax_name, tax_rate, tax_minor, total_minor, paid_minor, paid_at, tries, last_decline)
    SELECT bill_id, tenant_id, bill_series || '-2026-' || lpad(number::text, greatest(6, length(number::text)), '0'),
           vendor_entity_id, 2026, number, order_id, id, bill_to_id, user_id, 'purchase', 'paid', 'card', starts,
           starts, starts, ends, currency, quantity * unit, tax_name, tax_rate,
           round(quantity * unit * tax_rate / 100), quantity * unit + round(quantity * unit * tax_rate / 100),
           quantity * unit + round(quantity * unit * tax_rate / 100), starts, 0, ''
      FROM rows
)
INSERT INTO commerce_billline
       (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
SELECT tenant_id, bill_id, product, quantity, unit, quantity * unit, starts, ends FROM rows
"""

_SERIES = """
INSERT INTO commerce_billseries (vendor_entity_id, year, next_number)
SELECT vendor_entity_id, 2026, max(series_number) + 1 FROM commerce_bill GROUP BY 1
"""

_READY_TABLE = """
CREATE UNLOGGED TABLE bench_ready (
    id bigint, tenant_id bigint, key uuid, label text, bill_id bigint, number text, series_number int,
    vendor_entity_id bigint, order_id bigint, bill_to_id bigint, payer_id bigint, at timestamptz,
    starts timestamptz, ends timestamptz, currency text, quantity int, unit bigint, subtotal bigint, tax_name text,
    tax_rate numeric, tax bigint, facts jsonb, before jsonb, after jsonb
);
GRANT SELECT ON bench_ready TO PUBLIC
"""

# Every value of the rows that the bare statement writes, worked out beforehand and not measured.
_READY = f"""
INSERT INTO bench_ready
SELECT id, tenant_id, key, label, bill_id, number, series_number, vendor_entity_id, order_id, bill_to_id, payer_id,
       at, starts, ends, currency, quantity, unit, quantity * unit, tax_name, tax_rate,
       round(quantity * unit * tax_rate / 100),
       jsonb_build_object('bill', number, 'period', 1, 'period_start', starts, 'period_end', ends,
                          'quantity', quantity, 'unit_price_minor', unit, 'currency', currency),
       jsonb_build_object('period_end', starts, 'unit_price_minor', unit),
       jsonb_build_object('period_end', ends, 'unit_price_minor', unit, 'bill', number)
  FROM (
    SELECT s.id, s.tenant_id, s.key, p.name AS label, nextval('commerce_bill_id_seq') AS bill_id,
           series.next_number + row_number() OVER (ORDER BY s.due_at, s.id) - 1 AS series_number,
           e.bill_series || '-2026-' || lpad(
               (series.next_number + row_number() OVER (ORDER BY s.due_at, s.id) - 1)::text, 7, '0') AS number,
           s.vendor_entity_id, l.order_id, s.bill_to_id, s.owner_user_id AS payer_id, %(at)s AS at,
           s.period_end AS starts, {_NEXT} AS ends, s.currency, s.quantity, s.unit_price_minor AS unit, s.tax_name,
           s.tax_rate
      FROM commerce_subscription s
      JOIN commerce_product p ON p.id = s.product_id
      JOIN commerce_orderline l ON l.subscription_id = s.id
      JOIN commerce_vendorentity e ON e.id = s.vendor_entity_id
      JOIN commerce_billseries series ON series.vendor_entity_id = e.id AND series.year = 2026
     WHERE s.due_at <= %(at)s
     ORDER BY s.due_at, s.id
  ) due
"""

_BARE = """
WITH bills AS (
    INSERT INTO commerce_bill
           (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id,
            bill_to_id, payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency,
            subtotal_minor, tax_name, tax_rate, tax_minor, total_minor, paid_minor, charge_due_at, tries,
            last_decline)
    SELECT bill_id, tenant_id, number, vendor_entity_id, 2026, series_number, order_id, id, bill_to_id, payer_id,
           'renewal', 'open', 'card', at, at, starts, ends, currency, subtotal, tax_name, tax_rate, tax,
           subtotal + tax, 0, at, 0, ''
      FROM bench_ready
), lines AS (
    INSERT INTO commerce_billline
           (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
    SELECT tenant_id, bill_id, label, quantity, unit, subtotal, starts, ends FROM bench_ready
), advanced AS (
    UPDATE commerce_subscription s
       SET period_index = 1, period_start = r.starts, period_end = r.ends, term_end = r.ends, due_at = r.ends,
           unit_price_minor = r.unit, period_price_minor = r.subtotal, version = s.version + 1
      FROM bench_ready r WHERE s.id = r.id
), history AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, id, at, 'renewed', 'Seatkeeper', facts FROM bench_ready
), audit AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
            correlation_id, target_type, target_id, target_label, before, after)
    SELECT tenant_id, at, 'commerce.subscription.renewed', NULL, tenant_id, 'Seatkeeper', '', 'job',
           '0123456789abcdef0123456789abcdef', 'subscription', key::text, label, before, after
      FROM bench_ready
), counter AS (
    UPDATE commerce_billseries series SET next_number = series.next_number + r.n
      FROM (SELECT vendor_entity_id, count(*) AS n FROM bench_ready GROUP BY 1) r
     WHERE series.vendor_entity_id = r.vendor_entity_id AND series.year = 2026
)
SELECT count(*) FROM bench_ready
"""

if __name__ == "__main__":
    main()
