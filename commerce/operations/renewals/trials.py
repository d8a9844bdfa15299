"""The end of a trial: it turns paid, or access ends (product §3.6)."""

import uuid
from datetime import datetime

from django.conf import settings

from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.renewals.batches import NUMBERED_SQL, Batch, Place, Step, Swept, Take, sweep
from commerce.operations.renewals.parking import AUDIT_SQL, HISTORY_SQL
from commerce.operations.renewals.telling import ABOUT_SQL, JOIN_SQL, QUEUE_SQL, parameters
from commerce.periods import DAYS_LATER_SQL, INSTANT_SQL
from config.kit.tenancy import connection


def end_trials(*, at: datetime, limit: int | None = None, while_paused: bool = False) -> Swept:
    """End every trial whose last day is over at `at`; in batches of `limit`.

    One with a card whose recurring billing is on becomes a self-service subscription, anchored on the day on which
    the trial ends, at the price that was shown when it started; its first period is billed here and charged by the
    charge sweep. A card that is declined then is dunned as at a renewal. Every other one is Disabled at once: nobody
    has access, holders and data stay listed, and who may buy the product can buy it. Nothing while billing is paused,
    unless `while_paused`.
    """
    if not while_paused and not sweeps_may_run(at=at):
        return Swept()
    return sweep(STEP, at=at, limit=limit or settings.RENEWAL_BATCH)


def _end(take: Take) -> Batch:
    with connection().cursor() as cursor:
        cursor.execute(_END, take.parameters | parameters() | {"correlation": uuid.uuid4().hex})
        taken, parked, last_due, last_id = cursor.fetchone()
    return Batch(taken, parked, Place(last_due, last_id) if taken else None)


STEP = Step(condition="s.channel = 'trial' AND s.state = 'active'", make=_end)

_ANCHOR = "(d.due_at AT TIME ZONE d.time_zone)::date"
_STARTS = INSTANT_SQL.format(anchor=_ANCHOR, months="0", zone="d.time_zone")
_ENDS = INSTANT_SQL.format(anchor=_ANCHOR, months="d.billing_months", zone="d.time_zone")
_TERM_ENDS = INSTANT_SQL.format(anchor=_ANCHOR, months="d.term_months", zone="d.time_zone")
_DELETED_FROM = DAYS_LATER_SQL.format(instant="d.due_at", days="product.disabled_days", zone="d.time_zone")

