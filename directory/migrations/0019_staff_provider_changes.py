"""Which organizations wait to sign in somewhere else, for the vendor's staff (docs/adr/0034, 0035)."""

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from config.kit.listings import listing_sql

PROVIDER_CHANGES = listing_sql(
    name="staff_provider_changes",
    filters="in_words text",
    columns=(
        "id bigint, key text, tenant_id bigint, tenant_name text, issuer text, planned_by text, planned_at timestamptz,"
        " switch_at timestamptz, held_up_since timestamptz, confirmed_by text"
    ),
    rows="""
        SELECT p.id, p.key::text, p.tenant_id, t.name::text, p.issuer::text, p.planned_by::text, p.planned_at, p.switch_at,
               p.held_up_since, p.confirmed_by::text
          FROM public.directory_identityprovider p
          JOIN public.directory_tenant t ON t.id = p.tenant_id
         WHERE p.switch_at IS NOT NULL AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="p.id",
)
FUNCTION = "staff_provider_changes(text, bigint, boolean, integer)"


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {app}")


class Migration(migrations.Migration):
    dependencies = [("directory", "0018_staff_sessions")]

    operations = [
        migrations.RunSQL(PROVIDER_CHANGES, f"DROP FUNCTION {FUNCTION}"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
