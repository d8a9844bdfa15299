"""What is made up, chosen and worked out in temporary tables: `STEPS`, in their order.

Places count from 1 within their tenant or offer; the parameters are those of `seed_customers`.
"""

from commerce.periods import DAYS_LATER_SQL, INSTANT_SQL


def _instant(anchor: str, months: str, zone: str) -> str:
    return INSTANT_SQL.format(anchor=anchor, months=months, zone=zone)


def _days_later(instant: str, days: str) -> str:
    return DAYS_LATER_SQL.format(instant=instant, days=days, zone="d.time_zone")


def _temporary(name: str, query: str) -> str:
    return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}; ANALYZE {name}"


_TENANTS = """
SELECT n AS place, nextval('directory_tenant_id_seq') AS id, nextval('commerce_billto_id_seq') AS bill_to_id,
       nextval('commerce_agreement_id_seq') AS agreement_id,
       CASE WHEN n = 1 THEN 'Scale' ELSE 'Tenant ' || lpad(n::text, greatest(4, length(n::text)), '0') END AS name,
       m.code AS market, c.time_zone, m.currency, m.tax_name, m.tax_rate, m.vendor_entity_id, e.bill_series,
       (%(at)s AT TIME ZONE c.time_zone)::date AS today,
       CASE WHEN n = 1 THEN greatest(%(large)s / 10, %(people)s) ELSE %(people)s END AS people
  FROM generate_series(1, %(tenants)s) n
  JOIN unnest(%(countries)s::text[], %(zones)s::text[]) WITH ORDINALITY AS c(country, time_zone, place)
    ON c.place = 1 + (n - 1) %% cardinality(%(countries)s::text[])
  JOIN commerce_market m ON m.code = c.country
  JOIN commerce_vendorentity e ON e.id = m.vendor_entity_id
"""

# The first of each tenant is its global admin.
_PEOPLE = """
WITH dice AS MATERIALIZED (
    SELECT t.id AS tenant_id, t.place AS tenant_place, n AS place, nextval('directory_user_id_seq') AS id,
           1 + floor(random() * cardinality(%(first)s::text[]))::int AS first,
           1 + floor(random() * cardinality(%(last)s::text[]))::int AS last,
           n > 1 AND random() < 0.03 AS has_left
      FROM seed_tenant t CROSS JOIN LATERAL generate_series(1, t.people) n
)
SELECT tenant_id, tenant_place, place, id, gen_random_uuid() AS key, has_left,
       (%(first)s::text[])[first] || ' ' || (%(last)s::text[])[last] || ' ' || id %% 1000 AS name,
       (%(folded_first)s::text[])[first] || ' ' || (%(folded_last)s::text[])[last] || ' ' || id %% 1000 AS sort_name,
       (%(folded_first)s::text[])[first] || '.' || (%(folded_last)s::text[])[last] || '.' || id
       || '@tenant-' || tenant_id || '.example' AS email
  FROM dice
"""

# What is sold in each country that is used: plans whose term is one billing period, at their price of the day.
_OFFERS = """
SELECT price.market_id AS market, plan.billing_months AS months, plan.id AS plan_id, plan.product_id,
       product.name AS product, folded.name AS product_sort, product.expired_days, product.disabled_days,
       price.unit_price_minor AS unit, round(price.unit_price_minor * 0.82)::bigint AS agreed,
       row_number() OVER (PARTITION BY price.market_id, plan.billing_months ORDER BY plan.id) AS place
  FROM commerce_plan plan
  JOIN commerce_product product ON product.id = plan.product_id AND product.self_service
  JOIN unnest(%(products)s::bigint[], %(folded_products)s::text[]) AS folded(id, name) ON folded.id = product.id
  JOIN (SELECT DISTINCT ON (plan_id, market_id) plan_id, market_id, unit_price_minor
          FROM commerce_price WHERE valid_from <= %(at)s AND market_id = ANY (%(countries)s::text[])
         ORDER BY plan_id, market_id, valid_from DESC) price ON price.plan_id = plan.id
 WHERE plan.term_months = plan.billing_months
"""

