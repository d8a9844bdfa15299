"""All organizations, for the vendor's staff; and the right to pause billing, while the vendor's tenant is set."""

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import config.kit.tenancy
from config.kit.listings import listing_sql

# The purchases of an organization are counted up to where a page says 10,000+.
ORGANIZATIONS = listing_sql(
    name="staff_organizations",
    filters="in_words text, in_kind text, in_market text, in_state text",
    columns=(
        "id bigint, key uuid, tenant_name text, domain text, kind text, standing text, is_managed boolean, country text,"
        " created_at timestamptz, purchases bigint"
    ),
    rows="""
        SELECT t.id, t.key, t.name::text,
               coalesce((SELECT d.name::text FROM public.directory_domain d WHERE d.tenant_id = t.id
                          ORDER BY d.verified_at IS NULL, d.id LIMIT 1), ''),
               t.kind::text, t.standing::text, t.is_managed, t.country::text, t.created_at,
               (SELECT count(*) FROM (SELECT FROM public.commerce_subscription s
                                       WHERE s.tenant_id = t.id AND s.state <> 'deleted' LIMIT 10001) counted)
          FROM public.directory_tenant t
         WHERE (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0
                OR EXISTS (SELECT FROM public.directory_domain d
                            WHERE d.tenant_id = t.id AND strpos(d.name, lower(in_words)) > 0))
           AND (in_kind = '' OR t.kind = in_kind)
           AND (in_market = '' OR t.country = in_market)
           AND (in_state = '' OR CASE in_state WHEN 'unmanaged' THEN NOT t.is_managed ELSE t.standing = in_state END)
    """,
    id="t.id",
)
FUNCTION = "staff_organizations(text, text, text, text, bigint, boolean, integer)"


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {app}")


class Migration(migrations.Migration):
    dependencies = [("commerce", "0024_staff_lists"), ("directory", "0017_staff_lists")]

    operations = [
        migrations.AddConstraint(
            model_name="billingcontrol",
            constraint=config.kit.tenancy.VendorWall(name="commerce_billingcontrol_vendor"),
        ),
        migrations.RunSQL(ORGANIZATIONS, f"DROP FUNCTION {FUNCTION}"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
