"""Licenses that end with what they hang on: their subscription, or the account of who held them."""

from collections.abc import Sequence
from datetime import datetime

from commerce.hooks import Deletion
from config.kit.actors import Actor
from config.kit.tenancy import atomic, connection
from licensing.operations.assignments.changing import serve_waiting

SYSTEM = "Seatkeeper"

# The people first, so that none is enabled meanwhile; then their subscriptions in order, as every sweep locks them.
_FREE = """
WITH gone AS MATERIALIZED (
    SELECT u.id, u.name, u.status FROM directory_user u JOIN directory_tenant t ON t.id = u.tenant_id
     WHERE u.status <> 'active'
       AND (u.status = 'deleted' OR u.disabled_at + make_interval(days => t.seats_kept_days) <= %(at)s)
       AND (%(only)s::bigint[] IS NULL OR u.id = ANY (%(only)s::bigint[]) AND u.tenant_id = %(tenant)s)
       AND EXISTS (SELECT FROM licensing_assignment l WHERE l.user_id = u.id AND l.ended_at IS NULL)
       FOR KEY SHARE OF u
), held AS MATERIALIZED (
    SELECT s.id FROM commerce_subscription s
     WHERE s.id IN (SELECT l.subscription_id FROM licensing_assignment l JOIN gone ON gone.id = l.user_id
                     WHERE l.ended_at IS NULL)
     ORDER BY s.id FOR NO KEY UPDATE
), rows_ended AS (
    UPDATE licensing_assignment l SET ended_at = %(at)s, ended_by_id = %(actor)s, ended_by = %(by)s
      FROM gone, held WHERE l.user_id = gone.id AND l.subscription_id = held.id AND l.ended_at IS NULL
    RETURNING l.id, l.tenant_id, l.subscription_id, l.user_id, gone.name, gone.status
), total AS (
    SELECT tenant_id, subscription_id, count(*)::int AS ended, (array_agg(user_id ORDER BY id))[1:5] AS user_ids
      FROM rows_ended GROUP BY 1, 2
), counter AS (
    UPDATE commerce_subscription s SET assigned = s.assigned - total.ended
      FROM total WHERE s.id = total.subscription_id
    RETURNING s.id, s.key, s.product_sort
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
            target_type, target_id, target_label, before)
    SELECT r.tenant_id, %(at)s, 'licensing.license.freed', %(actor)s, coalesce(%(home)s, r.tenant_id), %(by)s,
           %(behalf)s, %(door)s, %(correlation)s, 'subscription', counter.key::text, counter.product_sort,
           jsonb_build_object('user_id', r.user_id, 'user', r.name, 'assignment_id', r.id, 'because', r.status)
      FROM rows_ended r JOIN counter ON counter.id = r.subscription_id
    RETURNING 1
), told AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, subscription_id, %(at)s, 'licenses_freed', %(by)s,
           jsonb_build_object('count', ended, 'user_ids', to_jsonb(user_ids))
      FROM total
    RETURNING 1
)
SELECT count(*), coalesce(array_agg(DISTINCT subscription_id), '{}') FROM rows_ended
"""
_WITH_LINE = """
SELECT DISTINCT subscription_id FROM licensing_waitingplace
 WHERE subscription_id = ANY (%s) AND ended_at IS NULL ORDER BY 1
"""
_END = """
WITH rows_ended AS (
    UPDATE licensing_assignment SET ended_at = %(at)s, ended_by = %(by)s
     WHERE subscription_id = ANY (%(ids)s::bigint[]) AND ended_at IS NULL
    RETURNING tenant_id, subscription_id
), total AS (
    SELECT tenant_id, subscription_id, count(*)::int AS ended FROM rows_ended GROUP BY 1, 2
), counter AS (
    UPDATE commerce_subscription s SET assigned = s.assigned - total.ended
      FROM total WHERE s.id = total.subscription_id
    RETURNING s.tenant_id, s.key, s.product_sort, total.ended
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id, target_type,
            target_id, target_label, after)
    SELECT tenant_id, %(at)s, 'licensing.licenses.ended', tenant_id, %(by)s, '', 'job', '', 'subscription',
           key::text, product_sort, jsonb_build_object('count', ended)
      FROM counter
    RETURNING 1
), told AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, subscription_id, %(at)s, 'licenses_ended', %(by)s, jsonb_build_object('count', ended)
      FROM total
    RETURNING 1
)
SELECT coalesce(sum(ended), 0) FROM total
"""


def end_assignments(deletion: Deletion) -> int:
    """End every live license of deleted subscriptions, whatever their tenants; returns how many.

    Registered on `commerce.hooks.subscriptions_deleted`; one statement, in the sweep's transaction and under
    its locks. One audit row and one history row for each subscription that had holders.
    """
    with connection().cursor() as cursor:
        cursor.execute(_END, {"ids": list(deletion.subscription_ids), "at": deletion.at, "by": SYSTEM})
        return int(cursor.fetchone()[0])


def free_licenses_of(*, actor: Actor, user_ids: Sequence[int], at: datetime) -> int:
    """End the licenses of people of the acting tenant who are deleted, or disabled for longer than they are kept.

    For whoever just left, in the actor's name; nobody else's. Returns how many.
    """
    return _free(actor.label, at, actor=actor, user_ids=user_ids)


def free_licenses_of_leavers(*, at: datetime) -> int:
    """End the licenses of everybody who is deleted, or disabled for longer than their organization keeps them.

    Of all tenants, under the worker's login; how many. It waits for who assigns or enables (F-22).
    Running it twice, or twice at once, changes nothing more.
    """
    return _free(SYSTEM, at)


def _free(by: str, at: datetime, *, actor: Actor | None = None, user_ids: Sequence[int] | None = None) -> int:
    """The seats go to who waits, under the same locks and in the same transaction: nobody sees them free."""
    with atomic(), connection().cursor() as cursor:
        cursor.execute(
            _FREE,
            {
                "at": at,
                "by": by,
                "only": None if user_ids is None else list(user_ids),
                "tenant": actor.tenant_id if actor else None,
                "actor": actor.user_id if actor else None,
                "home": actor.home_tenant_id if actor else None,
                "behalf": actor.relationship_label if actor else "",
                "door": actor.door if actor else "job",
                "correlation": actor.correlation_id if actor else "",
            },
        )
        freed, subscription_ids = cursor.fetchone()
        cursor.execute(_WITH_LINE, [subscription_ids])
        waited_for = [row[0] for row in cursor.fetchall()]
    for subscription_id in waited_for:
        serve_waiting(subscription_id=subscription_id, at=at)
    return int(freed)
