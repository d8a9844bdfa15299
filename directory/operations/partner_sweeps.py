"""What time does to relationships: invitations lapse, the last weeks are announced, ends come or move (product §12).

Each sweep is one statement a batch under the worker's login: rows, both trails and the notices together or not at all,
so it can be killed, run again, and run twice at once. Access hangs on none of them: it ends at `ends_at` by itself.
"""

from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings

from config.kit.tenancy import atomic, connection, use_login
from directory.models.partners import EXTENSION
from directory.operations.mail import QUEUE_SQL

BATCH = 1000
# What extends is moved so long before its end that nobody is without access in between.
AHEAD = "1 day"
# Days before the end of a relationship on which both sides are told of it, if it is as long.
TOLD_BEFORE = (30, 7)


class Swept(NamedTuple):
    """How many of each."""

    lapsed: int
    extended: int
    ended: int
    announced: int


def sweep_relationships(*, at: datetime) -> Swept:
    """Lapse, extend, end and announce all that is due at `at`."""
    return Swept(
        lapsed=_run(_LAPSE, at),
        extended=_run(_EXTEND, at),
        ended=_run(_END, at),
        announced=_run_once(_ANNOUNCE, at),
    )


def _run(statement: str, at: datetime) -> int:
    """Run a statement until it finds less than a batch; how many rows it changed."""
    changed = 0
    while True:
        rows = _run_once(statement, at)
        changed += rows
        if rows < BATCH:
            return changed


def _run_once(statement: str, at: datetime) -> int:
    parameters: dict[str, Any] = {
        "at": at,
        "limit": BATCH,
        "step": EXTENSION,
        "step_seconds": EXTENSION.total_seconds(),
        "pages": f"{settings.PUBLIC_URL}/admin/relationships/",
        "customers": f"{settings.PUBLIC_URL}/admin/customers/",
        "days": list(TOLD_BEFORE),
    }
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.fetchone()[0])


# Both organizations of each row of `source`, as they are told of it.
_SIDES = """
    SELECT r.*, side.tenant_id AS side_id, side.is_partner, side.other, t.name AS organization, t.time_zone
      FROM {source} r
     CROSS JOIN LATERAL (VALUES (r.tenant_id, false, r.partner_name), (r.partner_tenant_id, true, r.customer_name))
                side(tenant_id, is_partner, other)
      JOIN directory_tenant t ON t.id = side.tenant_id
"""

_TRAIL = """
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id, target_type,
            target_id, target_label, before, after)
    SELECT side_id, %(at)s, '{code}', side_id, 'Seatkeeper', '', 'job', '', 'relationship', key::text, name,
           {before}, {after}
      FROM {source}
"""

# The global admins of a side, one row each, so that whoever leaves meanwhile is not replaced.
_ADMINS = """
      JOIN directory_roleassignment role ON role.tenant_id = {side} AND role.role = 'global_admin'
      JOIN directory_user u ON u.id = role.user_id AND u.tenant_id = role.tenant_id AND u.status = 'active'
"""

