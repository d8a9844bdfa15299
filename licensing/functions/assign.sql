-- Give a license of one subscription to each of a list of people, in its order, as far as seats reach: rows and counter
-- together, judged under the subscription's row lock (docs/seats.md; docs/adr/0007, 0008). Answers a verdict on the call
-- (`judged`, `not_visible`, `not_allowed`, `not_assignable`), an outcome for each person, and how many more can be assigned.
--
-- SECURITY INVOKER: under row-level security with the rights of whoever calls. It sets the tenant for its own length, so
-- that one call outside a transaction is the whole operation. The people are held (FOR KEY SHARE) before they are judged:
-- whoever disables or deletes one is waited for, or waits (F-22).
CREATE OR REPLACE FUNCTION licensing_assign(
    p_tenant bigint, p_subscription uuid, p_users bigint[], p_confirmed boolean, p_at timestamptz,
    p_may text[], p_sees text[],
    p_actor bigint, p_home bigint, p_label text, p_behalf text, p_door text, p_correlation text,
    OUT verdict text, OUT outcomes text[], OUT free integer
) LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    tenant text := set_config('seatkeeper.tenant_id', p_tenant::text, true);
    s record;
    chosen bigint[];
    given integer;
BEGIN
    <<work>> BEGIN
        IF cardinality(p_users) = 1 THEN
            -- Waits for a competitor, then judges by what that one left: lock, right, state and seat in one.
            UPDATE commerce_subscription u SET assigned = u.assigned + 1
              FROM commerce_product p
             WHERE u.key = p_subscription AND u.tenant_id = p_tenant AND p.id = u.product_id
               AND u.assigned < least(u.quantity, u.next_quantity) AND u.state IN ('active', 'expired')
               AND ('all' = ANY (p_may) OR 'own' = ANY (p_may) AND u.owner_user_id IS NOT DISTINCT FROM p_actor
                                                               AND u.owner_kind = 'person'
                                        OR 'org' = ANY (p_may) AND u.owner_kind = 'organization')
            RETURNING u.id, u.product_id, least(u.quantity, u.next_quantity) - u.assigned AS free,
                      p.guests_may_hold, p.name
                 INTO s;
            IF FOUND THEN
                -- A statement of its own, so that it sees what was committed before the lock came.
                WITH person AS MATERIALIZED (
                    SELECT h.id, h.name FROM directory_user h
                     WHERE h.id = p_users[1] AND h.tenant_id = p_tenant AND h.status = 'active'
                       AND (h.kind <> 'guest' OR s.guests_may_hold)
                       AND (NOT EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = p_tenant AND NOT off.service_on)
                            OR policies_service_is_on(p_tenant, s.product_id, h.id))
                       AND NOT EXISTS (
                           SELECT FROM licensing_assignment l
                            WHERE l.user_id = h.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                              AND (l.subscription_id = s.id OR NOT p_confirmed AND (
                                  SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                                   WHERE o.id = l.subscription_id)))
                       FOR KEY SHARE OF h
                ), row_given AS (
                    INSERT INTO licensing_assignment
                           (tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by_id,
                            assigned_by, ended_by)
                    SELECT p_tenant, s.id, person.id, s.product_id, p_at, p_actor, p_label, '' FROM person
                    ON CONFLICT DO NOTHING
                    RETURNING id
                ), told AS (
                    INSERT INTO commerce_subscriptionevent
                           (tenant_id, subscription_id, at, code, actor_label, facts)
                    SELECT p_tenant, s.id, p_at, 'license_assigned', p_label,
                           jsonb_build_object('count', 1, 'user_ids', to_jsonb(p_users))
                      FROM row_given
                )
                INSERT INTO directory_auditentry
                       (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door,
                        correlation_id, target_type, target_id, target_label, before, after)
                SELECT p_tenant, p_at, 'licensing.license.assigned', p_actor, p_home, p_label, p_behalf, p_door,
                       p_correlation, 'subscription', p_subscription::text, left(s.name, 200), NULL,
                       jsonb_build_object('user_id', person.id, 'assignment_id', row_given.id,
                                          'user', person.name)
                  FROM row_given, person;
                IF FOUND THEN
                    verdict := 'judged';
                    outcomes := ARRAY['assigned'];
                    free := s.free;
                    EXIT work;
                END IF;
                -- Not this person: the seat goes back under the same lock, and the form below says why.
                UPDATE commerce_subscription SET assigned = assigned - 1 WHERE id = s.id;
            END IF;
        END IF;

        -- The lock first, then the judgement: what a competitor committed before is seen, what comes after waits.
        SELECT u.id, u.product_id, u.state, u.owner_kind, u.owner_user_id, u.quantity - u.assigned AS unassigned,
               least(u.quantity, u.next_quantity) - u.assigned AS free, p.guests_may_hold, p.name
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

        PERFORM FROM directory_user u WHERE u.id = ANY (p_users) AND u.tenant_id = p_tenant
          ORDER BY u.id FOR KEY SHARE;

        -- A holder is found by person and product, the one index that fits however the table has grown.
        SELECT array_agg(j.outcome ORDER BY j.n), array_agg(j.id ORDER BY j.n) FILTER (WHERE j.outcome = 'assigned')
          INTO outcomes, chosen
          FROM (SELECT a.n, a.id, CASE
                    WHEN a.mention > 1 THEN 'repeated'
                    WHEN u.id IS NULL OR u.status = 'deleted' THEN 'unknown'
                    WHEN u.status <> 'active' THEN 'disabled'
                    WHEN u.kind = 'guest' AND NOT s.guests_may_hold THEN 'guest'
                    WHEN NOT (NOT EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = p_tenant AND NOT off.service_on)
                            OR policies_service_is_on(p_tenant, s.product_id, u.id)) THEN 'service_off'
                    ELSE coalesce((
                        SELECT CASE WHEN bool_or(l.subscription_id = s.id) THEN 'holds_license'
                                    WHEN NOT p_confirmed AND bool_or((
                                        SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                                         WHERE o.id = l.subscription_id)) THEN 'holds_product' END
                          FROM licensing_assignment l
                         WHERE l.user_id = a.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                    ), 'assigned') END AS outcome
                  FROM (SELECT x.id, x.n, row_number() OVER (PARTITION BY x.id ORDER BY x.n) AS mention
                          FROM unnest(p_users) WITH ORDINALITY AS x(id, n)) a
                  LEFT JOIN directory_user u ON u.id = a.id AND u.tenant_id = p_tenant
                 OFFSET 0) j;

        given := cardinality(chosen);
        IF given > s.free THEN
            SELECT array_agg(CASE WHEN o.outcome <> 'assigned' OR o.place <= s.free THEN o.outcome
                                  WHEN o.place > s.unassigned THEN 'no_seat'
                                  ELSE 'reduction_scheduled' END
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
         WHERE id = s.id AND assigned + given <= least(quantity, next_quantity);
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
    caller := set_config('seatkeeper.tenant_id', caller, true);
END $function$;
