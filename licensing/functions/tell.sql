-- Queue the mails about licenses that were given or taken, to those with one outcome of a call; how many (product §15).
-- The rows are those of `directory.operations.mail`: once per event and person, in the portal only for who wants no such
-- mails. Apart from the giving, so that what gives in silence can. SECURITY INVOKER.
CREATE OR REPLACE FUNCTION licensing_tell(
    p_kind text, p_outcome text, p_tenant bigint, p_subscription uuid, p_users bigint[], p_outcomes text[],
    p_at timestamptz, p_actor bigint, p_label text, p_behalf text, p_link text
) RETURNS integer LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET jit = off
AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    event CONSTANT text :=
        p_kind || ':' || p_subscription || ':' || (extract(epoch FROM p_at) * 1000000)::bigint || ':';
    facts jsonb;
    told integer := 0;
BEGIN
    IF p_outcomes IS NULL OR NOT p_outcome = ANY (p_outcomes) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    SELECT jsonb_build_object('organization', tenant.name, 'vendor', entity.name, 'product', product.name,
                              'by', p_label, 'partner', p_behalf, 'link', p_link)
      INTO facts
      FROM commerce_subscription s
      JOIN commerce_product product ON product.id = s.product_id
      JOIN commerce_vendorentity entity ON entity.id = s.vendor_entity_id
      JOIN directory_tenant tenant ON tenant.id = s.tenant_id
     WHERE s.key = p_subscription AND s.tenant_id = p_tenant;
    -- Told of before only when the same was done twice at one instant; looking for that each time costs a fifth more.
    BEGIN
        INSERT INTO directory_outgoingmail
               (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
                created_at, last_error)
        SELECT p_tenant, p_kind, event || u.id, u.id, u.email, coalesce(nullif(u.chosen_language, ''), u.language), facts,
               CASE WHEN EXISTS (SELECT FROM directory_mailpreference said
                                  WHERE said.user_id = u.id AND said.kind = p_kind AND NOT said.is_on)
                    THEN 'portal' ELSE 'queued' END, 0, p_at, p_at, ''
          FROM unnest(p_users, p_outcomes) AS asked(user_id, outcome)
          JOIN directory_user u ON u.id = asked.user_id AND u.tenant_id = p_tenant
         WHERE asked.outcome = p_outcome AND u.id IS DISTINCT FROM p_actor AND u.status = 'active' AND u.email <> '';
        GET DIAGNOSTICS told = ROW_COUNT;
    EXCEPTION WHEN unique_violation THEN
        INSERT INTO directory_outgoingmail
               (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
                created_at, last_error)
        SELECT p_tenant, p_kind, event || u.id, u.id, u.email, coalesce(nullif(u.chosen_language, ''), u.language), facts,
               CASE WHEN EXISTS (SELECT FROM directory_mailpreference said
                                  WHERE said.user_id = u.id AND said.kind = p_kind AND NOT said.is_on)
                    THEN 'portal' ELSE 'queued' END, 0, p_at, p_at, ''
          FROM unnest(p_users, p_outcomes) AS asked(user_id, outcome)
          JOIN directory_user u ON u.id = asked.user_id AND u.tenant_id = p_tenant
         WHERE asked.outcome = p_outcome AND u.id IS DISTINCT FROM p_actor AND u.status = 'active' AND u.email <> ''
        ON CONFLICT (event_key) DO NOTHING;
        GET DIAGNOSTICS told = ROW_COUNT;
    END;
    PERFORM set_config('seatkeeper.tenant_id', caller, true);
    RETURN told;
END $function$;
