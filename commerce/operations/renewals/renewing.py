"""Starts, renewals and the monthly charges inside a term: bill the next period and move the subscription into it."""

import uuid
from datetime import datetime

from django.conf import settings

from commerce.hooks import Activation, subscription_activated
from commerce.models import Subscription
from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.renewals.batches import NUMBERED_SQL, Batch, Place, Step, Swept, Take, sweep
from commerce.operations.renewals.parking import AUDIT_SQL, HISTORY_SQL
from commerce.operations.renewals.telling import IN_TIME_SQL
from commerce.periods import INSTANT_SQL
from config.kit.actors import Actor
from config.kit.tenancy import connection


def renew_due(*, at: datetime, limit: int | None = None, while_paused: bool = False) -> Swept:
    """Bill every period that has begun by `at`, each once, and advance the subscriptions; in batches of `limit`.

    Inside a term the period costs the term's price, also with recurring billing off (product §5.3). At the end
    of a term, with recurring billing on, a new term begins at the price valid on its day: the list's, unless it
    rose and was published too late to be told in time, which waits for the next one; or for central ones the agreement's, with the number of seats and the plan that were scheduled for it, which makes an
    order of its own. A Scheduled one becomes Active at its start, at the price it was bought at,
    whereupon `commerce.hooks.subscription_activated` is called. Bills are issued at `at` and not charged here.
    What cannot be billed is parked. Nothing while billing is paused, unless `while_paused`.
    """
    if not while_paused and not sweeps_may_run(at=at):
        return Swept()
    return sweep(STEP, at=at, limit=limit or settings.RENEWAL_BATCH)


def _renew(take: Take) -> Batch:
    with connection().cursor() as cursor:
        cursor.execute(_RENEW, take.parameters | {"correlation": uuid.uuid4().hex})
        taken, parked, last_due, last_id, started = cursor.fetchone()
    if started:
        _tell_higher_apps(started, take.at)
    return Batch(taken, parked, Place(last_due, last_id) if taken else None)


def _tell_higher_apps(started: list[int], at: datetime) -> None:
    for subscription in Subscription.objects.select_related("product").filter(pk__in=started):
        actor = Actor.system(subscription.tenant_id)
        subscription_activated(Activation(subscription, actor, at, first_license=False))


STEP = Step(
    # No period begins between the end of an unpaid one and the step that ends access (product §5.6).
    condition=(
        "s.channel <> 'trial' AND (s.state = 'scheduled'"
        " OR (s.state = 'active' AND (s.recurring_billing OR s.due_at < s.term_end)"
        " AND (s.payment_failed_at IS NULL OR NOT EXISTS (SELECT FROM commerce_bill unpaid"
        " WHERE unpaid.subscription_id = s.id AND unpaid.status IN ('open', 'past_due')"
        " AND unpaid.next_dunning_at <= %(at)s))))"
    ),
    make=_renew,
)

# n is the period of the plan that begins; months count from the anchor, over every plan since (I-12).
_BEGUN = "d.offset_months + d.n * d.billing_months"
_STARTS = INSTANT_SQL.format(anchor="d.anchor_date", months=_BEGUN, zone="d.time_zone")
_ENDS = INSTANT_SQL.format(anchor="d.anchor_date", months=f"{_BEGUN} + d.billing_months", zone="d.time_zone")
_TERM_ENDS = INSTANT_SQL.format(
    anchor="d.anchor_date", months=f"{_BEGUN} + d.term_months", zone="d.time_zone"
)

