"""Parking: one subscription that cannot be moved waits with its reason, the rest goes on."""

from datetime import datetime

from config.kit.tenancy import atomic, connection, use_login

# The row of the history and that of the audit trail, for the rows of `moved`: tenant_id, id, key, label,
# code, facts, before, after. Completed with the CTE that has them.
HISTORY_SQL = """
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, id, %(at)s, code, 'Seatkeeper', facts FROM {source}
"""
AUDIT_SQL = """
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
            correlation_id, target_type, target_id, target_label, before, after)
    SELECT tenant_id, %(at)s, 'commerce.subscription.' || code, NULL, tenant_id, 'Seatkeeper', '', 'job',
           %(correlation)s, 'subscription', key::text, left(label, 200), before, after FROM {source}
"""

_PARK = f"""
WITH moved AS (
    UPDATE commerce_subscription s
       SET parked_at = %(at)s, parked_reason = %(reason)s, version = s.version + 1
      FROM commerce_product p
     WHERE s.id = %(id)s AND p.id = s.product_id AND s.parked_at IS NULL AND s.due_at <= %(at)s
    RETURNING s.tenant_id, s.id, s.key, p.name AS label, 'parked' AS code,
              jsonb_build_object('reason', %(reason)s) AS facts, NULL::jsonb AS before,
              jsonb_build_object('reason', %(reason)s) AS after
), history AS ({HISTORY_SQL.format(source="moved")}), audit AS ({AUDIT_SQL.format(source="moved")})
SELECT count(*) FROM moved
"""  # noqa: S608

_UNPARK = f"""
WITH moved AS (
    UPDATE commerce_subscription s SET parked_at = NULL, parked_reason = '', version = s.version + 1
      FROM commerce_subscription old JOIN commerce_product p ON p.id = old.product_id
     WHERE s.id = ANY (%(ids)s::bigint[]) AND old.id = s.id AND s.parked_at IS NOT NULL
    RETURNING s.tenant_id, s.id, s.key, p.name AS label, 'unparked' AS code, '{{}}'::jsonb AS facts,
              jsonb_build_object('reason', old.parked_reason) AS before, NULL::jsonb AS after
), history AS ({HISTORY_SQL.format(source="moved")}), audit AS ({AUDIT_SQL.format(source="moved")})
SELECT count(*) FROM moved
"""  # noqa: S608


def park(subscription_id: int, *, reason: str, at: datetime) -> int:
    """Set one due subscription aside until someone has looked; returns how many (0 when no longer due)."""
    with atomic(), connection().cursor() as cursor:
        cursor.execute(_PARK, {"id": subscription_id, "reason": reason, "at": at, "correlation": ""})
        return int(cursor.fetchone()[0])


def unpark(*, subscription_ids: list[int], at: datetime) -> int:
    """Let the next sweep try these again, from where they stopped; returns how many were parked."""
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute(_UNPARK, {"ids": subscription_ids, "at": at, "correlation": ""})
        return int(cursor.fetchone()[0])
