"""The two statements that move seats: rows and counter together, judged under the subscription's row lock.

SECURITY INVOKER: they run under row-level security with the rights of whoever calls. Each sets the tenant
for its own length, so that one call outside a transaction is the whole operation, in one round trip.
"""

from django.db import migrations

# The functions set and restore the tenant themselves: only a superuser may name a custom setting here.
SETTINGS = """
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
"""

ASSIGN = f"""
CREATE FUNCTION licensing_assign(
    p_tenant bigint, p_subscription uuid, p_users bigint[], p_confirmed boolean, p_at timestamptz,
    p_may text[], p_sees text[],
    p_actor bigint, p_home bigint, p_label text, p_behalf text, p_door text, p_correlation text,
    OUT verdict text, OUT outcomes text[], OUT free integer
) LANGUAGE plpgsql VOLATILE {SETTINGS} AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    s record;
    given integer;
    counted integer;
BEGIN
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    <<work>> BEGIN

        -- The lock first, then the judgement: what a competitor committed before it is seen, what comes after waits.
        SELECT u.id, u.product_id, u.state, u.owner_kind, u.owner_user_id, u.quantity - u.assigned AS free,
               p.guests_may_hold, p.name
          INTO s
          FROM commerce_subscription u JOIN commerce_product p ON p.id = u.product_id
         WHERE u.key = p_subscription AND u.tenant_id = p_tenant
           FOR NO KEY UPDATE OF u;
        IF NOT FOUND THEN
            verdict := 'not_visible';
            EXIT work;
        END IF;
        IF NOT ('all' = ANY (p_may) OR 'own' = ANY (p_may) AND s.owner_user_id IS NOT DISTINCT FROM p_actor
                                                           AND s.owner_kind = 'person'
                                    OR 'org' = ANY (p_may) AND s.owner_kind = 'organization') THEN
            verdict := CASE WHEN 'all' = ANY (p_sees)
                              OR 'own' = ANY (p_sees) AND s.owner_user_id IS NOT DISTINCT FROM p_actor
                                                      AND s.owner_kind = 'person'
                              OR 'org' = ANY (p_sees) AND s.owner_kind = 'organization'
                            THEN 'not_allowed' ELSE 'not_visible' END;
            EXIT work;
        END IF;
        free := s.free;
        IF s.state NOT IN ('active', 'expired') THEN
            verdict := 'not_assignable';
            EXIT work;
        END IF;
        verdict := 'judged';

        WITH asked AS MATERIALIZED (
            SELECT a.id, a.n, row_number() OVER (PARTITION BY a.id ORDER BY a.n) AS time
              FROM unnest(p_users) WITH ORDINALITY AS a(id, n)
        ), judged AS MATERIALIZED (
            SELECT a.n, a.id, u.name, CASE
                WHEN a.time > 1 THEN 'repeated'
                WHEN u.id IS NULL OR u.status = 'deleted' THEN 'unknown'
                WHEN u.status <> 'active' THEN 'disabled'
                WHEN u.kind = 'guest' AND NOT s.guests_may_hold THEN 'guest'
                WHEN EXISTS (SELECT FROM licensing_assignment l
                              WHERE l.subscription_id = s.id AND l.user_id = a.id AND l.ended_at IS NULL)
                    THEN 'holds_license'
                WHEN NOT p_confirmed AND EXISTS (
                        SELECT FROM licensing_assignment l JOIN commerce_subscription o ON o.id = l.subscription_id
                         WHERE l.user_id = a.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                           AND o.state IN ('active', 'expired'))
                    THEN 'holds_product'
                ELSE 'assigned' END AS outcome
              FROM asked a LEFT JOIN directory_user u ON u.id = a.id AND u.tenant_id = p_tenant
        ), seated AS MATERIALIZED (
            SELECT n, id, name, CASE
                WHEN outcome = 'assigned' AND row_number() OVER (PARTITION BY outcome ORDER BY n) > s.free
                    THEN 'no_seat'
                ELSE outcome END AS outcome
              FROM judged
        ), rows_given AS (
            INSERT INTO licensing_assignment
                   (tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by_id, assigned_by,
                    ended_by)
            SELECT p_tenant, s.id, id, s.product_id, p_at, p_actor, p_label, ''
              FROM seated WHERE outcome = 'assigned' ORDER BY n
            RETURNING id, user_id
        ), total AS (
            SELECT count(*)::int AS given FROM rows_given
        ), counter AS (
            UPDATE commerce_subscription u SET assigned = u.assigned + total.given
              FROM total
             WHERE u.id = s.id AND total.given > 0 AND u.assigned + total.given <= u.quantity
            RETURNING u.id
        ), audited AS (
            INSERT INTO directory_auditentry
                   (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
                    correlation_id, target_type, target_id, target_label, before, after)
            SELECT p_tenant, p_at, 'licensing.license.assigned', p_actor, p_home, p_label, p_behalf, p_door,
                   p_correlation, 'subscription', p_subscription::text, left(s.name, 200), NULL,
                   jsonb_build_object('user_id', r.user_id, 'user', w.name, 'assignment_id', r.id)
              FROM rows_given r JOIN seated w ON w.id = r.user_id AND w.outcome = 'assigned'
            RETURNING 1
        ), told AS (
            INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
            SELECT p_tenant, s.id, p_at, 'license_assigned', p_label,
                   jsonb_build_object('count', total.given, 'user_ids',
                       (SELECT jsonb_agg(x.user_id) FROM (SELECT user_id FROM rows_given ORDER BY id LIMIT 5) x))
              FROM total WHERE total.given > 0
            RETURNING 1
        )
        SELECT array_agg(w.outcome ORDER BY w.n), (SELECT total.given FROM total),
               (SELECT count(*) FROM counter)
          INTO outcomes, given, counted
          FROM seated w;

        -- The rows stand although the counter refused them: take both back.
        IF given > 0 AND counted = 0 THEN
            RAISE EXCEPTION 'no seat left' USING ERRCODE = 'check_violation',
                CONSTRAINT = 'commerce_subscription_seats';
        END IF;
        free := s.free - given;
    END work;
    PERFORM set_config('seatkeeper.tenant_id', caller, true);
END $function$
"""