# One statement for a whole batch. The counter of the bill series is moved by it once, by as many numbers as
# there are bills; a statement that fails takes no number with it (I-19). Money: whole minor units, tax rounded
# half up, as `config.kit.money.tax_on` does.
_RENEW = f"""
WITH due AS MATERIALIZED (
    SELECT s.id, s.tenant_id, s.key, s.due_at, s.period_start, s.period_end, s.term_end,
           s.state = 'scheduled' AS is_start,
           CASE s.state WHEN 'scheduled' THEN 0 ELSE s.period_index + 1 END AS n,
           CASE s.state WHEN 'scheduled' THEN s.period_start ELSE s.period_end END AS expected,
           s.anchor_date, s.time_zone, s.offset_months, s.billing_months, s.term_months,
           s.due_at < s.term_end AS in_term, s.quantity, s.next_quantity, s.next_plan_id,
           s.unit_price_minor, s.currency, s.tax_name, s.tax_rate, s.channel, s.owner_kind,
           s.owner_user_id, s.bill_to_id, s.plan_id, s.product_id, s.market_id, s.agreement_id, s.vendor_entity_id
    {STEP.due_sql}
    FOR NO KEY UPDATE OF s SKIP LOCKED
), planned AS (
    SELECT d.id, d.tenant_id, d.key, d.due_at, d.period_start, d.period_end, d.term_end, d.is_start, d.in_term,
           d.expected, d.term_months AS old_term_months,
           d.anchor_date, d.time_zone, d.unit_price_minor, d.currency, d.tax_name, d.tax_rate, d.channel,
           d.owner_kind, d.owner_user_id, d.bill_to_id, d.product_id, d.market_id, d.agreement_id,
           d.vendor_entity_id, d.quantity AS old_quantity, d.plan_id AS old_plan_id,
           CASE WHEN d.in_term THEN d.quantity ELSE coalesce(d.next_quantity, d.quantity) END AS quantity,
           coalesce(plan.id, d.plan_id) AS plan_id,
           coalesce(plan.billing_months, d.billing_months) AS billing_months,
           coalesce(plan.term_months, d.term_months) AS term_months,
           CASE WHEN plan.id IS NULL THEN d.n ELSE 0 END AS n,
           CASE WHEN plan.id IS NULL THEN d.offset_months ELSE d.offset_months + d.n * d.billing_months END
           AS offset_months
      FROM due d LEFT JOIN commerce_plan plan ON plan.id = d.next_plan_id AND NOT d.in_term
), priced AS MATERIALIZED (
    SELECT d.*, {_STARTS} AS starts, {_ENDS} AS ends, product.name AS label, origin.order_id,
           CASE WHEN d.in_term THEN d.term_end ELSE {_TERM_ENDS} END AS new_term_end,
           CASE WHEN d.in_term THEN d.unit_price_minor ELSE coalesce(agreed.unit_price_minor, listed.unit_price_minor)
           END AS unit,
           CASE WHEN d.in_term THEN d.currency ELSE coalesce(agreed.currency, listed.currency) END AS price_currency,
           d.owner_kind = 'organization' AND d.agreement_id IS NOT NULL AS on_account,
           agreement.payment_days
      FROM planned d
      JOIN commerce_product product ON product.id = d.product_id
      LEFT JOIN LATERAL (
           SELECT line.order_id FROM commerce_orderline line
            WHERE line.subscription_id = d.id ORDER BY line.id DESC LIMIT 1
      ) origin ON true
      LEFT JOIN LATERAL (
           SELECT price.unit_price_minor, price.currency FROM commerce_price price
            WHERE d.channel <> 'central' AND price.plan_id = d.plan_id AND price.market_id = d.market_id
              AND price.valid_from <= d.due_at
              AND {
    IN_TIME_SQL.format(
        now="d.unit_price_minor",
        kept="d.plan_id = d.old_plan_id",
        term="d.old_term_months",
        starts="d.period_start",
        ends="d.due_at",
        zone="d.time_zone",
    )
}
            ORDER BY price.valid_from DESC LIMIT 1
      ) listed ON NOT d.in_term
      LEFT JOIN commerce_agreementprice agreed
             ON NOT d.in_term AND d.channel = 'central'
            AND agreed.agreement_id = d.agreement_id AND agreed.plan_id = d.plan_id
      LEFT JOIN commerce_agreement agreement ON agreement.id = d.agreement_id
), judged AS MATERIALIZED (
    SELECT p.*,
           CASE WHEN p.order_id IS NULL THEN 'It has no order that a bill could name.'
                WHEN p.unit IS NULL AND p.channel = 'central' THEN 'The agreement has no price for its plan.'
                WHEN p.unit IS NULL THEN 'There is no price for its plan in market ' || p.market_id || '.'
                WHEN p.price_currency <> p.currency
                THEN 'Its price is in ' || p.price_currency || ', the subscription in ' || p.currency || '.'
                WHEN p.starts <> p.expected
                THEN 'Period ' || p.n || ' would begin at ' || p.starts || ', it was to begin at ' || p.expected
                     || ': the rules of time zone ' || p.time_zone || ' have changed.'
           END AS reason
      FROM priced p
), billed AS MATERIALIZED (
    SELECT j.*, row_number() OVER (ORDER BY j.due_at, j.id) - 1 AS place,
           nextval('commerce_bill_id_seq') AS bill_id,
           CASE WHEN j.plan_id <> j.old_plan_id OR j.quantity <> j.old_quantity
                THEN nextval('commerce_order_id_seq') END AS changed_by,
           j.quantity * j.unit AS subtotal, round(j.quantity * j.unit * j.tax_rate / 100)::bigint AS tax,
           CASE WHEN j.is_start THEN 'purchase' WHEN j.in_term THEN 'monthly_charge' ELSE 'renewal' END AS bill_type,
           CASE WHEN j.is_start THEN 'started' WHEN j.in_term THEN 'charged' ELSE 'renewed' END AS code
      FROM judged j WHERE j.reason IS NULL
), {NUMBERED_SQL}, orders AS (
    INSERT INTO commerce_order (id, tenant_id, key, type, placed_at, actor_user_id, actor_label)
    SELECT changed_by, tenant_id, gen_random_uuid(),
           CASE WHEN plan_id <> old_plan_id THEN 'plan_change' WHEN quantity > old_quantity THEN 'add_seats'
                ELSE 'remove_seats' END, %(at)s, NULL, 'Seatkeeper'
      FROM numbered WHERE changed_by IS NOT NULL
), order_lines AS (
    INSERT INTO commerce_orderline
           (tenant_id, order_id, subscription_id, quantity, currency, unit_price_minor, amount_minor)
    SELECT tenant_id, changed_by, id, quantity - old_quantity, currency, unit, (quantity - old_quantity) * unit
      FROM numbered WHERE changed_by IS NOT NULL
), bills AS (
    INSERT INTO commerce_bill
           (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id,
            bill_to_id, payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency,
            subtotal_minor, tax_name, tax_rate, tax_minor, total_minor, paid_minor, charge_due_at, tries,
            last_decline, paid_at)
    SELECT bill_id, tenant_id, number, vendor_entity_id, year, series_number, coalesce(changed_by, order_id), id,
           bill_to_id, owner_user_id, bill_type, CASE WHEN subtotal + tax = 0 THEN 'paid' ELSE 'open' END,
           CASE WHEN on_account THEN 'on_account' ELSE 'card' END,
           %(at)s, CASE WHEN on_account THEN %(at)s + make_interval(days => payment_days) ELSE %(at)s END,
           starts, ends, currency, subtotal, tax_name, tax_rate, tax, subtotal + tax, 0,
           CASE WHEN NOT on_account AND subtotal + tax > 0 THEN %(at)s END, 0, '',
           CASE WHEN subtotal + tax = 0 THEN %(at)s END
      FROM numbered
), lines AS (
    INSERT INTO commerce_billline
           (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
    SELECT tenant_id, bill_id, label, quantity, unit, subtotal, starts, ends FROM numbered
), advanced AS (
    UPDATE commerce_subscription s
       SET state = 'active', activated_at = CASE WHEN b.is_start THEN %(at)s ELSE s.activated_at END,
           period_index = b.n, period_start = b.starts, period_end = b.ends, term_end = b.new_term_end,
           due_at = b.ends, unit_price_minor = b.unit, period_price_minor = b.subtotal, version = s.version + 1,
           quantity = b.quantity, plan_id = b.plan_id, billing_months = b.billing_months,
           term_months = b.term_months, offset_months = b.offset_months,
           next_quantity = CASE WHEN b.in_term THEN s.next_quantity END,
           next_plan_id = CASE WHEN b.in_term THEN s.next_plan_id END
      FROM numbered b WHERE s.id = b.id
), set_aside AS (
    UPDATE commerce_subscription s SET parked_at = %(at)s, parked_reason = j.reason, version = s.version + 1
      FROM judged j WHERE s.id = j.id AND j.reason IS NOT NULL
), told AS MATERIALIZED (
    SELECT tenant_id, id, key, label, code,
           jsonb_build_object('bill', number, 'period', n, 'period_start', starts, 'period_end', ends,
                              'quantity', quantity, 'unit_price_minor', unit, 'currency', currency) AS facts,
           jsonb_build_object('period_end', period_end, 'unit_price_minor', unit_price_minor) AS before,
           jsonb_build_object('period_end', ends, 'unit_price_minor', unit, 'bill', number) AS after
      FROM numbered
    UNION ALL
    SELECT tenant_id, id, key, label, 'quantity_changed',
           jsonb_build_object('quantity', quantity, 'before', old_quantity, 'bill', number),
           jsonb_build_object('quantity', old_quantity), jsonb_build_object('quantity', quantity)
      FROM numbered WHERE quantity <> old_quantity
    UNION ALL
    SELECT tenant_id, id, key, label, 'plan_changed',
           jsonb_build_object('plan', plan_id, 'before', old_plan_id, 'billing_months', billing_months,
                              'term_months', term_months, 'bill', number),
           jsonb_build_object('plan', old_plan_id), jsonb_build_object('plan', plan_id)
      FROM numbered WHERE plan_id <> old_plan_id
    UNION ALL
    SELECT tenant_id, id, key, label, 'parked', jsonb_build_object('reason', reason), NULL,
           jsonb_build_object('reason', reason)
      FROM judged WHERE reason IS NOT NULL
), history AS ({HISTORY_SQL.format(source="told")}), audit AS ({AUDIT_SQL.format(source="told")})
SELECT count(*), count(*) FILTER (WHERE reason IS NOT NULL), max(due_at), max(id) FILTER (WHERE is_last),
       array_agg(id) FILTER (WHERE is_start AND reason IS NULL)
  FROM (SELECT reason, is_start, due_at, id, row_number() OVER (ORDER BY due_at DESC, id DESC) = 1 AS is_last FROM judged) x
"""  # noqa: S608
