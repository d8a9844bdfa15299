"""Functions that cross the wall, append-only audit, and keys that no model class can say.

Functions belong to the owner, whose own policy shows all rows; each returns ids and what its one caller needs.
`pg_temp` comes last in the path: named nowhere, it would be searched first, for tables of the caller's making.
"""

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

PATH = "SET search_path = pg_catalog, public, pg_temp"

TENANT_OF_DOMAIN = f"""
CREATE FUNCTION tenant_of_domain(domain text)
RETURNS TABLE (tenant_id bigint, provider_key text)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 {PATH}
AS $$
    SELECT t.id, p.key::text
    FROM public.directory_domain d
    JOIN public.directory_tenant t ON t.id = d.tenant_id AND t.is_managed
    JOIN public.directory_identityprovider p ON p.tenant_id = t.id AND p.is_active
    WHERE d.name = domain AND d.verified_at IS NOT NULL
$$
"""

IDENTITY_PROVIDER_OF_KEY = f"""
CREATE FUNCTION identity_provider_of_key(provider_key text)
RETURNS TABLE (tenant_id bigint, id bigint)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 {PATH}
AS $$
    SELECT p.tenant_id, p.id
    FROM public.directory_identityprovider p
    JOIN public.directory_tenant t ON t.id = p.tenant_id AND t.is_managed
    WHERE p.key = provider_key AND p.is_active
$$
"""

ACCOUNTS_OF_SUBJECT = f"""
CREATE FUNCTION accounts_of_subject(issuer text, subject text)
RETURNS TABLE (tenant_id bigint, user_id bigint, tenant_name text, kind text)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 5 {PATH}
AS $$
    SELECT u.tenant_id, u.id, t.name::text, u.kind::text
    FROM public.directory_user u
    JOIN public.directory_tenant t ON t.id = u.tenant_id
    WHERE u.issuer = accounts_of_subject.issuer AND u.subject = accounts_of_subject.subject
      AND u.subject <> '' AND u.status = 'active'
    ORDER BY t.name, u.id
    LIMIT 50
$$
"""

# Words in any order, each somewhere in the folded name or the address. LIKE is not leakproof, so under a
# policy the trigram index would not be used; the tenant is read from the setting, never from an argument.
SEARCH_USERS = f"""
CREATE FUNCTION search_users(words text[], row_limit integer)
RETURNS SETOF bigint
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER ROWS 20 {PATH}
AS $$
DECLARE
    tenant CONSTANT bigint := nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint;
    patterns text[];
BEGIN
    SELECT array_agg('%' || replace(replace(replace(word, '\\', '\\\\'), '%', '\\%'), '_', '\\_') || '%'
                     ORDER BY length(word) DESC)
    INTO patterns FROM unnest(words) AS word WHERE word <> '';
    IF tenant IS NULL OR patterns IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT u.id FROM public.directory_user u
        WHERE u.tenant_id = tenant AND u.status <> 'deleted'
          AND (u.sort_name || ' ' || lower(u.email)) LIKE patterns[1]
          AND (u.sort_name || ' ' || lower(u.email)) LIKE ALL (patterns)
        ORDER BY u.sort_name, u.id
        LIMIT greatest(0, least(row_limit, 200));
END
$$
"""

SEARCH_INDEX = """
CREATE INDEX directory_user_search ON directory_user
USING gin ((sort_name || ' ' || lower(email)) gin_trgm_ops)
"""

APPEND_ONLY = """
CREATE FUNCTION directory_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER directory_auditentry_append_only BEFORE UPDATE OR DELETE ON directory_auditentry
FOR EACH ROW EXECUTE FUNCTION directory_refuse_change()
"""

# I-25. The tenant's row is locked first, so that of two admins who remove each other one comes second and
# sees the other's removal.
KEEP_GLOBAL_ADMIN = """
CREATE FUNCTION directory_keep_global_admin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'directory_user'
       AND NOT EXISTS (SELECT FROM public.directory_roleassignment r
                       WHERE r.user_id = OLD.id AND r.tenant_id = OLD.tenant_id AND r.role = 'global_admin') THEN
        RETURN NULL;
    END IF;
    PERFORM FROM public.directory_tenant t WHERE t.id = OLD.tenant_id FOR UPDATE;
    PERFORM FROM public.directory_roleassignment r
    JOIN public.directory_user u ON u.id = r.user_id AND u.tenant_id = r.tenant_id AND u.status = 'active'
    WHERE r.tenant_id = OLD.tenant_id AND r.role = 'global_admin' LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant % would have no global admin', OLD.tenant_id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_keep_global_admin';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER directory_keep_global_admin_role AFTER DELETE OR UPDATE OF role, user_id, tenant_id
ON directory_roleassignment FOR EACH ROW WHEN (OLD.role = 'global_admin')
EXECUTE FUNCTION directory_keep_global_admin();
CREATE TRIGGER directory_keep_global_admin_user AFTER UPDATE OF status
ON directory_user FOR EACH ROW WHEN (OLD.status = 'active' AND NEW.status <> 'active')
EXECUTE FUNCTION directory_keep_global_admin()
"""

