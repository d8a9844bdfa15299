"""Made-up customers by the thousand, for benchmarks and for trying a large installation.

Everything is worked out in temporary tables and written by one statement per table, whole: each subscription
with order, bill, payment, history and audit as the operations would have left them, so that no invariant breaks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.models import Product
from commerce.periods import DAYS_LATER_SQL, INSTANT_SQL
from config.kit.errors import Malformed, NotAllowed
from config.kit.loading import analyze, indexes_put_aside
from config.kit.tenancy import connection
from directory.models.people import fold

FIRST_NAMES = [
    "Anna", "Bram", "Carla", "Daan", "Eva", "Femke", "Gijs", "Hanna", "Iris", "Jan", "Kees", "Lotte",
    "Maud", "Noor", "Otto", "Pien", "Quinn", "Roos", "Sara", "Tess", "Umar", "Vera", "Wout", "Xena",
    "Yara", "Zoë",
]  # fmt: skip
LAST_NAMES = [
    "Alders", "Bakker", "Claes", "Dijkstra", "Evers", "Faber", "Groot", "Hendriks", "IJzer", "Jansen",
    "Kuiper", "Linders", "Mulder", "Nijhof", "Otten", "Postma", "Quist", "Rademaker", "Smit", "Timmer",
    "Udo", "Visser", "Wolters", "Xhofleer", "Yilmaz", "Zijlstra",
]  # fmt: skip
ZONES = {
    "NL": "Europe/Amsterdam",
    "DE": "Europe/Berlin",
    "GB": "Europe/London",
    "US": "America/New_York",
}

# A subscription that falls due by the month is bought on the same day of the month before: not every month has more.
LAST_DAY = 28
PEOPLE = 40

LARGE_TABLES = (
    "directory_user",
    "commerce_subscription",
    "commerce_order",
    "commerce_orderline",
    "commerce_bill",
    "commerce_billline",
    "commerce_payment",
    "commerce_subscriptionevent",
    "directory_auditentry",
)
SMALL_TABLES = (
    "directory_tenant",
    "directory_roleassignment",
    "commerce_billto",
    "commerce_agreement",
    "commerce_agreementprice",
    "commerce_billseries",
)


class RealCustomers(NotAllowed):
    """This installation takes real money; made-up customers have no place in it."""

    code = "real_customers"
    message = _("This installation takes real money; made-up customers have no place in it.")


@dataclass(frozen=True, slots=True)
class Due:
    """So many that fall due on one day: bought by card, by the month or the year (12), and renewing."""

    size: int
    months: int = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make up.

    `subscriptions` of every kind and state, `large` of them of the first tenant and the rest spread evenly; and
    beside them `due`, each on one of the coming days.
    """

    tenants: int
    subscriptions: int = 0
    large: int = 0
    due: Sequence[Due] = ()

    def __post_init__(self) -> None:
        sizes = [self.subscriptions, *(due.size for due in self.due)]
        if self.tenants < 1 or sum(sizes) < 1 or min(sizes) < 0:
            raise Malformed("There must be a tenant, and a subscription.")
        if not 0 <= self.large <= self.subscriptions:
            raise Malformed("The large tenant cannot have more subscriptions than there are.")


@dataclass(frozen=True, slots=True)
class Seeded:
    """Who may see the large tenant, and when each of `Wanted.due` has fallen due but nothing of the next."""

    tenant_id: int
    admin_id: int
    admin_key: UUID
    due: list[datetime]


def seed_customers(
    wanted: Wanted, *, at: datetime, seed: int = 1, told: Callable[[str], object] = lambda what: None
) -> Seeded:
    """Write the customers as they are at `at`, in one transaction, or nothing at all.

    Needs the owner's login and a loaded catalogue. Until it is done nobody else reads or writes subscriptions,
    orders, bills or people. `seed` decides the random choices, but not keys; `told` hears of the progress.

    :raises RealCustomers: the installation takes real money.
    :raises Malformed: more days fall due than lie before the next purchases of the month.
    """
    if settings.STRIPE_LIVEMODE:
        raise RealCustomers
    due_days = _due_days(at, len(wanted.due))
    with indexes_put_aside(*LARGE_TABLES), connection().cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute("SELECT setseed(%s)", [1 / (1 + seed)])
        products = {product.pk: fold(product.name) for product in Product.objects.all()}
        parameters: dict[str, Any] = {
            "at": at,
            "tenants": wanted.tenants,
            "subscriptions": wanted.subscriptions,
            "large": wanted.large if wanted.tenants > 1 else wanted.subscriptions,
            "due": [due.size for due in wanted.due],
            "due_months": [due.months for due in wanted.due],
            "due_days": [day.date() for day in due_days],
            "countries": list(ZONES),
            "zones": list(ZONES.values()),
            "people": PEOPLE,
            "first": FIRST_NAMES,
            "last": LAST_NAMES,
            "folded_first": [fold(name) for name in FIRST_NAMES],
            "folded_last": [fold(name) for name in LAST_NAMES],
            "products": list(products),
            "folded_products": list(products.values()),
        }
        for what, statement in _STEPS:
            cursor.execute(statement, parameters)
            if what:
                told(f"{max(cursor.rowcount, 0):,} {what}")
        cursor.execute(_ADMIN)
        tenant_id, admin_id, admin_key = cursor.fetchone()
        told("indexes and keys")
    analyze(*SMALL_TABLES, *LARGE_TABLES)
    return Seeded(tenant_id, admin_id, admin_key, due_days)


