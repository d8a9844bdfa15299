-- Take licenses back from a list of people, and give the seats that this frees to the first in the waiting list, under the
-- same row lock (docs/seats.md, docs/bulk.md). A seat from a group that a person takes or gives back leaves an exclusion,
-- so that the group does not give it again. Answers a verdict, an outcome for each person (`unassigned`, `not_held`), how
-- many more can be assigned, and the places in the line that got one. SECURITY INVOKER, as `licensing_assign`.
CREATE OR REPLACE FUNCTION licensing_unassign(
    p_tenant bigint, p_subscription uuid, p_users bigint[], p_gives_back boolean, p_at timestamptz,
    p_may text[], p_sees text[],
    p_actor bigint, p_home bigint, p_label text, p_behalf text, p_door text, p_correlation text,
    OUT verdict text, OUT outcomes text[], OUT free integer, OUT served bigint[]
) LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    s record;
    taken integer;
BEGIN
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    <<work>> BEGIN
        SELECT u.id, u.product_id, u.owner_kind, u.owner_user_id, least(u.quantity, u.next_quantity) - u.assigned AS free, p.name
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
            RETURNING l.id, l.user_id, l.group_license_id
        ), excluded AS (
            INSERT INTO licensing_groupexclusion
                   (tenant_id, group_license_id, user_id, excluded_at, excluded_by_id, excluded_by)
            SELECT p_tenant, r.group_license_id, r.user_id, p_at, p_actor, p_label FROM rows_ended r
             WHERE r.group_license_id IS NOT NULL AND p_actor IS NOT NULL
            ON CONFLICT DO NOTHING
            RETURNING 1
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
        IF taken > 0 AND s.owner_kind = 'organization' AND EXISTS (
            SELECT FROM licensing_waitingplace w WHERE w.subscription_id = s.id AND w.ended_at IS NULL) THEN
            served := licensing_serve_waiting(s.id, p_at, p_correlation);
            free := free - coalesce(cardinality(served), 0);
        END IF;
    END work;
    PERFORM set_config('seatkeeper.tenant_id', caller, true);
END $function$;