UNASSIGN = f"""
CREATE FUNCTION licensing_unassign(
    p_tenant bigint, p_subscription uuid, p_users bigint[], p_gives_back boolean, p_at timestamptz,
    p_may text[], p_sees text[],
    p_actor bigint, p_home bigint, p_label text, p_behalf text, p_door text, p_correlation text,
    OUT verdict text, OUT outcomes text[], OUT free integer
) LANGUAGE plpgsql VOLATILE {SETTINGS} AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    s record;
    taken integer;
BEGIN
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    <<work>> BEGIN

        SELECT u.id, u.owner_kind, u.owner_user_id, u.quantity - u.assigned AS free, p.name
          INTO s
          FROM commerce_subscription u JOIN commerce_product p ON p.id = u.product_id
         WHERE u.key = p_subscription AND u.tenant_id = p_tenant
           FOR NO KEY UPDATE OF u;
        IF NOT FOUND THEN
            verdict := 'not_visible';
            EXIT work;
        END IF;
        IF p_gives_back THEN
            IF p_users IS DISTINCT FROM ARRAY[p_actor] THEN
                verdict := 'not_visible';
                EXIT work;
            END IF;
        ELSIF NOT ('all' = ANY (p_may) OR 'own' = ANY (p_may) AND s.owner_user_id IS NOT DISTINCT FROM p_actor
                                                              AND s.owner_kind = 'person'
                                       OR 'org' = ANY (p_may) AND s.owner_kind = 'organization') THEN
            verdict := CASE WHEN 'all' = ANY (p_sees)
                              OR 'own' = ANY (p_sees) AND s.owner_user_id IS NOT DISTINCT FROM p_actor
                                                      AND s.owner_kind = 'person'
                              OR 'org' = ANY (p_sees) AND s.owner_kind = 'organization'
                            THEN 'not_allowed' ELSE 'not_visible' END;
            EXIT work;
        END IF;
        verdict := 'judged';

        WITH rows_ended AS (
            UPDATE licensing_assignment l SET ended_at = p_at, ended_by_id = p_actor, ended_by = p_label
             WHERE l.subscription_id = s.id AND l.user_id = ANY (p_users) AND l.ended_at IS NULL
            RETURNING l.id, l.user_id
        ), total AS (
            SELECT count(*)::int AS taken FROM rows_ended
        ), counter AS (
            UPDATE commerce_subscription u SET assigned = u.assigned - total.taken
              FROM total WHERE u.id = s.id AND total.taken > 0
            RETURNING 1
        ), audited AS (
            INSERT INTO directory_auditentry
                   (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
                    correlation_id, target_type, target_id, target_label, before, after)
            SELECT p_tenant, p_at,
                   CASE WHEN p_gives_back THEN 'licensing.license.given_back' ELSE 'licensing.license.unassigned' END,
                   p_actor, p_home, p_label, p_behalf, p_door, p_correlation, 'subscription', p_subscription::text,
                   left(s.name, 200),
                   jsonb_build_object('user_id', r.user_id, 'user', u.name, 'assignment_id', r.id), NULL
              FROM rows_ended r JOIN directory_user u ON u.id = r.user_id
            RETURNING 1
        ), told AS (
            INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
            SELECT p_tenant, s.id, p_at,
                   CASE WHEN p_gives_back THEN 'license_given_back' ELSE 'license_unassigned' END, p_label,
                   jsonb_build_object('count', total.taken, 'user_ids',
                       (SELECT jsonb_agg(x.user_id) FROM (SELECT user_id FROM rows_ended ORDER BY id LIMIT 5) x))
              FROM total WHERE total.taken > 0
            RETURNING 1
        )
        SELECT array_agg(CASE WHEN r.id IS NULL THEN 'not_held' ELSE 'unassigned' END ORDER BY a.n),
               (SELECT total.taken FROM total)
          INTO outcomes, taken
          FROM unnest(p_users) WITH ORDINALITY AS a(id, n) LEFT JOIN rows_ended r ON r.user_id = a.id;
        free := s.free + taken;
    END work;
    PERFORM set_config('seatkeeper.tenant_id', caller, true);
END $function$
"""

SIGNATURE = "(bigint, uuid, bigint[], boolean, timestamptz, text[], text[], bigint, bigint, text, text, text, text)"


class Migration(migrations.Migration):
    dependencies = [
        ("licensing", "0001_initial"),
        ("commerce", "0001_initial"),
        ("directory", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(ASSIGN, f"DROP FUNCTION licensing_assign{SIGNATURE}"),
        migrations.RunSQL(UNASSIGN, f"DROP FUNCTION licensing_unassign{SIGNATURE}"),
    ]