def _due_days(at: datetime, count: int) -> list[datetime]:
    """Noon in UTC, when it is day in every zone that is used, of the next days that every month has."""
    noon = at.replace(hour=12, minute=0, second=0, microsecond=0)
    coming = (noon + timedelta(days=number) for number in range(1, count + 5))
    days = [day for day in coming if day.day <= LAST_DAY][:count]
    if days and days[-1] > noon + timedelta(days=LAST_DAY - 1):
        raise Malformed("So many days do not lie within one month.")
    return days


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
# any join, so that PostgreSQL neither makes one for all nor another for each comparison.
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
    SELECT d.*, CASE WHEN channel < 0.72 THEN 'self-service' WHEN channel < 0.95 THEN 'central' ELSE 'trial' END AS bought,
           CASE WHEN state < 0.87 OR channel >= 0.95 THEN 'active' WHEN state < 0.92 THEN 'expired'
                WHEN state < 0.96 THEN 'disabled' ELSE 'deleted' END AS is_now,
           CASE WHEN channel < 0.95 THEN months ELSE 1 END AS period
      FROM dice d
)
SELECT k.tenant_place, k.bought AS channel, k.is_now AS state, k.period AS months, k.day, k.due_day,
       CASE WHEN k.bought = 'central' THEN 1 ELSE 1 + floor(k.person * t.people)::int END AS person_place,
       1 + floor(k.offer * o.offers)::int AS offer_place,
       (ARRAY[1, 1, 1, 2, 3, 5, 8, 10, 25, 100])[1 + floor(k.seats * 10)::int] AS quantity,
       k.is_now = 'active' AND k.bought = 'self-service' AND k.period = 1 AND k.failed < 0.02 AS has_failed,
       k.is_now = 'active' AND k.renews >= 0.08 AS renews
  FROM kinds k
  JOIN seed_tenant t ON t.place = k.tenant_place
  JOIN (SELECT market, months, count(*) AS offers FROM seed_offer GROUP BY 1, 2) o
    ON o.market = t.market AND o.months = k.period
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

_WRITE_TENANTS = """
INSERT INTO directory_tenant
       (id, key, name, kind, standing, is_managed, creates_members, country, time_zone, currency, language, created_at)
SELECT id, gen_random_uuid(), name, 'commercial', 'good', true, true, market, time_zone, currency, 'en',
       %(at)s - interval '2 years'
  FROM seed_tenant ORDER BY id
"""

_WRITE_PEOPLE = """
INSERT INTO directory_user
       (id, tenant_id, key, kind, status, source, name, sort_name, email, issuer, subject, language, purchaser_since,
        created_at, disabled_at)
SELECT p.id, p.tenant_id, p.key, 'member', CASE WHEN p.has_left THEN 'disabled' ELSE 'active' END, 'cloud', p.name,
       p.sort_name, p.email, 'https://issuer-' || p.tenant_id || '.example', p.id::text, '', bought.since,
       %(at)s - interval '2 years', CASE WHEN p.has_left THEN %(at)s END
  FROM seed_person p
  LEFT JOIN (SELECT purchaser_id, min(starts) AS since FROM seed_row WHERE channel <> 'central' GROUP BY 1) bought
         ON bought.purchaser_id = p.id
 ORDER BY p.id
"""

_WRITE_ADMINS = """
INSERT INTO directory_roleassignment (tenant_id, user_id, role, granted_at, granted_by)
SELECT tenant_id, id, 'global_admin', %(at)s - interval '2 years', 'seed_scale' FROM seed_person WHERE place = 1
"""

_WRITE_ADDRESSES = """
INSERT INTO commerce_billto
       (id, tenant_id, name, street, postal_code, city, country, vat_number, own_reference, email)
SELECT bill_to_id, id, name, 'Street 1', '', 'City', market, '', '', '' FROM seed_tenant ORDER BY id
"""