_LAPSE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM directory_invitation WHERE state = 'waiting' AND expires_at <= %(at)s
     ORDER BY expires_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), lapsed AS (
    UPDATE directory_invitation i SET state = 'lapsed', decided_at = %(at)s FROM due WHERE i.id = due.id
    RETURNING i.*
), seen AS (
    SELECT l.*, side.tenant_id AS side_id FROM lapsed l
     CROSS JOIN LATERAL (VALUES (l.tenant_id), (l.customer_tenant_id)) side(tenant_id)
     WHERE side.tenant_id IS NOT NULL
), trail AS (
    {
    _TRAIL.format(
        code="directory.relationship.lapsed",
        before="jsonb_build_object('state', 'waiting')",
        after="jsonb_build_object('state', 'lapsed')",
        source="seen",
    )
}
), mail AS (
    SELECT l.tenant_id, 'relationship_decided' AS kind, l.key::text AS event_key, u.id AS owner_id,
           jsonb_build_object('organization', t.name, 'time_zone', t.time_zone, 'name', l.name, 'outcome', 'lapsed',
                              'customer', l.customer_domain, 'roles', l.roles, 'struck', '[]'::jsonb,
                              'link', %(pages)s::text || l.key || '/') AS context
      FROM lapsed l JOIN directory_tenant t ON t.id = l.tenant_id
    {_ADMINS.format(side="l.tenant_id")}
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT count(*) FROM lapsed
"""  # noqa: S608 - parts of statements of this module

# The end moves by as many steps as are needed to lie ahead, also after a long outage.
_EXTEND = f"""
WITH due AS MATERIALIZED (
    SELECT id, ends_at AS ended_at FROM directory_relationship
     WHERE status = 'active' AND extends AND ends_at <= %(at)s + interval '{AHEAD}'
     ORDER BY ends_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), extended AS (
    UPDATE directory_relationship r
       SET ends_at = due.ended_at + %(step)s::interval * (
               1 + greatest(0, floor(extract(epoch FROM %(at)s + interval '{AHEAD}' - due.ended_at)
                                     / %(step_seconds)s))::int)
      FROM due WHERE r.id = due.id
    RETURNING r.*, due.ended_at
), sided AS ({_SIDES.format(source="extended")}
), trail AS (
    {
    _TRAIL.format(
        code="directory.relationship.extended",
        before="jsonb_build_object('ends_at', ended_at)",
        after="jsonb_build_object('ends_at', ends_at)",
        source="sided",
    )
}
)
SELECT count(*) FROM extended
"""  # noqa: S608

_END = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM directory_relationship WHERE status = 'active' AND NOT extends AND ends_at <= %(at)s
     ORDER BY ends_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE directory_relationship r SET status = 'ended' FROM due WHERE r.id = due.id RETURNING r.*
), sided AS MATERIALIZED ({_SIDES.format(source="ended")}
), trail AS (
    {
    _TRAIL.format(
        code="directory.relationship.ended",
        before="jsonb_build_object('status', 'active')",
        after="jsonb_build_object('status', 'ended', 'ends_at', ends_at)",
        source="sided",
    )
}
), reader AS (
    SELECT b.key, b.side_id, u.id AS user_id, true AS is_admin FROM sided b {_ADMINS.format(side="b.side_id")}
    UNION ALL
    SELECT b.key, b.side_id, a.user_id, false FROM sided b
      JOIN directory_relationshipassignment a ON a.relationship_id = b.id AND b.is_partner
      JOIN directory_user u ON u.id = a.user_id AND u.status = 'active'
     WHERE NOT EXISTS (SELECT FROM directory_roleassignment role
                        WHERE role.user_id = a.user_id AND role.role = 'global_admin')
), mail AS (
    SELECT b.side_id AS tenant_id, 'relationship_ended' AS kind, b.key::text AS event_key, reader.user_id AS owner_id,
           jsonb_build_object('organization', b.organization, 'time_zone', b.time_zone, 'name', b.name,
                              'other', b.other, 'is_partner', b.is_partner, 'by', '', 'ended_at', b.ends_at,
                              'link', CASE WHEN reader.is_admin THEN %(pages)s::text || b.key || '/' ELSE %(customers)s END
           ) AS context
      FROM sided b JOIN reader ON reader.key = b.key AND reader.side_id = b.side_id
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT count(*) FROM ended
"""  # noqa: S608

# Told once for each end and day; an outage skips what is past.
_ANNOUNCE = f"""
WITH near AS MATERIALIZED (
    SELECT r.*, step.n FROM directory_relationship r
     CROSS JOIN LATERAL (
           SELECT min(n) AS n FROM unnest(%(days)s::int[]) n
            WHERE r.ends_at <= %(at)s + make_interval(days => n)
              AND r.starts_at < r.ends_at - make_interval(days => n)
     ) step
     WHERE r.status = 'active' AND r.ends_at > %(at)s AND r.ends_at <= %(at)s + interval '31 days'
       AND step.n IS NOT NULL
), sided AS ({_SIDES.format(source="near")}
), mail AS (
    SELECT b.side_id AS tenant_id, 'relationship_ending' AS kind, u.id AS owner_id,
           b.key || ':' || to_char(b.ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ':' || b.n AS event_key,
           jsonb_build_object('organization', b.organization, 'time_zone', b.time_zone, 'name', b.name,
                              'other', b.other, 'is_partner', b.is_partner, 'extends', b.extends,
                              'ends_at', b.ends_at, 'link', %(pages)s::text || b.key || '/') AS context
      FROM sided b
    {_ADMINS.format(side="b.side_id")}
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT count(*) FROM mails
"""  # noqa: S608
