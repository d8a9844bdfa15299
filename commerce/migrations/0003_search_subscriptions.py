"""Search in Your products: a trigram index, and the one function that may use it under the wall.

LIKE is not leakproof, so under a policy the planner filters every row of the tenant before it compares; the
function runs as the owner, whose policy lets the index be used, and restricts itself to the tenant of the
setting. Words are quoted as literals and their wildcards escaped; without a tenant or a word nothing is found.
"""

from django.db import migrations

FUNCTION = r"""
CREATE FUNCTION search_subscriptions(words text[], at_most integer) RETURNS TABLE (id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $function$
DECLARE
    tenant bigint := nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint;
    conditions text;
BEGIN
    SELECT string_agg(format(
        'AND s.search_text LIKE %L',
        '%' || replace(replace(replace(word, '\', '\\'), '%', '\%'), '_', '\_') || '%'
    ), ' ') INTO conditions FROM unnest(words) AS word WHERE word <> '';
    IF tenant IS NULL OR conditions IS NULL OR at_most IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.id FROM commerce_subscription s WHERE s.tenant_id = %L::bigint %s LIMIT %L::integer',
        tenant, conditions, least(at_most, 10001)
    );
END
$function$;
REVOKE ALL ON FUNCTION search_subscriptions(text[], integer) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0002_due_by_entity")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX commerce_subscription_search ON commerce_subscription"
            " USING gin (search_text gin_trgm_ops)",
            "DROP INDEX commerce_subscription_search",
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION search_subscriptions(text[], integer)"),
    ]