_WRITE_AGREEMENTS = """
WITH agreements AS (
    INSERT INTO commerce_agreement (id, tenant_id, name, payment_days)
    SELECT agreement_id, id, 'Framework agreement', 30 FROM seed_tenant ORDER BY id
    RETURNING id, tenant_id
)
INSERT INTO commerce_agreementprice (tenant_id, agreement_id, plan_id, currency, unit_price_minor)
SELECT a.tenant_id, a.id, o.plan_id, t.currency, o.agreed
  FROM agreements a JOIN seed_tenant t ON t.agreement_id = a.id JOIN seed_offer o ON o.market = t.market
"""

_WRITE_SUBSCRIPTIONS = """
INSERT INTO commerce_subscription
       (id, tenant_id, key, product_id, plan_id, channel, owner_kind, owner_user_id, purchaser_id, agreement_id,
        bill_to_id, product_sort, purchaser_name, purchaser_sort, search_text, quantity, assigned, market_id,
        vendor_entity_id, currency, unit_price_minor, period_price_minor, tax_name, tax_rate, term_months,
        billing_months, time_zone, anchor_date, state, recurring_billing, period_index, period_start, period_end,
        term_end, due_at, activated_at, expired_at, disabled_at, deleted_at, payment_failed_at, parked_reason,
        created_at, version)
SELECT id, tenant_id, key, product_id, plan_id, channel,
       CASE WHEN channel = 'central' THEN 'organization' ELSE 'person' END,
       CASE WHEN channel <> 'central' THEN purchaser_id END, purchaser_id, agreement_id,
       bill_to_id, product_sort, purchaser_name, purchaser_sort, product_sort || ' ' || purchaser_sort || ' ' || email,
       quantity, 0, market, vendor_entity_id, currency, unit, quantity * unit, tax_name, tax_rate, months,
       months, time_zone, anchor, state, renews, period_index, period_start, period_end,
       period_end, due_at, starts, expired_at, disabled_at, deleted_at, CASE WHEN has_failed THEN period_start END, '',
       starts, 0
  FROM seed_row ORDER BY id
"""

_WRITE_ORDERS = """
INSERT INTO commerce_order (id, tenant_id, key, type, placed_at, actor_user_id, actor_label)
SELECT order_id, tenant_id, order_key, CASE WHEN channel = 'central' THEN 'central_purchase' ELSE 'purchase' END,
       starts, purchaser_id, purchaser_name
  FROM seed_row WHERE channel <> 'trial' ORDER BY order_id
"""

_WRITE_ORDER_LINES = """
INSERT INTO commerce_orderline
       (tenant_id, order_id, subscription_id, quantity, currency, unit_price_minor, amount_minor)
SELECT tenant_id, order_id, id, quantity, currency, unit, quantity * unit
  FROM seed_row WHERE channel <> 'trial' ORDER BY order_id
"""

# The counters' rows stay locked from here to the commit; numbers go on where each series stood.
_WRITE_SERIES = """
INSERT INTO commerce_billseries AS series (vendor_entity_id, year, next_number)
SELECT vendor_entity_id, series_year, 1 + count(*) FROM seed_bill GROUP BY 1, 2
ON CONFLICT (vendor_entity_id, year) DO UPDATE SET next_number = series.next_number + excluded.next_number - 1
"""

_WRITE_BILLS = """
WITH series AS (
    SELECT s.vendor_entity_id, s.year, s.next_number - count(*) AS first
      FROM seed_bill b
      JOIN commerce_billseries s ON s.vendor_entity_id = b.vendor_entity_id AND s.year = b.series_year
     GROUP BY s.id
)
INSERT INTO commerce_bill
       (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id, bill_to_id,
        payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency, subtotal_minor,
        tax_name, tax_rate, tax_minor, total_minor, paid_minor, paid_at, tries, last_decline)
SELECT b.id, d.tenant_id,
       d.bill_series || '-' || b.series_year || '-' || lpad(number::text, greatest(6, length(number::text)), '0'),
       b.vendor_entity_id, b.series_year, number, d.order_id, d.id, d.bill_to_id,
       CASE WHEN d.channel <> 'central' THEN d.purchaser_id END,
       CASE b.period WHEN 0 THEN 'purchase' ELSE 'renewal' END, CASE WHEN b.is_paid THEN 'paid' ELSE 'open' END,
       CASE WHEN d.channel = 'central' THEN 'on_account' ELSE 'card' END,
       b.starts, CASE WHEN d.channel = 'central' THEN b.starts + interval '30 days' ELSE b.starts END,
       b.starts, b.ends, d.currency, b.subtotal, d.tax_name, d.tax_rate, b.tax, b.subtotal + b.tax,
       CASE WHEN b.is_paid THEN b.subtotal + b.tax ELSE 0 END, CASE WHEN b.is_paid THEN b.starts END,
       b.has_failed::int, CASE WHEN b.has_failed THEN 'generic_decline' ELSE '' END
  FROM seed_bill b
  JOIN seed_row d ON d.id = b.subscription_id
  JOIN series ON series.vendor_entity_id = b.vendor_entity_id AND series.year = b.series_year
 CROSS JOIN LATERAL (SELECT series.first + b.place - 1 AS number) numbered
 ORDER BY b.id
"""

