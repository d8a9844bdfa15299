"""The end of a subscription's life: Active > Expired > Disabled > Deleted (product §5.1)."""

import uuid
from datetime import datetime

from django.conf import settings

from commerce.hooks import Deletion, subscriptions_deleted
from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.renewals.batches import Batch, Place, Step, Swept, Take, sweep
from commerce.operations.renewals.parking import AUDIT_SQL, HISTORY_SQL
from commerce.operations.renewals.telling import ABOUT_SQL, JOIN_SQL, QUEUE_SQL, parameters
from commerce.periods import DAYS_LATER_SQL
from config.kit.tenancy import connection


def expire_due(*, at: datetime, limit: int | None = None) -> Swept:
    """Make every transition towards Deleted that is due at `at`; in batches of `limit`.

    Each state's length counts from the instant at which the one before was due to end, however late the sweep:
    what a page showed as the next date is the next date. Assignments of deleted ones end in the same
    transaction (`commerce.hooks.subscriptions_deleted`). Who owns it is told when it expires and when access ends.
    Nothing while billing is paused: a copy may have forgotten who went on paying.
    """
    if not sweeps_may_run(at=at):
        return Swept()
    return sweep(STEP, at=at, limit=limit or settings.RENEWAL_BATCH)


def _expire(take: Take) -> Batch:
    with connection().cursor() as cursor:
        cursor.execute(_EXPIRE, take.parameters | parameters() | {"correlation": uuid.uuid4().hex})
        rows = cursor.fetchall()
    if not rows:
        return Batch(0, 0, None)
    deleted = [id_ for id_, _, state in rows if state == "deleted"]
    if deleted:
        subscriptions_deleted(Deletion(subscription_ids=deleted, at=take.at))
    return Batch(len(rows), 0, max(Place(due_at, id_) for id_, due_at, _ in rows))


STEP = Step(
    condition=(
        "s.state IN ('expired', 'disabled')"
        " OR (s.state = 'active' AND s.channel <> 'trial' AND NOT s.recurring_billing AND s.due_at >= s.term_end)"
    ),
    make=_expire,
)

_DISABLED_FROM = DAYS_LATER_SQL.format(instant="d.due_at", days="product.expired_days", zone="d.time_zone")
_DELETED_FROM = DAYS_LATER_SQL.format(instant="d.due_at", days="product.disabled_days", zone="d.time_zone")

_EXPIRE = f"""
WITH due AS MATERIALIZED (
    SELECT s.id, s.tenant_id, s.key, s.due_at, s.state, s.time_zone, s.product_id
    {STEP.due_sql}
    FOR NO KEY UPDATE OF s SKIP LOCKED
), next AS MATERIALIZED (
    SELECT d.id, d.tenant_id, d.key, d.due_at, product.name AS label, d.state AS was,
           CASE d.state WHEN 'active' THEN 'expired' WHEN 'expired' THEN 'disabled' ELSE 'deleted' END AS code,
           CASE d.state WHEN 'active' THEN {_DISABLED_FROM} WHEN 'expired' THEN {_DELETED_FROM} END AS next_due
      FROM due d JOIN commerce_product product ON product.id = d.product_id
), moved AS (
    UPDATE commerce_subscription s
       SET state = n.code, due_at = n.next_due, version = s.version + 1,
           expired_at = CASE n.code WHEN 'expired' THEN n.due_at ELSE s.expired_at END,
           disabled_at = CASE n.code WHEN 'disabled' THEN n.due_at ELSE s.disabled_at END,
           deleted_at = CASE n.code WHEN 'deleted' THEN n.due_at ELSE s.deleted_at END
      FROM next n WHERE s.id = n.id
), told AS MATERIALIZED (
    SELECT tenant_id, id, key, label, code, jsonb_build_object('since', due_at, 'until', next_due) AS facts,
           jsonb_build_object('state', was) AS before, jsonb_build_object('state', code) AS after
      FROM next
), history AS ({HISTORY_SQL.format(source="told")}), audit AS ({AUDIT_SQL.format(source="told")}), mail AS MATERIALIZED (
    SELECT s.tenant_id, 'expired' AS kind, s.owner_user_id AS owner_id,
           s.key || ':' || n.code || ':' || to_char(n.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS event_key,
           {ABOUT_SQL} || jsonb_build_object('stage', n.code, 'since_at', n.due_at, 'until_at', n.next_due,
                                             'holders', s.assigned) AS context
      FROM next n JOIN commerce_subscription s ON s.id = n.id {JOIN_SQL}
     WHERE n.code <> 'deleted'
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT id, due_at, code FROM next
"""  # noqa: S608