_PERIOD_STARTS = _instant("d.anchor", "d.period_index * d.months", "d.time_zone")
_PERIOD_ENDS = _instant("d.anchor", "(d.period_index + 1) * d.months", "d.time_zone")
_DISABLED_FROM = _days_later("d.period_end", "d.expired_days")
_DELETED_FROM = _days_later(_DISABLED_FROM, "d.disabled_days")

# Which tenant, person and offer each subscription is of, by their places. The choices are made row by row, before
# any join, so that PostgreSQL neither makes one for all nor another for each comparison. A person has one trial of a
# product; what would be another is bought.
_WISHES = """
WITH dice AS MATERIALIZED (
    SELECT CASE WHEN n <= %(large)s THEN 1
                ELSE 2 + (n - %(large)s - 1) %% greatest(%(tenants)s - 1, 1) END AS tenant_place,
           random() AS channel, random() AS state, CASE WHEN random() < 0.5 THEN 1 ELSE 12 END AS months, random() AS person, random() AS offer,
           random() AS seats, random() AS day, random() AS failed, random() AS renews, NULL::date AS due_day
      FROM generate_series(1, %(subscriptions)s) n
     UNION ALL
    SELECT 1 + (n::bigint * 7919) %% %(tenants)s, 0, 0, due_months, random(), random(), random(), 0, 1, 1, due_day
      FROM unnest(%(due)s::int[], %(due_months)s::int[], %(due_days)s::date[]) AS cohort(size, due_months, due_day)
     CROSS JOIN LATERAL generate_series(1, size) n
), kinds AS (
    SELECT d.*,
           CASE WHEN channel < 0.72 THEN 'self-service' WHEN channel < 0.95 THEN 'central' ELSE 'trial' END AS bought,
           CASE WHEN state < 0.87 OR channel >= 0.95 THEN 'active' WHEN state < 0.92 THEN 'expired'
                WHEN state < 0.96 THEN 'disabled' ELSE 'deleted' END AS is_now,
           CASE WHEN channel < 0.95 THEN months ELSE 1 END AS period
      FROM dice d
), placed AS (
    SELECT k.tenant_place, k.bought, k.is_now AS state, k.period AS months, k.day, k.due_day,
           CASE WHEN k.bought = 'central' THEN 1 ELSE 1 + floor(k.person * t.people)::int END AS person_place,
           1 + floor(k.offer * o.offers)::int AS offer_place,
           (ARRAY[1, 1, 1, 2, 3, 5, 8, 10, 25, 100])[1 + floor(k.seats * 10)::int] AS quantity,
           k.is_now = 'active' AND k.bought = 'self-service' AND k.period = 1 AND k.failed < 0.02 AS has_failed,
           k.is_now = 'active' AND k.renews >= 0.08 AS renews
      FROM kinds k
      JOIN seed_tenant t ON t.place = k.tenant_place
      JOIN (SELECT market, months, count(*) AS offers FROM seed_offer GROUP BY 1, 2) o
        ON o.market = t.market AND o.months = k.period
)
SELECT p.*, CASE WHEN bought = 'trial' AND row_number() OVER (
                          PARTITION BY bought, tenant_place, person_place, offer_place) > 1
                 THEN 'self-service' ELSE bought END AS channel
  FROM placed p
"""