_WRITE_BILL_LINES = """
INSERT INTO commerce_billline
       (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
SELECT d.tenant_id, b.id, d.product, d.quantity, d.unit, b.subtotal, b.starts, b.ends
  FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id ORDER BY b.id
"""

_WRITE_PAYMENTS = """
INSERT INTO commerce_payment (tenant_id, bill_id, amount_minor, currency, received_at, processor_charge_id)
SELECT d.tenant_id, b.id, b.subtotal + b.tax, d.currency, b.starts,
       CASE WHEN d.channel = 'central' THEN '' ELSE 'ch_made_up_' || b.id END
  FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id
 WHERE b.is_paid AND b.subtotal + b.tax > 0 ORDER BY b.id
"""

_WRITE_HISTORY = """
WITH steps AS MATERIALIZED (
    SELECT tenant_id, id, key, product, starts AS at, 'purchased' AS code, purchaser_id AS actor_id,
           purchaser_name AS actor, 'web' AS door,
           jsonb_build_object('order', order_key, 'quantity', quantity, 'unit_price_minor', unit,
                              'currency', currency) AS facts,
           NULL::jsonb AS before,
           jsonb_build_object('channel', channel, 'quantity', quantity, 'unit_price_minor', unit) AS after
      FROM seed_row WHERE channel <> 'trial'
     UNION ALL
    SELECT d.tenant_id, d.id, d.key, d.product, b.starts, step.code, NULL, 'Seatkeeper', 'job',
           jsonb_build_object('period', b.period, 'period_start', b.starts, 'period_end', b.ends),
           NULL, jsonb_build_object('period_end', b.ends)
      FROM seed_bill b JOIN seed_row d ON d.id = b.subscription_id
      JOIN (VALUES ('renewed', false), ('payment_failed', true)) step(code, is_failure)
        ON b.has_failed OR NOT step.is_failure
     WHERE b.period > 0
     UNION ALL
    SELECT d.tenant_id, d.id, d.key, d.product, step.at, step.code, NULL, 'Seatkeeper', 'job',
           jsonb_build_object('since', step.at, 'until', step.until), jsonb_build_object('state', step.was),
           jsonb_build_object('state', step.code)
      FROM seed_row d
     CROSS JOIN LATERAL (VALUES ('active', 'expired', d.expired_at, coalesce(d.disabled_at, d.due_at)),
                                ('expired', 'disabled', d.disabled_at, coalesce(d.deleted_at, d.due_at)),
                                ('disabled', 'deleted', d.deleted_at, NULL)) step(was, code, at, until)
     WHERE step.at IS NOT NULL
), history AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, id, at, code, actor, facts FROM steps ORDER BY at, id
)
INSERT INTO directory_auditentry
       (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
        target_type, target_id, target_label, before, after)
SELECT tenant_id, at, 'commerce.subscription.' || code, actor_id, tenant_id, actor, '', door, 'seed_scale',
       'subscription', key::text, left(product, 200), before, after
  FROM steps ORDER BY at, id
"""

_ADMIN = "SELECT tenant_id, id, key FROM seed_person WHERE tenant_place = 1 AND place = 1"

_STEPS: tuple[tuple[str, str], ...] = (
    ("", _temporary("seed_tenant", _TENANTS)),
    ("", _temporary("seed_person", _PEOPLE)),
    ("", _temporary("seed_offer", _OFFERS)),
    ("", _temporary("seed_wish", _WISHES)),
    ("", _temporary("seed_row", _ROWS)),
    ("", _temporary("seed_bill", _BILLS)),
    ("tenants", _WRITE_TENANTS),
    ("people", _WRITE_PEOPLE),
    ("", _WRITE_ADMINS),
    ("", _WRITE_ADDRESSES),
    ("", _WRITE_AGREEMENTS),
    ("subscriptions", _WRITE_SUBSCRIPTIONS),
    ("", _WRITE_ORDERS),
    ("orders", _WRITE_ORDER_LINES),
    ("", _WRITE_SERIES),
    ("", _WRITE_BILLS),
    ("bills", _WRITE_BILL_LINES),
    ("payments", _WRITE_PAYMENTS),
    ("steps of history", _WRITE_HISTORY),
)
