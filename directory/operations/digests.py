"""One mail a day in place of one at once, for who wants it so (product §3.5; docs/notices.md).

What waits for a digest is a row of the outbox in that state, due the morning after by the organization's clock. A
sweep takes all that is due, makes one mail for each person and day, and marks the rows as listed, in one statement:
whatever was missed or crashed, nothing is lost and nothing is listed twice.
"""

from datetime import datetime

from django.conf import settings

from config.kit.tenancy import atomic, connection, use_login

PEOPLE_A_BATCH = 500


def queue_digests(*, at: datetime, limit: int = PEOPLE_A_BATCH) -> int:
    """Queue the digests that are due, one for each person and day of the organization's zone; how many.

    Of who left, or has switched the kind off by now, the rows stay in the portal only. How a person wants later ones
    is not asked. Locks the people first, as whoever changes what they want does. In batches of one statement, under
    the worker's login.
    """
    queued: int = 0
    with use_login("worker"):
        while True:
            with atomic(), connection().cursor() as cursor:
                cursor.execute(_GATHER, {"at": at, "limit": limit, "public_url": settings.PUBLIC_URL})
                people, mails = cursor.fetchone()
            queued += mails
            if people < limit:
                return queued


# The key names the first row that a digest lists, since a row is listed once: a purchase that comes late for its day
# has a digest of its own.
_GATHER = """
WITH people AS MATERIALIZED (
    SELECT u.id, u.status, u.email, coalesce(nullif(u.chosen_language, ''), u.language) AS language
      FROM directory_user u
     WHERE u.id IN (SELECT m.to_user_id FROM directory_outgoingmail m
                     WHERE m.state = 'digest' AND m.next_try_at <= %(at)s)
     ORDER BY u.id LIMIT %(limit)s
     FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT m.id, m.tenant_id, m.to_user_id, m.kind, m.created_at, m.context, p.email, p.language,
           p.status = 'active' AND p.email <> '' AS is_here
      FROM directory_outgoingmail m
      JOIN people p ON p.id = m.to_user_id
     WHERE m.state = 'digest' AND m.next_try_at <= %(at)s
     FOR UPDATE OF m
), judged AS MATERIALIZED (
    SELECT d.*, tenant.name AS organization, tenant.time_zone,
           (d.created_at AT TIME ZONE tenant.time_zone)::date AS day,
           d.is_here AND NOT EXISTS (SELECT FROM directory_mailpreference said
                                      WHERE said.user_id = d.to_user_id AND said.kind = d.kind AND NOT said.is_on)
               AS is_wanted
      FROM due d
      JOIN directory_tenant tenant ON tenant.id = d.tenant_id
), gathered AS (
    UPDATE directory_outgoingmail m
       SET state = CASE WHEN j.is_wanted THEN 'listed' ELSE 'portal' END
      FROM judged j WHERE m.id = j.id
), mailed AS (
    INSERT INTO directory_outgoingmail
           (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
            created_at, read_at, last_error)
    SELECT j.tenant_id, 'purchase_digest',
           'purchase_digest:' || j.day || ':' || min(j.id) || ':' || j.to_user_id,
           j.to_user_id, j.email, j.language,
           jsonb_build_object(
               'organization', j.organization, 'time_zone', j.time_zone, 'day_at', min(j.created_at),
               'count', count(*), 'vendor', coalesce(min(j.context ->> 'vendor'), ''),
               'link', %(public_url)s || '/my/notices/?topic=purchases',
               'purchases', jsonb_agg(j.context || jsonb_build_object(
                   'notice', %(public_url)s || '/my/notices/' || j.id || '/') ORDER BY j.created_at, j.id)),
           'queued', 0, %(at)s::timestamptz, %(at)s::timestamptz, %(at)s::timestamptz, ''
      FROM judged j
     WHERE j.is_wanted
     GROUP BY j.tenant_id, j.organization, j.time_zone, j.day, j.to_user_id, j.email, j.language
    RETURNING 1
)
SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM mailed)
"""
