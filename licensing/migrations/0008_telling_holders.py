"""Telling people of a license that somebody gave them or took from them, as `licensing_assign` judged (product §15).

The rows are those that `directory.operations.mail` would queue: once per event and person, in the portal only for who
wants no such mails. Not in a function of the same name as the giving, so that what gives in silence can.
"""

from importlib import import_module

from django.db import migrations

before = import_module("licensing.migrations.0002_assigning")

TELL = f"""
CREATE FUNCTION licensing_tell(
    p_kind text, p_outcome text, p_tenant bigint, p_subscription uuid, p_users bigint[], p_outcomes text[],
    p_at timestamptz, p_actor bigint, p_label text, p_behalf text, p_link text
) RETURNS integer LANGUAGE plpgsql VOLATILE {before.SETTINGS} AS $function$
DECLARE
    caller text := coalesce(current_setting('seatkeeper.tenant_id', true), '');
    told integer := 0;
BEGIN
    IF p_outcomes IS NULL OR NOT p_outcome = ANY (p_outcomes) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('seatkeeper.tenant_id', p_tenant::text, true);
    INSERT INTO directory_outgoingmail
           (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
            created_at, last_error)
    SELECT p_tenant, p_kind,
           p_kind || ':' || p_subscription || ':' || (extract(epoch FROM p_at) * 1000000)::bigint || ':' || u.id,
           u.id, u.email, coalesce(nullif(u.language, ''), 'en'),
           jsonb_build_object('organization', tenant.name, 'vendor', entity.name, 'product', product.name,
                              'by', p_label, 'partner', p_behalf, 'link', p_link),
           CASE WHEN EXISTS (SELECT FROM directory_mailpreference said
                              WHERE said.user_id = u.id AND said.kind = p_kind AND NOT said.is_on)
                THEN 'portal' ELSE 'queued' END, 0, p_at, p_at, ''
      FROM unnest(p_users, p_outcomes) AS asked(user_id, outcome)
      JOIN directory_user u ON u.id = asked.user_id AND u.tenant_id = p_tenant
      JOIN commerce_subscription s ON s.key = p_subscription AND s.tenant_id = p_tenant
      JOIN commerce_product product ON product.id = s.product_id
      JOIN commerce_vendorentity entity ON entity.id = s.vendor_entity_id
      JOIN directory_tenant tenant ON tenant.id = p_tenant
     WHERE asked.outcome = p_outcome AND u.id IS DISTINCT FROM p_actor AND u.status = 'active' AND u.email <> ''
    ON CONFLICT (event_key) DO NOTHING;
    GET DIAGNOSTICS told = ROW_COUNT;
    PERFORM set_config('seatkeeper.tenant_id', caller, true);
    RETURN told;
END $function$
"""
GONE = """
DROP FUNCTION licensing_tell(
    text, text, bigint, uuid, bigint[], text[], timestamptz, bigint, text, text, text)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("licensing", "0007_leaving"),
        ("directory", "0009_inbox_and_digest"),
        ("commerce", "0021_support_cases"),
    ]

    operations = [migrations.RunSQL(TELL, GONE)]
