"""What must hold at every commit (reliability §3), asked of the database in SQL.

Each query returns the rows that break it, so an empty answer is a clean bill of health. Asked under the
worker's login: the app's sees no rows without a tenant and would always be content.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from commerce.periods import INSTANT_SQL
from config.kit.tenancy import check_walls, connection, use_login

# How many rows of one query are reported; one is enough to be wrong.
SHOWN = 20


class WrongLogin(Exception):
    """Asked under the app's login, to which every tenant's rows are hidden."""

    def __init__(self, login: str) -> None:
        super().__init__(f"{login} is the app's login: it sees no rows, so it would find nothing wrong.")


@dataclass(frozen=True, slots=True)
class Invariant:
    """One query. `number` is that of reliability §3, `rule` what is true when it returns no row."""

    number: str
    rule: str
    query: str


@dataclass(frozen=True, slots=True)
class Violation:
    """One row that breaks an invariant."""

    number: str
    rule: str
    row: dict[str, Any]

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.row.items())
        return f"{self.number} {self.rule}: {facts}"


def _instant(months: str) -> str:
    return INSTANT_SQL.format(anchor="s.anchor_date", months=months, zone="s.time_zone")


_LIVE = "type IN ('purchase', 'renewal', 'monthly_charge', 'trial_conversion') AND status NOT IN ('credited', 'void')"

# Whatever pays for a period: a reactivation pays for the one that it begins.
_BILLED = _LIVE.replace("'trial_conversion'", "'trial_conversion', 'reactivation'")
_EVER_BILLED = _BILLED.replace(
    "status NOT IN ('credited', 'void')", "status <> 'void' AND credits_id IS NULL"
)
# A refund that the bank sent back is undone by a row of its own.
_RETURNED = "CASE WHEN r.reverses_id IS NULL THEN r.amount_minor ELSE -r.amount_minor END"

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "I-01",
        "no more licenses are assigned than were bought",
        "SELECT id, tenant_id, assigned, quantity FROM commerce_subscription"
        " WHERE assigned < 0 OR assigned > quantity",
    ),
    Invariant(
        "I-01",
        "the counter of assigned licenses equals the live assignments",
        """
        SELECT s.id, s.tenant_id, s.assigned, coalesce(live.n, 0) AS live
          FROM commerce_subscription s
          LEFT JOIN (SELECT subscription_id, count(*) AS n FROM licensing_assignment
                      WHERE ended_at IS NULL GROUP BY 1) live ON live.subscription_id = s.id
         WHERE s.assigned <> coalesce(live.n, 0)
        """,
    ),
    Invariant(
        "I-02",
        "a person holds at most one license of a subscription",
        """
        SELECT subscription_id, user_id, count(*) FROM licensing_assignment
         WHERE ended_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I-05",
        "nothing is scheduled for a renewal that will not come",
        """
        SELECT id, tenant_id, state, recurring_billing, next_quantity, next_plan_id FROM commerce_subscription
         WHERE (next_quantity IS NOT NULL OR next_plan_id IS NOT NULL)
           AND (state NOT IN ('scheduled', 'active') OR NOT recurring_billing)
        """,
    ),
    Invariant(
        "I-05",
        "nobody holds a license of a deleted subscription",
        """
        SELECT a.id, a.tenant_id, a.subscription_id FROM licensing_assignment a
          JOIN commerce_subscription s ON s.id = a.subscription_id
         WHERE a.ended_at IS NULL AND s.state = 'deleted'
        """,
    ),
    Invariant(
        "I-04",
        "a license that came from a group is of the group's subscription, and of a member unless a change is to be followed",
        """
        SELECT a.id, a.tenant_id, a.subscription_id, a.group_license_id FROM licensing_assignment a
          JOIN licensing_grouplicense g ON g.id = a.group_license_id
          JOIN directory_user u ON u.id = a.user_id
         WHERE g.subscription_id <> a.subscription_id
            OR a.ended_at IS NULL AND g.ended_at IS NULL AND g.group_id IS NOT NULL AND u.status <> 'deleted'
               AND NOT EXISTS (SELECT FROM directory_groupmembership m
                                WHERE m.group_id = g.group_id AND m.user_id = a.user_id)
               AND NOT EXISTS (SELECT FROM licensing_grouptouch t WHERE t.group_id = g.group_id)
        """,
    ),
    Invariant(
        "I-04",
        "nobody is in a waiting list twice, and who was served from it got a license of that subscription",
        """
        SELECT w.subscription_id, w.user_id, count(*) FROM licensing_waitingplace w
          LEFT JOIN licensing_assignment a ON a.id = w.assignment_id
         WHERE w.ended_at IS NULL
            OR w.outcome = 'given' AND (a.id IS NULL OR a.user_id <> w.user_id
                                        OR a.subscription_id <> w.subscription_id)
         GROUP BY 1, 2 HAVING count(*) > 1 OR bool_or(w.outcome = 'given')
        """,
    ),
    Invariant(
        "I-06",
        "no order without a line",
        """
        SELECT o.id, o.tenant_id FROM commerce_order o
         WHERE NOT EXISTS (SELECT FROM commerce_orderline l WHERE l.order_id = o.id)
        """,
    ),
    Invariant(
        "I-06",
        "no bill without a line, and none of an order that does not name its subscription",
        """
        SELECT b.id, b.number FROM commerce_bill b
         WHERE NOT EXISTS (SELECT FROM commerce_billline l WHERE l.bill_id = b.id)
            OR NOT EXISTS (SELECT FROM commerce_orderline l
                            WHERE l.order_id = b.order_id AND l.subscription_id = b.subscription_id)
        """,
    ),
    Invariant(
        "I-07",
        "what was received for a bill is what is paid of it",
        """
        SELECT b.id, b.number, b.paid_minor, coalesce(p.received, 0) AS received FROM commerce_bill b
          LEFT JOIN (SELECT bill_id, sum(amount_minor) AS received FROM commerce_payment GROUP BY 1) p
                 ON p.bill_id = b.id
         WHERE b.credits_id IS NULL AND b.paid_minor <> coalesce(p.received, 0)
        """,
    ),
    Invariant(
        "I-07",
        "what was given back of a bill, or is being given back, is counted on it",
        f"""
        SELECT b.id, b.number, b.refunded_minor, coalesce(r.returned, 0) AS returned,
               coalesce(under_way.amount, 0) AS under_way
          FROM commerce_bill b
          LEFT JOIN (SELECT p.bill_id, sum({_RETURNED}) AS returned
                       FROM commerce_refund r JOIN commerce_payment p ON p.id = r.payment_id GROUP BY 1) r
                 ON r.bill_id = b.id
          LEFT JOIN (SELECT p.bill_id, sum(a.amount_minor) AS amount
                       FROM commerce_refundattempt a JOIN commerce_payment p ON p.id = a.payment_id
                      WHERE a.state = 'created' GROUP BY 1) under_way ON under_way.bill_id = b.id
         WHERE b.refunded_minor <> coalesce(r.returned, 0) + coalesce(under_way.amount, 0)
            OR b.refunded_minor > b.paid_minor AND b.credits_id IS NULL
        """,  # noqa: S608
    ),
    Invariant(
        "I-07",
        "the credit notes of a bill are what is credited of it, none of another subscription or currency",
        """
        SELECT b.id, b.number, b.credited_minor, coalesce(n.credited, 0) AS noted FROM commerce_bill b
          LEFT JOIN (SELECT n.credits_id, -sum(n.total_minor) AS credited,
                            bool_or(n.subscription_id <> b.subscription_id OR n.currency <> b.currency) AS is_other
                       FROM commerce_bill n JOIN commerce_bill b ON b.id = n.credits_id GROUP BY 1) n
                 ON n.credits_id = b.id
         WHERE b.credited_minor <> coalesce(n.credited, 0) OR n.is_other
        """,
    ),
    Invariant(
        "I-07",
        "a credit note is paid as far as its money was given back",
        f"""
        SELECT n.id, n.number, n.status, n.paid_minor, coalesce(r.returned, 0) AS returned FROM commerce_bill n
          LEFT JOIN (SELECT r.credit_note_id, sum({_RETURNED}) AS returned FROM commerce_refund r GROUP BY 1) r
                 ON r.credit_note_id = n.id
         WHERE n.credits_id IS NOT NULL AND -n.paid_minor <> coalesce(r.returned, 0)
        """,  # noqa: S608
    ),
    Invariant(
        "I-07",
        "no charge is refunded beyond its amount, and each in its currency",
        f"""
        SELECT a.id, a.intent_id, a.amount_minor, sum({_RETURNED}) AS refunded
          FROM commerce_paymentattempt a JOIN commerce_refund r ON r.attempt_id = a.id
         GROUP BY a.id HAVING sum({_RETURNED}) NOT BETWEEN 0 AND a.amount_minor OR bool_or(r.currency <> a.currency)
        """,  # noqa: S608
    ),
    Invariant(
        "I-07",
        "a payment is in its bill's currency",
        """
        SELECT p.id, p.currency, b.currency AS bill_currency
          FROM commerce_payment p JOIN commerce_bill b ON b.id = p.bill_id WHERE p.currency <> b.currency
        """,
    ),
    Invariant(
        "I-08",
        "a bill's lines add up to its subtotal, and with the tax to its total",
        """
        SELECT b.id, b.number, b.subtotal_minor, l.amount, b.tax_minor, b.total_minor
          FROM commerce_bill b
          LEFT JOIN (SELECT bill_id, sum(amount_minor) AS amount FROM commerce_billline GROUP BY 1) l
                 ON l.bill_id = b.id
         WHERE b.subtotal_minor IS DISTINCT FROM l.amount OR b.total_minor <> b.subtotal_minor + b.tax_minor
            OR b.credits_id IS NULL AND b.tax_minor <> round(b.subtotal_minor * b.tax_rate / 100)
        """,
    ),
    Invariant(
        "I-08",
        "the tax of a bill's credit notes is that of their sum, at the bill's own rate; out of a sum with tax, to 1",
        """
        SELECT b.id, b.number, sum(n.subtotal_minor) AS subtotal, sum(n.tax_minor) AS tax
          FROM commerce_bill n JOIN commerce_bill b ON b.id = n.credits_id
         GROUP BY b.id
        HAVING abs(sum(n.tax_minor) - round(sum(n.subtotal_minor) * b.tax_rate / 100))
               > CASE WHEN bool_or(n.type = 'refund') THEN 1 ELSE 0 END
            OR bool_or(n.tax_rate <> b.tax_rate)
        """,
    ),
    Invariant(
        "I-08",
        "a subscription's price is its seats times the price of one",
        """
        SELECT id, tenant_id, quantity, unit_price_minor, period_price_minor FROM commerce_subscription
         WHERE period_price_minor <> quantity * unit_price_minor
        """,
    ),
    Invariant(
        "I-09",
        "each charge that succeeded is booked once, or was given back",
        """
        SELECT a.id, a.tenant_id, a.intent_id, a.bill_id, a.checkout_id FROM commerce_paymentattempt a
         WHERE a.state = 'succeeded'
           AND NOT EXISTS (SELECT FROM commerce_payment p WHERE p.attempt_id = a.id)
           AND NOT EXISTS (SELECT FROM commerce_refund r WHERE r.attempt_id = a.id AND r.payment_id IS NULL)
        """,
    ),
    Invariant(
        "I-09",
        "each refund that succeeded is booked once, and nothing is booked of another",
        """
        SELECT a.id, a.tenant_id, a.key, a.state, a.processor_refund_id FROM commerce_refundattempt a
          LEFT JOIN commerce_refund r ON r.processor_refund_id = a.processor_refund_id
          LEFT JOIN commerce_refund back ON back.reverses_id = r.id
         WHERE (a.state = 'succeeded') <> (r.id IS NOT NULL AND back.id IS NULL)
        """,
    ),
    Invariant(
        "I-09",
        "nothing is booked of a charge that did not succeed",
        """
        SELECT p.id, p.bill_id, a.state FROM commerce_payment p
          JOIN commerce_paymentattempt a ON a.id = p.attempt_id WHERE a.state <> 'succeeded'
        """,
    ),
    Invariant(
        "I-10",
        "a bill is charged at most once",
        "SELECT bill_id, count(*) FROM commerce_payment GROUP BY 1 HAVING count(*) > 1",
    ),
    Invariant(
        "I-10",
        "a bill or a checkout has at most one charge that succeeded",
        """
        SELECT bill_id, checkout_id, count(*) FROM commerce_paymentattempt a
         WHERE state = 'succeeded'
           AND NOT EXISTS (SELECT FROM commerce_refund r WHERE r.attempt_id = a.id AND r.payment_id IS NULL)
         GROUP BY 1, 2 HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I-10",
        "a period has at most one live bill",
        f"""
        SELECT subscription_id, period_start, count(*) FROM commerce_bill WHERE {_LIVE}
         GROUP BY 1, 2 HAVING count(*) > 1
        """,  # noqa: S608
    ),
    Invariant(
        "I-11",
        "billed periods follow one another without gap or overlap; a reactivation may begin anew",
        # One that was credited was billed too: what is never paid of an ended subscription leaves no gap.
        f"""
        SELECT * FROM (
            SELECT subscription_id, type, period_start, lag(period_end) OVER
                   (PARTITION BY subscription_id ORDER BY period_start, period_end) AS previous_end
              FROM (SELECT DISTINCT ON (subscription_id, period_start, period_end)
                           subscription_id, period_start, period_end, type
                      FROM commerce_bill WHERE {_EVER_BILLED}
                     ORDER BY subscription_id, period_start, period_end, id) each_once
        ) periods WHERE period_start <> previous_end AND type <> 'reactivation'
        """,  # noqa: S608
    ),
    Invariant(
        "I-11",
        "an active subscription is billed from the first period of its plan to the running one, each once",
        f"""
        SELECT s.id, s.tenant_id, s.period_index, count(DISTINCT b.period_start) AS bills,
               max(b.period_end) AS billed_to
          FROM commerce_subscription s
          LEFT JOIN commerce_bill b ON b.subscription_id = s.id AND b.{_BILLED.replace(" status", " b.status")}
                AND b.period_start >= {_instant("s.offset_months")}
         WHERE s.state = 'active' AND s.channel <> 'trial'
         GROUP BY s.id
        HAVING count(DISTINCT b.period_start) <> s.period_index + 1
            OR max(b.period_end) IS DISTINCT FROM s.period_end
        """,  # noqa: S608
    ),
    Invariant(
        "I-12",
        "each period runs from anchor + n months to anchor + n + 1, whatever plans there were",
        f"""
        SELECT s.id, s.tenant_id, s.anchor_date, s.time_zone, s.offset_months, s.period_index, s.period_start, s.period_end
          FROM commerce_subscription s
         WHERE s.channel <> 'trial'
           AND (s.period_start <> {_instant("s.offset_months + s.period_index * s.billing_months")}
                OR s.period_end <> {_instant("s.offset_months + (s.period_index + 1) * s.billing_months")})
        """,  # noqa: S608
    ),
    Invariant(
        "I-12",
        "each term ends a whole number of terms after its plan began, with or after the period",
        f"""
        SELECT s.id, s.tenant_id, s.anchor_date, s.time_zone, s.period_index, s.period_end, s.term_end
          FROM commerce_subscription s
         WHERE s.channel <> 'trial'
           AND (s.term_end <> {
            _instant(
                "s.offset_months + ((s.period_index * s.billing_months) / s.term_months + 1) * s.term_months"
            )
        }
                OR s.term_end < s.period_end)
        """,  # noqa: S608
    ),
    Invariant(
        "I-12",
        "while active, the next transition is the end of the period",
        "SELECT id, tenant_id, due_at, period_end FROM commerce_subscription"
        " WHERE state = 'active' AND due_at <> period_end",
    ),
    Invariant(
        "I-12",
        "a trial has one period, 60 days at most, which ends when the trial does",
        """
        SELECT s.id, s.tenant_id, s.period_start, s.period_end, s.term_end, t.ends_at FROM commerce_subscription s
          LEFT JOIN commerce_trial t ON t.subscription_id = s.id
         WHERE s.channel = 'trial'
           AND (t.ends_at IS DISTINCT FROM s.period_end OR s.term_end <> s.period_end OR s.period_index <> 0
                OR s.period_end > s.period_start + interval '61 days' OR t.converted_at IS NOT NULL
                OR (s.state = 'active') <> (t.ended_at IS NULL))
        """,
    ),
    Invariant(
        "I-12",
        "a trial that turned paid is a self-service one whose first bill begins when the trial ended",
        """
        SELECT t.id, t.tenant_id, s.channel, t.ends_at, b.period_start FROM commerce_trial t
          JOIN commerce_subscription s ON s.id = t.subscription_id
          LEFT JOIN commerce_bill b ON b.subscription_id = s.id AND b.type = 'trial_conversion'
                AND b.credits_id IS NULL AND b.replaces_id IS NULL
         WHERE (t.converted_at IS NOT NULL) <> (b.id IS NOT NULL)
            OR t.converted_at IS NOT NULL AND (s.channel <> 'self-service' OR b.period_start <> t.ends_at)
        """,
    ),
    Invariant(
        "I-14",
        "nothing is billed of a trial while it is one",
        """
        SELECT b.id, b.number, b.type FROM commerce_bill b JOIN commerce_subscription s ON s.id = b.subscription_id
         WHERE s.channel = 'trial'
        """,
    ),
    Invariant(
        "I-13",
        "nothing is overdue by more than an hour unless it is parked",
        """
        SELECT id, tenant_id, state, due_at FROM commerce_subscription
         WHERE state <> 'deleted' AND parked_at IS NULL AND due_at < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-13",
        "no card bill waits for its charge by more than an hour",
        """
        SELECT id, number, charge_due_at, leased_until FROM commerce_bill
         WHERE status IN ('open', 'past_due') AND collection = 'card'
           AND charge_due_at < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-13",
        "no card bill of what is in use is left that nobody would charge or ask for",
        # What may have been charged before a restore waits for the vendor's staff (F-26).
        """
        SELECT b.id, b.number, b.tries, b.last_decline FROM commerce_bill b
          JOIN commerce_subscription s ON s.id = b.subscription_id
         WHERE b.status IN ('open', 'past_due') AND b.collection = 'card' AND b.credits_id IS NULL
           AND b.charge_due_at IS NULL AND b.next_dunning_at IS NULL
           AND (s.state = 'active' OR s.state = 'expired' AND b.type = 'monthly_charge')
           AND NOT EXISTS (SELECT FROM commerce_paymentattempt a
                            WHERE a.bill_id = b.id AND a.state NOT IN ('succeeded', 'failed', 'canceled'))
           AND NOT EXISTS (SELECT FROM directory_auditentry e
                            WHERE e.target_type = 'bill' AND e.target_id = b.id::text
                              AND e.code = 'commerce.bill.charge_withheld'
                              AND e.after ->> 'reason' = 'unmatched_charge')
        """,
    ),
    Invariant(
        "I-14",
        "no period is billed that begins when the subscription had expired",
        f"""
        SELECT b.id, b.number, b.period_start, s.expired_at
          FROM commerce_bill b JOIN commerce_subscription s ON s.id = b.subscription_id
         WHERE s.state IN ('expired', 'disabled', 'deleted') AND b.period_start >= s.expired_at
           AND b.{_LIVE.replace(" status", " b.status")}
        """,  # noqa: S608
    ),
    Invariant(
        "I-15",
        "a checkout is paid exactly when it has its order",
        """
        SELECT c.id, c.tenant_id, c.state, o.id AS order_id FROM commerce_checkout c
          LEFT JOIN commerce_order o ON o.checkout_id = c.id
         WHERE (c.state = 'paid') <> (o.id IS NOT NULL)
        """,
    ),
    Invariant(
        "I-15",
        "a bill is paid exactly when its total is",
        """
        SELECT id, number, status, paid_minor, total_minor FROM commerce_bill
         WHERE (status = 'paid') <> (paid_minor = total_minor AND paid_at IS NOT NULL)
           AND status NOT IN ('credited', 'void')
        """,
    ),
    Invariant(
        "I-15",
        "nobody is asked for a bill over nothing",
        """
        SELECT id, number, status, collection FROM commerce_bill
         WHERE total_minor = 0 AND credits_id IS NULL AND status IN ('open', 'past_due')
        """,
    ),
    Invariant(
        "I-16",
        "no charge stays unresolved for more than an hour",
        """
        SELECT id, tenant_id, state, intent_id, updated_at FROM commerce_paymentattempt
         WHERE state IN ('created', 'intent', 'confirming', 'unknown')
           AND updated_at < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-16",
        "no refund waits for its turn for more than an hour",
        """
        SELECT id, tenant_id, key, next_try_at FROM commerce_refundattempt
         WHERE state = 'created' AND failure_code = '' AND next_try_at < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-17",
        "what was charged is what was shown or billed",
        """
        SELECT a.id, a.tenant_id, a.amount_minor, a.currency FROM commerce_paymentattempt a
          LEFT JOIN commerce_bill b ON b.id = a.bill_id
          LEFT JOIN commerce_checkout c ON c.id = a.checkout_id
          LEFT JOIN commerce_payment p ON p.attempt_id = a.id
         WHERE a.state = 'succeeded'
           AND (a.amount_minor <> coalesce(b.total_minor, c.total_minor)
                OR upper(a.currency) <> upper(coalesce(b.currency, c.currency))
                OR a.amount_minor <> coalesce(p.amount_minor, a.amount_minor))
        """,
    ),
    Invariant(
        "I-18",
        "no webhook waits for more than an hour",
        """
        SELECT event_id, type, received_at FROM commerce_webhookevent
         WHERE handled_at IS NULL AND received_at < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-19",
        "bill numbers of a series run from 1 without gap",
        """
        SELECT series.vendor_entity_id, series.year, series.next_number, count(b.id) AS bills,
               min(b.series_number) AS first, max(b.series_number) AS last
          FROM commerce_billseries series
          LEFT JOIN commerce_bill b
                 ON b.vendor_entity_id = series.vendor_entity_id AND b.series_year = series.year
         GROUP BY series.id
        HAVING count(DISTINCT b.series_number) <> series.next_number - 1
            OR coalesce(min(b.series_number), 1) <> 1 OR coalesce(max(b.series_number), 0) <> series.next_number - 1
        """,
    ),
    Invariant(
        "I-19",
        "every bill belongs to a series, and its number says which",
        """
        SELECT b.id, b.number, b.series_year, b.series_number FROM commerce_bill b
          JOIN commerce_vendorentity e ON e.id = b.vendor_entity_id
         WHERE NOT EXISTS (SELECT FROM commerce_billseries s
                            WHERE s.vendor_entity_id = b.vendor_entity_id AND s.year = b.series_year)
            OR b.number <> e.bill_series || '-' || b.series_year || '-'
               || lpad(b.series_number::text, greatest(6, length(b.series_number::text)), '0')
        """,
    ),
    Invariant(
        "I-29",
        "what a person spent in a month is the sum of the purchases that count for it",
        """
        SELECT m.tenant_id, m.user_id, m.month, m.currency, m.spent_minor, coalesce(p.total, 0) AS purchases
          FROM policies_monthspend m
          FULL JOIN (SELECT tenant_id, user_id, month, currency, sum(amount_minor) AS total FROM policies_spend
                      WHERE state <> 'released' GROUP BY 1, 2, 3, 4) p
         USING (tenant_id, user_id, month, currency)
         WHERE coalesce(m.spent_minor, 0) <> coalesce(p.total, 0)
        """,
    ),
    Invariant(
        "I-29",
        "what is reserved is about to be paid, and what was paid is spent",
        """
        SELECT s.id, s.tenant_id, s.cause, s.state, c.state AS checkout
          FROM policies_spend s
          JOIN commerce_checkout c ON c.tenant_id = s.tenant_id AND c.key = s.cause
         WHERE (s.state = 'reserved' AND c.state NOT IN ('paying', 'action'))
            OR (s.state = 'spent' AND c.state <> 'paid')
        """,
    ),
    Invariant(
        "I-29",
        "an approval is taken by a purchase that counts, and covers it",
        """
        SELECT p.id, p.tenant_id, p.used_for, s.state, s.amount_minor, p.sum_minor
          FROM policies_permit p
          LEFT JOIN policies_spend s ON s.tenant_id = p.tenant_id AND s.cause = p.used_for
         WHERE p.used_at IS NOT NULL
           AND (s.id IS NULL OR s.state = 'released' OR s.amount_minor > p.sum_minor OR s.user_id <> p.user_id)
        """,
    ),
    Invariant(
        "I-30",
        "a request is open exactly while somebody of it waits for an answer",
        """
        SELECT r.id, r.tenant_id, r.state, count(p.id) FILTER (WHERE p.state = 'waiting') AS waiting
          FROM licensing_licenserequest r LEFT JOIN licensing_requestedperson p ON p.request_id = r.id
         GROUP BY r.id
        HAVING (r.closed_at IS NULL) <> (count(p.id) FILTER (WHERE p.state = 'waiting') > 0)
            OR count(p.id) = 0
        """,
    ),
    Invariant(
        "I-30",
        "what a request gave is one license of that person and product, given when it was decided",
        """
        SELECT p.id, p.tenant_id, p.request_id, p.user_id, a.user_id AS holder, a.product_id, a.assigned_at
          FROM licensing_requestedperson p
          JOIN licensing_licenserequest r ON r.id = p.request_id
          LEFT JOIN licensing_assignment a ON a.id = p.assignment_id
         WHERE p.product_id <> r.product_id OR p.kind <> r.kind
            OR (p.state = 'given' AND (a.user_id <> p.user_id OR a.product_id <> p.product_id
                                       OR a.assigned_at IS DISTINCT FROM p.decided_at))
        """,
    ),
    Invariant(
        "I-31",
        "who is asked to cancel owns a purchase by self-service that would renew",
        """
        SELECT r.id, r.tenant_id, r.subscription_id, s.state, s.channel, s.owner_kind, s.recurring_billing
          FROM commerce_cancelrequest r JOIN commerce_subscription s ON s.id = r.subscription_id
         WHERE r.state = 'asked'
           AND (s.owner_user_id IS DISTINCT FROM r.purchaser_id OR s.channel <> 'self-service'
                OR s.state <> 'active' OR NOT s.recurring_billing)
        """,
    ),
    Invariant(
        "I-32",
        "what a run gave is a license of its central subscription for that person, and is over once taken back",
        """
        SELECT p.id, p.tenant_id, p.user_id, p.outcome, g.user_id AS holder, g.subscription_id, g.ended_at
          FROM licensing_centralizedperson p
          JOIN licensing_centralizedpurchase c ON c.id = p.purchase_id
          JOIN licensing_centralization r ON r.id = c.centralization_id
          JOIN licensing_assignment g ON g.id = p.given_id
         WHERE g.user_id <> p.user_id OR g.subscription_id <> r.target_id
            OR p.outcome = 'undone' AND g.ended_at IS NULL
        """,
    ),
    Invariant(
        "I-32",
        "a run is over exactly when nothing of it waits, and moves no money before its time",
        """
        SELECT c.id, c.tenant_id, c.state, c.centralization_id, r.state AS run, r.money_at
          FROM licensing_centralizedpurchase c JOIN licensing_centralization r ON r.id = c.centralization_id
         WHERE r.state IN ('done', 'undone') AND c.state IN ('waiting', 'taken_over')
            OR r.state = 'waiting' AND c.state = 'waiting'
            OR c.state = 'ended' AND (r.moved_at IS NULL OR r.money_at > %(at)s AND r.state = 'done')
        """,
    ),
    Invariant(
        "I-32",
        "nobody had no central license at the moment when a run ended the purchase that they worked with",
        """
        SELECT a.id, a.tenant_id, a.user_id, c.subscription_id
          FROM licensing_centralizedpurchase c
          JOIN licensing_centralization r ON r.id = c.centralization_id
          JOIN commerce_subscription s ON s.id = c.subscription_id
          JOIN licensing_assignment a ON a.subscription_id = s.id AND a.ended_at IS NULL
          JOIN directory_user u ON u.id = a.user_id
         WHERE c.state = 'ended' AND s.state = 'disabled' AND s.disabled_at >= r.money_at AND u.status = 'active'
           -- By the run, and not years later by somebody who brought it back.
           AND s.disabled_at IN (SELECT e.at FROM commerce_subscriptionevent e
                                  WHERE e.subscription_id = s.id AND e.code = 'centralized_ended')
           -- Who could not use it then had no access to lose.
           AND NOT EXISTS (SELECT FROM licensing_centralizedperson p
                            WHERE p.purchase_id = c.id AND p.user_id = a.user_id
                              AND p.outcome IN ('disabled', 'service_off'))
           AND NOT EXISTS (SELECT FROM licensing_assignment h JOIN commerce_subscription t ON t.id = h.subscription_id
                            WHERE h.user_id = a.user_id AND h.product_id = a.product_id
                              AND (h.ended_at IS NULL OR h.ended_at >= s.disabled_at)
                              AND h.assigned_at <= s.disabled_at AND t.channel = 'central')
        """,
    ),
    Invariant(
        "I-23",
        "an account key names one account",
        """
        SELECT tenant_id, issuer, subject, count(*) FROM directory_user WHERE subject <> ''
         GROUP BY 1, 2, 3 HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I-26",
        "every step of a subscription's life is in the audit trail for as long as that is kept",
        """
        SELECT s.id, s.tenant_id, e.code, e.n AS events, coalesce(a.n, 0) AS audited
          FROM (SELECT subscription_id, code, count(*) AS n FROM commerce_subscriptionevent
                 WHERE code IN ('purchased', 'started', 'renewed', 'charged', 'expired', 'disabled', 'deleted',
                                'parked', 'trial_started', 'trial_extended', 'trial_kept', 'trial_converted',
                                'trial_ended') AND at >= %(trail)s
                 GROUP BY 1, 2) e
          JOIN commerce_subscription s ON s.id = e.subscription_id
          LEFT JOIN (SELECT target_id, code, count(*) AS n FROM directory_auditentry
                      WHERE target_type = 'subscription' AND at >= %(trail)s GROUP BY 1, 2) a
                 ON a.target_id = s.key::text AND a.code = 'commerce.subscription.' || e.code
         WHERE coalesce(a.n, 0) < e.n
        """,
    ),
    Invariant(
        "I-24",
        "who was deleted has no role and no token that works",
        """
        SELECT u.id, u.tenant_id FROM directory_user u
         WHERE u.status = 'deleted'
           AND (EXISTS (SELECT FROM directory_roleassignment r WHERE r.user_id = u.id)
                OR EXISTS (SELECT FROM directory_apitoken k WHERE k.user_id = u.id AND k.revoked_at IS NULL))
        """,
    ),
    Invariant(
        "I-24",
        "who left holds no license an hour after the time for which it is kept",
        """
        SELECT a.id, a.tenant_id, a.user_id, u.status FROM directory_user u
          JOIN directory_tenant t ON t.id = u.tenant_id
          JOIN licensing_assignment a ON a.user_id = u.id AND a.ended_at IS NULL
         WHERE u.status = 'deleted' AND u.deleted_at < %(at)s - interval '1 hour'
            OR u.status = 'disabled'
               AND u.disabled_at + make_interval(days => t.seats_kept_days) < %(at)s - interval '1 hour'
        """,
    ),
    Invariant(
        "I-26",
        "neither the app nor the worker can change the audit trail",
        """
        SELECT r.rolname, p.privilege FROM pg_roles r
         CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p(privilege)
         WHERE r.rolname IN (%(app)s, %(worker)s)
           AND has_table_privilege(r.oid, 'directory_auditentry', p.privilege)
        """,
    ),
)


def violations(*, at: datetime, only: Collection[str] = ()) -> list[Violation]:
    """Every row that breaks an invariant now, at most `SHOWN` of each query; `only` names numbers to ask.

    `at` is the instant by the clock that decides what is due. Reads under the worker's login unless the
    caller is already under another.

    :raises WrongLogin: under the app's login.
    """
    conn = connection()
    if conn.alias == "default":
        with use_login("worker"):
            return violations(at=at, only=only)
    _refuse_the_app(conn)
    found = [
        Violation(invariant.number, invariant.rule, row)
        for invariant in INVARIANTS
        if not only or invariant.number in only
        for row in _rows(conn, invariant.query, at)
    ]
    if not only or "I-03" in only:
        found += _pointing_across(conn)
    if not only or "I-21" in only:
        rule = "the wall between tenants stands"
        found += [Violation("I-21", rule, {"problem": problem}) for problem in check_walls(conn.alias)]
    return sorted(found, key=lambda violation: violation.number)


def _refuse_the_app(conn: BaseDatabaseWrapper) -> None:
    with conn.cursor() as cursor:
        cursor.execute("SELECT current_user")
        login = cursor.fetchone()[0]
    if login == settings.DATABASES["default"]["USER"]:
        raise WrongLogin(login)


def _rows(conn: BaseDatabaseWrapper, query: str, at: datetime) -> Iterator[dict[str, Any]]:
    parameters = {
        "at": at,
        "trail": at - settings.AUDIT_KEPT,
        "app": settings.DATABASES["default"]["USER"],
        "worker": settings.DATABASES["worker"]["USER"],
    }
    with conn.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description or ()]
        for row in cursor.fetchmany(SHOWN):
            yield dict(zip(names, row, strict=True))


def _pointing_across(conn: BaseDatabaseWrapper) -> list[Violation]:
    """I-03: rows whose (id, tenant) pair has no counterpart, for every composite key of the schema.

    The keys themselves see to it; but one that was added by a login to which the rows were hidden was never
    compared with them (prototypes: forced row-level security makes validation vacuous).
    """
    found = []
    with conn.cursor() as cursor:
        cursor.execute(_PAIRS)
        pairs = cursor.fetchall()
        for name, table, column, target in pairs:
            query = sql.SQL(
                "SELECT child.id, child.tenant_id, child.{column} FROM {table} child"
                " WHERE child.{column} IS NOT NULL AND NOT EXISTS"
                " (SELECT FROM {target} t WHERE t.id = child.{column} AND t.tenant_id = child.tenant_id)"
                " LIMIT {shown}"
            ).format(
                column=sql.Identifier(column),
                table=sql.Identifier(table),
                target=sql.Identifier(target),
                shown=sql.Literal(SHOWN),
            )
            cursor.execute(query)
            found += [
                Violation("I-03", f"{name} stays within the tenant", {"id": i, "tenant_id": t, column: v})
                for i, t, v in cursor.fetchall()
            ]
    return found


_PAIRS = """
SELECT k.conname, child.relname, a.attname, target.relname
  FROM pg_constraint k
  JOIN pg_class child ON child.oid = k.conrelid
  JOIN pg_class target ON target.oid = k.confrelid
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) AND a.attname <> 'tenant_id'
 WHERE k.contype = 'f' AND cardinality(k.conkey) = 2
   AND EXISTS (SELECT FROM pg_attribute t
                WHERE t.attrelid = k.conrelid AND t.attnum = ANY (k.conkey) AND t.attname = 'tenant_id')
 ORDER BY 1
"""
