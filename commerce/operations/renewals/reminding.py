"""Reminders before a renewal, an expiry or the end of a trial, and rises of the price (product §3.6, §5.3, §15).

`Subscription.next_reminder_at` is when the sweep looks at one next; every look writes the next one, so an outage skips what
is past and loses nothing that is still to come.
"""

from datetime import datetime

from django.conf import settings

from commerce.operations.renewals.telling import ABOUT_SQL, IN_TIME_SQL, JOIN_SQL, QUEUE_SQL, parameters
from commerce.periods import DAYS_LATER_SQL
from commerce.trials import REMINDED
from config.kit.tenancy import atomic, connection, use_login

# Days before the end of a term.
YEARLY, MONTHLY = (30, 7, 1), (3,)


def remind_due(*, at: datetime, limit: int | None = None) -> int:
    """Write every reminder whose day has come, and tell of prices that rise at the renewal; how many mails.

    A yearly term is announced 30, 7 and 1 days before, a monthly one 3 days, a trial 7 and 1; with recurring billing off
    the same days announce the end. The sum is that of the price that will be valid then. A rise is told beside it: at
    a yearly term 30 days before, at a monthly one as soon as it is known, at the latest when the period before begins.
    Each is sent once. In batches of one statement, under the worker's login; any number may run side by side.
    """
    told: int = 0
    most = limit or settings.RENEWAL_BATCH
    with use_login("worker"):
        while True:
            with atomic(), connection().cursor() as cursor:
                cursor.execute(_REMIND, parameters() | {"at": at, "limit": most})
                looked_at, mails = cursor.fetchone()
            told += mails
            if looked_at < most:
                return told


def _array(days: tuple[int, ...]) -> str:
    return f"ARRAY[{', '.join(str(day) for day in days)}]"


_TELLS_AT = DAYS_LATER_SQL.format(instant="l.term_end", days="-n", zone="l.time_zone")

_REMIND = f"""
WITH due AS MATERIALIZED (
    SELECT s.id FROM commerce_subscription s WHERE s.next_reminder_at <= %(at)s
     ORDER BY s.next_reminder_at, s.id LIMIT %(limit)s
     FOR NO KEY UPDATE SKIP LOCKED
), looked_at AS MATERIALIZED (
    SELECT s.*, s.state = 'active' AND s.term_end > %(at)s AS is_running,
           CASE WHEN s.channel = 'trial' THEN {_array(REMINDED)} WHEN s.term_months = 12 THEN {_array(YEARLY)}
                ELSE {_array(MONTHLY)} END AS days
      FROM due JOIN commerce_subscription s ON s.id = due.id
), planned AS MATERIALIZED (
    SELECT l.*, step.reached,
           CASE WHEN l.is_running THEN coalesce(step.next_at, l.term_end)
                WHEN l.state = 'deleted' THEN NULL
                -- Its renewal or end is late, or parked.
                ELSE greatest(l.due_at, %(at)s + interval '1 hour') END AS look_at
      FROM looked_at l
      LEFT JOIN LATERAL (
           SELECT min(n) FILTER (WHERE tells_at <= %(at)s) AS reached,
                  min(tells_at) FILTER (WHERE tells_at > %(at)s) AS next_at
             FROM (SELECT n, {_TELLS_AT} AS tells_at FROM unnest(l.days) n) steps
      ) step ON l.is_running
), moved AS (
    UPDATE commerce_subscription s SET next_reminder_at = p.look_at FROM planned p WHERE s.id = p.id
), priced AS MATERIALIZED (
    SELECT s.*, coalesce(s.next_quantity, s.quantity) AS then_quantity, next_plan.id AS then_plan_id,
           s.owner_kind = 'organization' AND s.agreement_id IS NOT NULL AS on_account,
           CASE WHEN s.channel = 'trial' THEN s.unit_price_minor
                ELSE coalesce(agreed.unit_price_minor, listed.unit_price_minor, s.unit_price_minor) END AS then_unit
      FROM planned s
      LEFT JOIN commerce_plan next_plan ON next_plan.id = coalesce(s.next_plan_id, s.plan_id)
      LEFT JOIN LATERAL (
           SELECT price.unit_price_minor FROM commerce_price price
            WHERE s.channel <> 'central' AND price.plan_id = next_plan.id AND price.market_id = s.market_id
              AND price.currency = s.currency AND price.valid_from <= s.term_end
              AND {
    IN_TIME_SQL.format(
        now="s.unit_price_minor",
        kept="s.next_plan_id IS NULL",
        term="s.term_months",
        starts="s.period_start",
        ends="s.term_end",
        zone="s.time_zone",
    )
}
            ORDER BY price.valid_from DESC LIMIT 1
      ) listed ON true
      LEFT JOIN commerce_agreementprice agreed
             ON s.channel = 'central' AND agreed.agreement_id = s.agreement_id AND agreed.plan_id = next_plan.id
     WHERE s.is_running AND s.payment_failed_at IS NULL
), said AS MATERIALIZED (
    SELECT s.*, s.key || ':' || to_char(s.term_end AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS event,
           {ABOUT_SQL} || jsonb_build_object(
               'quantity', s.then_quantity, 'renews_at', s.term_end,
               'last_day_at', s.term_end - interval '1 microsecond', 'recurring_billing', s.recurring_billing,
               'on_account', s.on_account, 'holders', s.assigned, 'tax_name', s.tax_name, 'unit_minor', s.then_unit,
               'unit_before_minor', s.unit_price_minor,
               'is_rise', s.recurring_billing AND s.next_plan_id IS NULL AND s.then_unit > s.unit_price_minor,
               'total_minor', s.then_quantity * s.then_unit
                              + round(s.then_quantity * s.then_unit * s.tax_rate / 100)::bigint,
               'plan_code', CASE WHEN after.term_months = 1 THEN 'monthly' WHEN after.billing_months = 12 THEN 'yearly'
                                 ELSE 'yearly-monthly' END) AS context
      FROM priced s {JOIN_SQL} JOIN commerce_plan after ON after.id = s.then_plan_id
), mail AS MATERIALIZED (
    SELECT tenant_id, owner_user_id AS owner_id, context, event || ':' || reached AS event_key,
           CASE WHEN channel = 'trial' THEN 'trial_ending' WHEN term_months = 12 THEN 'renewal_reminder'
                ELSE 'monthly_reminder' END AS kind
      FROM said WHERE reached IS NOT NULL
    UNION ALL
    SELECT tenant_id, owner_user_id, context, event || ':' || then_unit, 'price_rise'
      FROM said
     WHERE channel <> 'trial' AND (context -> 'is_rise')::bool AND (term_months = 1 OR reached IS NOT NULL)
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT (SELECT count(*) FROM planned), (SELECT count(*) FROM mails)
"""  # noqa: S608