# Ended ones ended so long ago that they are in their state now, with some days left of it; running ones began so
# lately that some days are left of the period. Clamping a month's end moves either by three days at most.
_ROWS = f"""
SELECT d.*, nextval('commerce_subscription_id_seq') AS id, gen_random_uuid() AS key,
       nextval('commerce_order_id_seq') AS order_id, gen_random_uuid() AS order_key,
       {_instant("d.anchor", "0", "d.time_zone")} AS starts,
       CASE WHEN state <> 'active' THEN period_end END AS expired_at,
       CASE WHEN state IN ('disabled', 'deleted') THEN {_DISABLED_FROM} END AS disabled_at,
       CASE WHEN state = 'deleted' THEN {_DELETED_FROM} END AS deleted_at,
       CASE state WHEN 'active' THEN period_end WHEN 'expired' THEN {_DISABLED_FROM} WHEN 'disabled' THEN {_DELETED_FROM}
       END AS due_at
  FROM (
    SELECT d.*, {_PERIOD_STARTS} AS period_start, {_PERIOD_ENDS} AS period_end
      FROM (
        SELECT w.channel, w.state, w.months, w.quantity, w.has_failed, w.renews, w.has_failed::int AS period_index,
               t.id AS tenant_id, t.time_zone, t.market, t.vendor_entity_id, t.bill_series, t.currency, t.tax_name,
               t.tax_rate, t.bill_to_id, CASE WHEN w.channel = 'central' THEN t.agreement_id END AS agreement_id,
               p.id AS purchaser_id, p.name AS purchaser_name, p.sort_name AS purchaser_sort, p.email,
               o.plan_id, o.product_id, o.product, o.product_sort, o.expired_days, o.disabled_days,
               CASE WHEN w.channel = 'central' THEN o.agreed ELSE o.unit END AS unit,
               CASE WHEN w.due_day IS NOT NULL THEN w.due_day - make_interval(months => w.months)
                    WHEN w.state = 'active'
                    THEN t.today - floor(w.day * 25)::int - make_interval(months => w.has_failed::int)
                    ELSE t.today - 1 - make_interval(months => w.months) - make_interval(days => CASE w.state
                             WHEN 'expired' THEN floor(w.day * (o.expired_days - 5))::int
                             WHEN 'disabled' THEN o.expired_days + floor(w.day * (o.disabled_days - 5))::int
                             ELSE o.expired_days + o.disabled_days + floor(w.day * 90)::int END)
               END::date AS anchor
          FROM seed_wish w
          JOIN seed_tenant t ON t.place = w.tenant_place
          JOIN seed_person p ON p.tenant_place = w.tenant_place AND p.place = w.person_place
          JOIN seed_offer o ON o.market = t.market AND o.months = w.months AND o.place = w.offer_place
      ) d
  ) d
"""  # noqa: S608

_BILLS = f"""
SELECT b.*, row_number() OVER (PARTITION BY vendor_entity_id, series_year ORDER BY starts, id) AS place
  FROM (
    SELECT nextval('commerce_bill_id_seq') AS id, d.id AS subscription_id, d.vendor_entity_id, n AS period,
           period.starts, period.ends,
           d.quantity * d.unit AS subtotal, round(d.quantity * d.unit * d.tax_rate / 100)::bigint AS tax,
           extract(year FROM period.starts AT TIME ZONE 'UTC')::int AS series_year,
           d.has_failed AND n = 1 AS has_failed,
           d.channel <> 'central' AND NOT (d.has_failed AND n = 1)
           OR d.channel = 'central' AND period.starts < %(at)s - interval '15 days' AS is_paid
      FROM seed_row d
     CROSS JOIN LATERAL generate_series(0, d.period_index) n
     CROSS JOIN LATERAL (SELECT {_instant("d.anchor", "n * d.months", "d.time_zone")} AS starts,
                                {_instant("d.anchor", "(n + 1) * d.months", "d.time_zone")} AS ends) period
     WHERE d.channel <> 'trial'
  ) b
"""  # noqa: S608

STEPS: tuple[str, ...] = (
    _temporary("seed_tenant", _TENANTS),
    _temporary("seed_person", _PEOPLE),
    _temporary("seed_offer", _OFFERS),
    _temporary("seed_wish", _WISHES),
    _temporary("seed_row", _ROWS),
    _temporary("seed_bill", _BILLS),
)
