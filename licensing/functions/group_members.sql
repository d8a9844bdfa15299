-- Of each member of a group that has licenses: `holds` one from there, or why not (docs/bulk.md). In the order in which
-- they joined; each is looked up by index, however few statistics there are. SECURITY INVOKER.
CREATE OR REPLACE FUNCTION licensing_group_members(p_license bigint, OUT place bigint, OUT user_id bigint, OUT why text)
RETURNS SETOF record LANGUAGE sql STABLE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
    SELECT m.id, u.id, CASE
               WHEN held.here THEN 'holds'
               WHEN u.status <> 'active' THEN 'disabled'
               WHEN u.kind = 'guest' AND NOT p.guests_may_hold THEN 'guest'
               WHEN NOT (NOT EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = g.tenant_id AND NOT off.service_on)
                            OR policies_service_is_on(g.tenant_id, p.id, u.id)) THEN 'service_off'
               WHEN EXISTS (SELECT FROM licensing_groupexclusion x
                             WHERE x.group_license_id = g.id AND x.user_id = u.id) THEN 'taken_back'
               WHEN held.elsewhere THEN 'holds_product'
               ELSE 'no_seat' END
      FROM licensing_grouplicense g
      JOIN commerce_subscription s ON s.id = g.subscription_id
      JOIN commerce_product p ON p.id = s.product_id
      JOIN directory_groupmembership m ON m.group_id = g.group_id
      JOIN directory_user u ON u.id = m.user_id
     CROSS JOIN LATERAL (
           SELECT coalesce(bool_or(l.subscription_id = s.id), false) AS here,
                  coalesce(bool_or((SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                                     WHERE o.id = l.subscription_id)), false) AS elsewhere
             FROM licensing_assignment l
            WHERE l.user_id = u.id AND l.product_id = s.product_id AND l.ended_at IS NULL) held
     WHERE g.id = p_license
     ORDER BY m.id
$function$;