# Both sides of a relationship see its row, and the policy lets both write. What the partner's side may not do
# by itself is to give itself anything: agree in the customer's name, add roles, or prolong.
PARTNER_ASKS_ONLY = """
CREATE FUNCTION directory_partner_asks_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant CONSTANT bigint := nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint;
BEGIN
    IF tenant IS DISTINCT FROM NEW.partner_tenant_id OR tenant = NEW.tenant_id THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND NEW.status = 'requested' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.status IN (OLD.status, 'ended') AND OLD.status <> 'ended'
       AND (NEW.tenant_id, NEW.partner_tenant_id, NEW.starts_at)
           IS NOT DISTINCT FROM (OLD.tenant_id, OLD.partner_tenant_id, OLD.starts_at)
       AND NEW.roles <@ OLD.roles
       AND (NEW.ends_at IS NOT DISTINCT FROM OLD.ends_at OR NEW.ends_at < OLD.ends_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the partner may ask and end, the customer decides'
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_partner_asks_only';
END
$$;
CREATE TRIGGER directory_partner_asks_only BEFORE INSERT OR UPDATE ON directory_relationship
FOR EACH ROW EXECUTE FUNCTION directory_partner_asks_only()
"""

# An assignment names the partner of its relationship and a user of that partner (I-03).
ASSIGNMENT_KEYS = """
ALTER TABLE directory_relationship ADD CONSTRAINT directory_relationship_sides
    UNIQUE (id, tenant_id, partner_tenant_id);
ALTER TABLE directory_relationshipassignment
    ADD CONSTRAINT directory_relationshipassignment_sides
        FOREIGN KEY (relationship_id, tenant_id, partner_tenant_id)
        REFERENCES directory_relationship (id, tenant_id, partner_tenant_id),
    ADD CONSTRAINT directory_relationshipassignment_user
        FOREIGN KEY (user_id, partner_tenant_id) REFERENCES directory_user (id, tenant_id)
"""

CROSSINGS = (
    "tenant_of_domain(text)",
    "identity_provider_of_key(text)",
    "accounts_of_subject(text, text)",
    "search_users(text[], integer)",
)


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the two serving logins may call a crossing."""
    quote = schema_editor.quote_name
    app, worker = (quote(str(settings.DATABASES[alias]["USER"])) for alias in ("default", "worker"))
    for crossing in CROSSINGS:
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {crossing} FROM PUBLIC")
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {crossing} TO {app}, {worker}")


class Migration(migrations.Migration):
    dependencies = [("directory", "0001_initial")]

    operations = [
        migrations.RunSQL(TENANT_OF_DOMAIN, "DROP FUNCTION tenant_of_domain"),
        migrations.RunSQL(IDENTITY_PROVIDER_OF_KEY, "DROP FUNCTION identity_provider_of_key"),
        migrations.RunSQL(ACCOUNTS_OF_SUBJECT, "DROP FUNCTION accounts_of_subject"),
        migrations.RunSQL(SEARCH_INDEX, "DROP INDEX directory_user_search"),
        migrations.RunSQL(SEARCH_USERS, "DROP FUNCTION search_users"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER directory_auditentry_append_only ON directory_auditentry;"
            "DROP FUNCTION directory_refuse_change",
        ),
        migrations.RunSQL(
            KEEP_GLOBAL_ADMIN,
            "DROP TRIGGER directory_keep_global_admin_role ON directory_roleassignment;"
            "DROP TRIGGER directory_keep_global_admin_user ON directory_user;"
            "DROP FUNCTION directory_keep_global_admin",
        ),
        migrations.RunSQL(
            PARTNER_ASKS_ONLY,
            "DROP TRIGGER directory_partner_asks_only ON directory_relationship;"
            "DROP FUNCTION directory_partner_asks_only",
        ),
        migrations.RunSQL(
            ASSIGNMENT_KEYS,
            "ALTER TABLE directory_relationshipassignment DROP CONSTRAINT directory_relationshipassignment_user,"
            " DROP CONSTRAINT directory_relationshipassignment_sides;"
            "ALTER TABLE directory_relationship DROP CONSTRAINT directory_relationship_sides",
        ),
    ]