# One statement for a batch, as a renewal's: the series' counter moves once, by as many numbers as there are bills.
_END = f"""
WITH due AS MATERIALIZED (
    SELECT s.id, s.tenant_id, s.key, s.due_at, s.time_zone, s.quantity, s.unit_price_minor, s.currency, s.tax_name,
           s.tax_rate, s.owner_user_id, s.bill_to_id, s.product_id, s.vendor_entity_id, s.billing_months,
           s.term_months, s.recurring_billing
    {STEP.due_sql}
    FOR NO KEY UPDATE OF s SKIP LOCKED
), judged AS MATERIALIZED (
    SELECT d.*, product.name AS label, {_ANCHOR} AS anchor, {_STARTS} AS starts, {_ENDS} AS ends,
           {_TERM_ENDS} AS new_term_end, {_DELETED_FROM} AS deleted_from,
           d.recurring_billing AND trial.kind = 'card' AS turns_paid,
           CASE WHEN trial.id IS NULL THEN 'It is a trial without its row.'
                WHEN d.recurring_billing AND trial.kind = 'card' AND {_STARTS} <> d.due_at
                THEN 'Its first period would begin at ' || {_STARTS} || ', it was to begin at ' || d.due_at || '.'
           END AS reason
      FROM due d
      JOIN commerce_product product ON product.id = d.product_id
      LEFT JOIN commerce_trial trial ON trial.subscription_id = d.id
), ended AS MATERIALIZED (
    SELECT * FROM judged WHERE reason IS NULL AND NOT turns_paid
), billed AS MATERIALIZED (
    SELECT j.*, row_number() OVER (ORDER BY j.due_at, j.id) - 1 AS place,
           nextval('commerce_bill_id_seq') AS bill_id, nextval('commerce_order_id_seq') AS order_id,
           j.quantity * j.unit_price_minor AS subtotal,
           round(j.quantity * j.unit_price_minor * j.tax_rate / 100)::bigint AS tax
      FROM judged j WHERE j.reason IS NULL AND j.turns_paid
), {NUMBERED_SQL}, orders AS (
    INSERT INTO commerce_order (id, tenant_id, key, type, placed_at, actor_user_id, actor_label)
    SELECT order_id, tenant_id, gen_random_uuid(), 'trial_conversion', %(at)s, NULL, 'Seatkeeper' FROM numbered
), order_lines AS (
    INSERT INTO commerce_orderline
           (tenant_id, order_id, subscription_id, quantity, currency, unit_price_minor, amount_minor)
    SELECT tenant_id, order_id, id, quantity, currency, unit_price_minor, subtotal FROM numbered
), bills AS (
    INSERT INTO commerce_bill
           (id, tenant_id, number, vendor_entity_id, series_year, series_number, order_id, subscription_id,
            bill_to_id, payer_id, type, status, collection, issued_at, due_at, period_start, period_end, currency,
            subtotal_minor, tax_name, tax_rate, tax_minor, total_minor, paid_minor, charge_due_at, tries,
            last_decline, paid_at)
    SELECT bill_id, tenant_id, number, vendor_entity_id, year, series_number, order_id, id, bill_to_id,
           owner_user_id, 'trial_conversion', CASE WHEN subtotal + tax = 0 THEN 'paid' ELSE 'open' END, 'card', %(at)s,
           %(at)s, starts, ends, currency, subtotal, tax_name, tax_rate, tax, subtotal + tax, 0,
           CASE WHEN subtotal + tax > 0 THEN %(at)s END, 0, '', CASE WHEN subtotal + tax = 0 THEN %(at)s END
      FROM numbered
), lines AS (
    INSERT INTO commerce_billline
           (tenant_id, bill_id, description, quantity, unit_price_minor, amount_minor, service_start, service_end)
    SELECT tenant_id, bill_id, label, quantity, unit_price_minor, subtotal, starts, ends FROM numbered
), converted AS (
    UPDATE commerce_subscription s
       SET channel = 'self-service', anchor_date = b.anchor, offset_months = 0, period_index = 0,
           period_start = b.starts, period_end = b.ends, term_end = b.new_term_end, due_at = b.ends,
           next_reminder_at = %(at)s, version = s.version + 1
      FROM numbered b WHERE s.id = b.id
), disabled AS (
    UPDATE commerce_subscription s
       SET state = 'disabled', disabled_reason = 'trial_over', disabled_at = e.due_at, due_at = e.deleted_from,
           recurring_billing = false, next_reminder_at = NULL, version = s.version + 1
      FROM ended e WHERE s.id = e.id
), marked AS (
    UPDATE commerce_trial t
       SET converted_at = CASE WHEN j.turns_paid THEN %(at)s END, ended_at = CASE WHEN NOT j.turns_paid THEN j.due_at END
      FROM judged j WHERE t.subscription_id = j.id AND j.reason IS NULL
), set_aside AS (
    UPDATE commerce_subscription s SET parked_at = %(at)s, parked_reason = j.reason, version = s.version + 1
      FROM judged j WHERE s.id = j.id AND j.reason IS NOT NULL
), told AS MATERIALIZED (
    SELECT tenant_id, id, key, label, 'trial_converted' AS code,
           jsonb_build_object('bill', number, 'period_start', starts, 'period_end', ends, 'quantity', quantity,
                              'unit_price_minor', unit_price_minor, 'currency', currency) AS facts,
           jsonb_build_object('channel', 'trial') AS before,
           jsonb_build_object('channel', 'self-service', 'period_end', ends, 'bill', number) AS after
      FROM numbered
    UNION ALL
    SELECT tenant_id, id, key, label, 'trial_ended', jsonb_build_object('since', due_at, 'until', deleted_from),
           jsonb_build_object('state', 'active'), jsonb_build_object('state', 'disabled', 'reason', 'trial_over')
      FROM ended
    UNION ALL
    SELECT tenant_id, id, key, label, 'parked', jsonb_build_object('reason', reason), NULL,
           jsonb_build_object('reason', reason)
      FROM judged WHERE reason IS NOT NULL
), history AS ({HISTORY_SQL.format(source="told")}), audit AS ({AUDIT_SQL.format(source="told")}), mail AS MATERIALIZED (
    SELECT s.tenant_id, 'trial_ended' AS kind, s.key::text AS event_key, s.owner_user_id AS owner_id,
           {ABOUT_SQL} || jsonb_build_object('holders', s.assigned, 'ended_last_at', e.due_at - interval '1 microsecond',
                                             'until_at', e.deleted_from) AS context
      FROM ended e JOIN commerce_subscription s ON s.id = e.id {JOIN_SQL}
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT count(*), count(*) FILTER (WHERE reason IS NOT NULL), max(due_at), max(id) FILTER (WHERE is_last)
  FROM (SELECT reason, due_at, id, row_number() OVER (ORDER BY due_at DESC, id DESC) = 1 AS is_last FROM judged) x
"""  # noqa: S608
