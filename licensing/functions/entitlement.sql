-- May this person use this product: token, right, data policy and answer in one statement (product §7.4; architecture
-- §11). Two marks are written on the way, each at most once in a while and never waited for: the token's last use, and the
-- day on which the license was last used. SECURITY INVOKER, in the tenant that the token leads to.
CREATE OR REPLACE FUNCTION licensing_entitlement(
    p_digest bytea, p_user text, p_product text, p_at timestamptz, p_scopes text[], p_see_all text[], p_admins text[],
    OUT verdict text, OUT user_key uuid, OUT product_key text, OUT product_name text, OUT subscription_key uuid,
    OUT channel text, OUT owner_kind text, OUT state text, OUT ends_at timestamptz, OUT is_recurring boolean,
    OUT service_on boolean, OUT external_sharing boolean, OUT retention_days integer, OUT creators text,
    OUT is_admin boolean
) LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    v_tenant bigint;
    v_token bigint;
    t record;
    person record;
    found_ids bigint[];
    v_product bigint;
    a record;
    today CONSTANT date := (p_at AT TIME ZONE 'UTC')::date;
BEGIN
    SELECT k.tenant_id, k.id INTO v_tenant, v_token FROM tenant_of_token(p_digest) k;
    IF v_token IS NULL THEN
        verdict := 'unauthenticated';
        RETURN;
    END IF;
    PERFORM set_config('seatkeeper.tenant_id', v_tenant::text, true);
    <<work>> BEGIN
        SELECT k.kind, k.user_id, k.scopes, k.last_used_at, u.status,
               CASE WHEN k.kind = 'service' THEN k.ceiling = ANY (p_see_all)
                    ELSE u.kind = 'member' AND EXISTS (
                        SELECT FROM directory_roleassignment r WHERE r.user_id = k.user_id AND r.role = ANY (p_see_all))
               END AS sees_all
          INTO t
          FROM directory_apitoken k LEFT JOIN directory_user u ON u.id = k.user_id
         WHERE k.id = v_token;
        IF t.kind = 'personal' AND t.status IS DISTINCT FROM 'active' THEN
            verdict := 'unauthenticated';
            EXIT work;
        END IF;
        IF t.last_used_at IS NULL OR t.last_used_at < clock_timestamp() - interval '1 minute' THEN
            UPDATE directory_apitoken SET last_used_at = clock_timestamp()
             WHERE id = (SELECT k.id FROM directory_apitoken k WHERE k.id = v_token FOR NO KEY UPDATE SKIP LOCKED);
        END IF;
        IF NOT t.scopes::text[] && p_scopes THEN
            verdict := 'scope_too_low';
            EXIT work;
        END IF;

        -- By id, else by the address of one account alone: guessing between two would answer for the wrong person.
        IF p_user ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN
            SELECT u.id, u.key, u.status INTO person FROM directory_user u
             WHERE u.key = p_user::uuid AND u.status <> 'deleted';
        ELSE
            SELECT array_agg(u.id) INTO found_ids FROM directory_user u
             WHERE u.tenant_id = v_tenant AND u.email IN (p_user, lower(p_user)) AND u.status <> 'deleted';
            SELECT u.id, u.key, u.status INTO person FROM directory_user u
             WHERE cardinality(found_ids) = 1 AND u.id = found_ids[1];
        END IF;
        SELECT p.id, p.key, p.name INTO v_product, product_key, product_name
          FROM commerce_product p WHERE p.key = p_product OR p.slug = p_product;
        IF v_product IS NULL THEN
            SELECT p.id, p.key, p.name INTO v_product, product_key, product_name
              FROM commerce_productalias f JOIN commerce_product p ON p.id = f.product_id
             WHERE f.former_key = p_product;
        END IF;
        IF person.id IS NULL OR v_product IS NULL OR NOT (t.sees_all OR coalesce(person.id = t.user_id, false)) THEN
            verdict := 'not_found';
            EXIT work;
        END IF;
        user_key := person.key;
        IF person.status <> 'active' THEN
            verdict := 'account_disabled';
            EXIT work;
        END IF;

        SELECT d.service_on, d.external_sharing, d.retention_days, d.creators
          INTO service_on, external_sharing, retention_days, creators
          FROM policies_data_policy(v_tenant, v_product, person.id) d;
        is_admin := creators = 'admins' AND EXISTS (
            SELECT FROM directory_roleassignment r WHERE r.user_id = person.id AND r.role = ANY (p_admins));
        IF NOT service_on THEN
            verdict := 'service_off';
            EXIT work;
        END IF;

        SELECT l.id, l.last_used_on, s.key, s.channel, s.owner_kind, s.state, s.recurring_billing,
               CASE s.state WHEN 'active' THEN s.term_end ELSE s.due_at END AS ends_at
          INTO a
          FROM licensing_assignment l JOIN commerce_subscription s ON s.id = l.subscription_id
         WHERE l.user_id = person.id AND l.product_id = v_product AND l.ended_at IS NULL
           AND s.state IN ('active', 'expired')
         ORDER BY CASE WHEN s.channel = 'central' THEN 0 WHEN s.owner_kind = 'organization' THEN 1
                       WHEN s.owner_user_id = person.id THEN 2 ELSE 3 END, s.term_end DESC, l.id
         LIMIT 1;
        IF a.id IS NULL THEN
            verdict := 'no_license';
            EXIT work;
        END IF;
        verdict := 'entitled';
        subscription_key := a.key;
        channel := a.channel;
        owner_kind := a.owner_kind;
        state := a.state;
        ends_at := a.ends_at;
        is_recurring := a.recurring_billing;
        IF a.last_used_on IS DISTINCT FROM today THEN
            UPDATE licensing_assignment SET last_used_on = today
             WHERE id = (SELECT l.id FROM licensing_assignment l WHERE l.id = a.id AND l.ended_at IS NULL
                            FOR NO KEY UPDATE SKIP LOCKED);
        END IF;
    END work;
    caller := set_config('seatkeeper.tenant_id', caller, true);
END $function$;
