"""Bills made for N due subscriptions, against the same rows written to the same tables by one bare statement.

    python -m benchmarks.renewals --due 200000 --scale 1000000

`ratio`: the bare statement's cost to ours for N due at once, every key and index in place; the same N fall due by
the month, and the two sides take turns. `ratio_scale`: our cost each with 10,000 due to that with `--scale` due.
"""

import argparse
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.db import connections  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.renewals import renew_due  # noqa: E402
from commerce.operations.seeding import Due, Wanted, seed_customers  # noqa: E402
from commerce.periods import INSTANT_SQL  # noqa: E402
from config.kit.tenancy import use_login  # noqa: E402

# Early in January, so that all rounds lie within one year and its bill series.
SEEDED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SMALL_TIMES = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renewals", description=__doc__)
    parser.add_argument(
        "--due", type=int, default=200_000, help="subscriptions due at once (default %(default)s)"
    )
    parser.add_argument(
        "--scale", type=int, default=1_000_000, help="due at once for ratio_scale (default %(default)s)"
    )
    parser.add_argument(
        "--small", type=int, default=10_000, help="due at once to compare with it (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved pairs (default %(default)s)")
    parser.add_argument("--tenants", type=int, default=2_000, help="of all of them (default %(default)s)")
    options = parser.parse_args()

    few = [Due(options.small, months=12)] * SMALL_TIMES
    due = [*few, Due(options.scale, months=12), *few, Due(options.due)]
    instants = seed(Wanted(tenants=options.tenants, due=due))

    costs = [ours(cohort.size, at) for cohort, at in zip(due[:-1], instants[:-1], strict=True)]
    large = costs.pop(SMALL_TIMES)
    print(
        f"scale: {1e6 * median(costs):,.0f} us each of {options.small:,} due"
        f" ({1e6 * min(costs):,.0f} to {1e6 * max(costs):,.0f}), {1e6 * large:,.0f} us each of {options.scale:,}",
        flush=True,
    )
    months = (instants[-1].replace(month=month) for month in range(1, 13))
    compared = pairs(
        lambda: ours(options.due, next(months)),
        lambda: reference(options.due, next(months)),
        rounds=options.rounds,
    )
    ratio = report(f"{options.due:,} due", compared)
    print_figures(ratio=ratio, ratio_scale=median(costs) / large)


def ours(size: int, at: datetime) -> float:
    """Seconds for one bill, by the sweep as it runs in production."""
    began = time.perf_counter()
    swept = renew_due(at=at)
    cost = time.perf_counter() - began
    assert (swept.moved, swept.parked, swept.busy) == (size, 0, 0), swept
    return cost / size


def reference(size: int, at: datetime) -> float:
    """Seconds for one bill, by one statement that finds every value of every row ready in a table."""
    with connections["worker"].cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_ready")
        cursor.execute(_READY, {"at": at})
        cursor.execute("ANALYZE bench_ready")
        began = time.perf_counter()
        cursor.execute(_BARE)
        cost = time.perf_counter() - began
        assert cursor.fetchone()[0] == size
    return cost / size


def seed(wanted: Wanted) -> Sequence[datetime]:
    """The instants at which each of `wanted.due` is due."""
    began = time.perf_counter()
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
        seeded = seed_customers(wanted, at=SEEDED_AT)
    total = sum(due.size for due in wanted.due)
    print(f"{total:,} subscriptions written in {time.perf_counter() - began:,.0f} s", flush=True)
    with connections["worker"].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        # What the reference reads shall lie in memory.
        cursor.execute("SET temp_buffers = '256MB'")
    return seeded.due


_NEXT = INSTANT_SQL.format(
    anchor="s.anchor_date", months="(s.period_index + 2) * s.billing_months", zone="s.time_zone"
)

# Every value of the rows that the bare statement writes, worked out beforehand and not measured.
_READY = f"""
CREATE TEMPORARY TABLE bench_ready AS
SELECT id, tenant_id, key, label, bill_id, series_number, vendor_entity_id, order_id, bill_to_id, payer_id, year,
       at, n, starts, ends, currency, quantity, unit, quantity * unit AS subtotal, tax_name, tax_rate, number,
       round(quantity * unit * tax_rate / 100)::bigint AS tax,
       jsonb_build_object('bill', number, 'period', n, 'period_start', starts, 'period_end', ends,
                          'quantity', quantity, 'unit_price_minor', unit, 'currency', currency) AS facts,
       jsonb_build_object('period_end', starts, 'unit_price_minor', unit) AS before,
       jsonb_build_object('period_end', ends, 'unit_price_minor', unit, 'bill', number) AS after
  FROM (
    SELECT s.id, s.tenant_id, s.key, p.name AS label, nextval('commerce_bill_id_seq') AS bill_id, series.year,
           place.series_number, s.vendor_entity_id, l.order_id, s.bill_to_id, s.owner_user_id AS payer_id,
           %(at)s AS at, s.period_index + 1 AS n, s.period_end AS starts, {_NEXT} AS ends, s.currency, s.quantity,
           s.unit_price_minor AS unit, s.tax_name, s.tax_rate,
           e.bill_series || '-' || series.year || '-'
           || lpad(place.series_number::text, greatest(6, length(place.series_number::text)), '0') AS number
      FROM (SELECT *, row_number() OVER (PARTITION BY vendor_entity_id ORDER BY due_at, id) - 1 AS place
              FROM commerce_subscription WHERE due_at <= %(at)s AND state = 'active') s
      JOIN commerce_product p ON p.id = s.product_id
      JOIN commerce_orderline l ON l.subscription_id = s.id
      JOIN commerce_vendorentity e ON e.id = s.vendor_entity_id
      JOIN commerce_billseries series
        ON series.vendor_entity_id = e.id AND series.year = extract(year FROM %(at)s AT TIME ZONE 'UTC')
     CROSS JOIN LATERAL (SELECT (series.next_number + s.place)::int AS series_number) place
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
    SELECT bill_id, tenant_id, number, vendor_entity_id, year, series_number, order_id, id, bill_to_id, payer_id,
           'renewal', 'open', 'card', at, at, starts, ends, currency, subtotal, tax_name, tax_rate, tax,
           subtotal + tax, 0, at, 0, ''
      FROM bench_ready
), lines AS (
    INSERT INTO commerce_billline
           (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
    SELECT tenant_id, bill_id, label, quantity, unit, subtotal, starts, ends FROM bench_ready
), advanced AS (
    UPDATE commerce_subscription s
       SET period_index = r.n, period_start = r.starts, period_end = r.ends, term_end = r.ends, due_at = r.ends,
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
      FROM (SELECT vendor_entity_id, year, count(*) AS n FROM bench_ready GROUP BY 1, 2) r
     WHERE series.vendor_entity_id = r.vendor_entity_id AND series.year = r.year
)
SELECT count(*) FROM bench_ready
"""

if __name__ == "__main__":
    main()
