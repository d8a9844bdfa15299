-- Give what is free of one subscription of the organization to the first in its line; the places that got one
-- (product §7.6; docs/bulk.md). Called in the caller's tenant and transaction. SECURITY INVOKER.
CREATE OR REPLACE FUNCTION licensing_serve_waiting(
    p_subscription bigint, p_at timestamptz, p_correlation text, OUT served bigint[]
) LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
DECLARE
    s record;
BEGIN
    -- The lock first, in a statement of its own: what a competitor committed before is seen below.
    SELECT u.id, u.tenant_id, u.key, u.product_id, u.state, u.owner_kind,
           least(u.quantity, u.next_quantity) - u.assigned AS free, p.guests_may_hold, p.name
      INTO s
      FROM commerce_subscription u JOIN commerce_product p ON p.id = u.product_id
     WHERE u.id = p_subscription
       FOR NO KEY UPDATE OF u;
    IF NOT FOUND OR s.free <= 0 OR s.owner_kind <> 'organization' OR s.state NOT IN ('active', 'expired') THEN
        RETURN;
    END IF;
    -- Who cannot have one now keeps the place. Who is being disabled is waited for, as by `licensing_assign`.
    WITH line AS MATERIALIZED (
        SELECT w.id, w.user_id, h.name
          FROM licensing_waitingplace w JOIN directory_user h ON h.id = w.user_id
         WHERE w.subscription_id = s.id AND w.ended_at IS NULL
           AND h.status = 'active' AND (h.kind <> 'guest' OR s.guests_may_hold)
           AND (NOT EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = s.tenant_id AND NOT off.service_on)
                            OR policies_service_is_on(s.tenant_id, s.product_id, h.id))
           AND NOT EXISTS (
               SELECT FROM licensing_assignment l
                WHERE l.user_id = h.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                  AND (l.subscription_id = s.id OR (
                      SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                       WHERE o.id = l.subscription_id)))
         ORDER BY w.id LIMIT s.free
           FOR KEY SHARE OF h
    ), rows_given AS (
        INSERT INTO licensing_assignment
               (tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by, ended_by)
        SELECT s.tenant_id, s.id, line.user_id, s.product_id, p_at, 'Seatkeeper', '' FROM line ORDER BY line.id
        RETURNING id, user_id
    ), counter AS (
        UPDATE commerce_subscription u SET assigned = u.assigned + total.n
          FROM (SELECT count(*)::int AS n FROM rows_given) total
         WHERE u.id = s.id AND total.n > 0
    ), audited AS (
        INSERT INTO directory_auditentry
               (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
                target_type, target_id, target_label, after)
        SELECT s.tenant_id, p_at, 'licensing.license.given_from_waiting_list', s.tenant_id, 'Seatkeeper', '', 'job',
               p_correlation, 'subscription', s.key::text, left(s.name, 200),
               jsonb_build_object('user_id', r.user_id, 'assignment_id', r.id, 'user', line.name)
          FROM rows_given r JOIN line ON line.user_id = r.user_id
    ), told AS (
        INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
        SELECT s.tenant_id, s.id, p_at, 'license_from_waiting_list', 'Seatkeeper',
               jsonb_build_object('count', total.n, 'user_ids',
                   (SELECT jsonb_agg(x.user_id) FROM (SELECT user_id FROM line ORDER BY id LIMIT 5) x))
          FROM (SELECT count(*)::int AS n FROM rows_given) total WHERE total.n > 0
    ), ended AS (
        UPDATE licensing_waitingplace w
           SET ended_at = p_at, ended_by = 'Seatkeeper', outcome = 'given', assignment_id = r.id
          FROM line JOIN rows_given r ON r.user_id = line.user_id
         WHERE w.id = line.id
        RETURNING w.id
    )
    SELECT array_agg(id ORDER BY id) INTO served FROM ended;
END $function$;
