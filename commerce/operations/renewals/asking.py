"""Reminders to purchasers who were asked to cancel (product §10)."""

from datetime import datetime

from django.conf import settings

from commerce.models import CancelRequest
from commerce.operations.renewals.telling import ABOUT_SQL, JOIN_SQL, QUEUE_SQL, parameters
from commerce.periods import DAYS_LATER_SQL
from config.kit.tenancy import atomic, connection, use_login


def remind_asked(*, at: datetime, limit: int | None = None) -> int:
    """Remind every purchaser who was asked to cancel and has not answered, on the days whose turn it is; how many.

    Each reminder is sent once; after an outage the latest alone. Nobody who left gets one. Worker's login, in
    batches of one statement; any number may run side by side.
    """
    most = limit or settings.RENEWAL_BATCH
    told: int = 0
    with use_login("worker"):
        while True:
            with atomic(), connection().cursor() as cursor:
                cursor.execute(_REMIND, parameters() | {"at": at, "limit": most})
                looked_at, mails = cursor.fetchone()
            told += mails
            if looked_at < most:
                return told


_TELLS_AT = DAYS_LATER_SQL.format(instant="d.asked_at", days="n", zone="s.time_zone")
_DAYS = f"ARRAY[{', '.join(str(days) for days in CancelRequest.REMINDED)}]"

_REMIND = f"""
WITH due AS MATERIALIZED (
    SELECT r.* FROM commerce_cancelrequest r WHERE r.next_reminder_at <= %(at)s
     ORDER BY r.next_reminder_at, r.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), planned AS MATERIALIZED (
    SELECT d.*, step.reached, step.next_at
      FROM due d JOIN commerce_subscription s ON s.id = d.subscription_id
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE tells_at <= %(at)s) AS reached,
                  min(tells_at) FILTER (WHERE tells_at > %(at)s) AS next_at
             FROM (SELECT {_TELLS_AT} AS tells_at FROM unnest({_DAYS}) n) steps
     ) step
), moved AS (
    UPDATE commerce_cancelrequest r SET reminders = p.reached, next_reminder_at = p.next_at
      FROM planned p WHERE r.id = p.id
), mail AS MATERIALIZED (
    SELECT p.tenant_id, 'cancel_request' AS kind, p.purchaser_id AS owner_id,
           p.id || ':' || p.reached AS event_key,
           {ABOUT_SQL} || jsonb_build_object(
               'stage', 'reminder', 'by', p.asked_by, 'partner', '', 'message', p.message, 'asked_at', p.asked_at,
               'is_last', p.next_at IS NULL, 'assigned', s.assigned, 'price_minor', s.period_price_minor,
               'renews_at', s.term_end, 'next_charge_at', s.due_at,
               'link', %(public_url)s || '/admin/billing/your-products/' || s.key || '/cancel/') AS context
      FROM planned p JOIN commerce_subscription s ON s.id = p.subscription_id {JOIN_SQL}
      JOIN directory_user u ON u.id = p.purchaser_id AND u.status = 'active'
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT (SELECT count(*) FROM planned), (SELECT count(*) FROM mails)
"""  # noqa: S608
