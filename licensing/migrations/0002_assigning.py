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
    chosen bigint[];
    given integer;
BEGIN
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    <<work>> BEGIN
        -- The lock first, then the judgement: what a competitor committed before is seen, what comes after waits.
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

        -- A holder is found by person and product, the one index that fits however the table has grown.
        SELECT array_agg(j.outcome ORDER BY j.n), array_agg(j.id ORDER BY j.n) FILTER (WHERE j.outcome = 'assigned')
          INTO outcomes, chosen
          FROM (SELECT a.n, a.id, CASE
                    WHEN a.n > array_position(p_users, a.id) THEN 'repeated'
                    WHEN u.id IS NULL OR u.status = 'deleted' THEN 'unknown'
                    WHEN u.status <> 'active' THEN 'disabled'
                    WHEN u.kind = 'guest' AND NOT s.guests_may_hold THEN 'guest'
                    ELSE coalesce((
                        SELECT CASE WHEN bool_or(l.subscription_id = s.id) THEN 'holds_license'
                                    WHEN NOT p_confirmed AND bool_or((
                                        SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                                         WHERE o.id = l.subscription_id)) THEN 'holds_product' END
                          FROM licensing_assignment l
                         WHERE l.user_id = a.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                    ), 'assigned') END AS outcome
                  FROM unnest(p_users) WITH ORDINALITY AS a(id, n)
                  LEFT JOIN directory_user u ON u.id = a.id AND u.tenant_id = p_tenant) j;

        given := cardinality(chosen);
        IF given > s.free THEN
            SELECT array_agg(CASE WHEN o.outcome = 'assigned' AND o.place > s.free THEN 'no_seat' ELSE o.outcome END
                             ORDER BY o.n)
              INTO outcomes
              FROM (SELECT outcome, n, row_number() OVER (PARTITION BY outcome ORDER BY n) AS place
                      FROM unnest(outcomes) WITH ORDINALITY AS x(outcome, n)) o;
            chosen := chosen[1:s.free];
            given := cardinality(chosen);
        END IF;
        IF given IS NULL OR given = 0 THEN
            EXIT work;
        END IF;

        UPDATE commerce_subscription SET assigned = assigned + given
         WHERE id = s.id AND assigned + given <= quantity;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no seat left' USING ERRCODE = 'check_violation',
                CONSTRAINT = 'commerce_subscription_seats';
        END IF;
        WITH rows_given AS (
            INSERT INTO licensing_assignment
                   (tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by_id, assigned_by,
                    ended_by)
            SELECT p_tenant, s.id, c.id, s.product_id, p_at, p_actor, p_label, ''
              FROM unnest(chosen) WITH ORDINALITY AS c(id, n) ORDER BY c.n
            RETURNING id, user_id
        )
        INSERT INTO directory_auditentry
               (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
                correlation_id, target_type, target_id, target_label, before, after)
        SELECT p_tenant, p_at, 'licensing.license.assigned', p_actor, p_home, p_label, p_behalf, p_door,
               p_correlation, 'subscription', p_subscription::text, left(s.name, 200), NULL,
               jsonb_build_object('user_id', r.user_id, 'assignment_id', r.id,
                                  'user', (SELECT u.name FROM directory_user u WHERE u.id = r.user_id))
          FROM rows_given r;
        INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
        VALUES (p_tenant, s.id, p_at, 'license_assigned', p_label,
                jsonb_build_object('count', given, 'user_ids', to_jsonb(chosen[1:5])));
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
        SELECT u.id, u.product_id, u.owner_kind, u.owner_user_id, u.quantity - u.assigned AS free, p.name
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

        -- By person and product, as above; `+ 0` keeps the planner from walking all of the subscription's rows.
        WITH rows_ended AS (
            UPDATE licensing_assignment l SET ended_at = p_at, ended_by_id = p_actor, ended_by = p_label
             WHERE l.user_id = ANY (p_users) AND l.product_id = s.product_id AND l.ended_at IS NULL
               AND l.subscription_id + 0 = s.id
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
                   CASE WHEN p_gives_back THEN 'licensing.license.given_back'
                        ELSE 'licensing.license.unassigned' END,
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
