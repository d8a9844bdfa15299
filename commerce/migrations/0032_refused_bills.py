"""Bills that no card is charged for, of all organizations, for the vendor's staff (docs/adr/0034)."""

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from config.kit.listings import listing_sql

FUNCTION = "staff_refused_bills(text, bigint, boolean, integer)"
# Of what is in use: a bill whose access has ended is paid by hand or credited.
REFUSED_BILLS = listing_sql(
    name="staff_refused_bills",
    filters="in_words text",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, bill text, product text, amount_minor bigint, currency text,"
        " reason text, failed_at timestamptz, pay_by_at timestamptz"
    ),
    rows="""
        SELECT b.id, b.tenant_id, t.name::text, b.number::text, p.name::text, b.total_minor, b.currency::text,
               b.last_decline::text, b.failed_at, s.pay_by_at
          FROM public.commerce_bill b
          JOIN public.directory_tenant t ON t.id = b.tenant_id
          JOIN public.commerce_subscription s ON s.id = b.subscription_id
          JOIN public.commerce_product p ON p.id = s.product_id
         WHERE b.status IN ('open', 'past_due') AND b.collection = 'card' AND b.charge_due_at IS NULL
           AND b.last_decline IN ('processor_refuses', 'amount_too_small') AND s.state IN ('active', 'expired')
           AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="b.id",
)


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    app = schema_editor.quote_name(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute(f"REVOKE ALL ON FUNCTION {FUNCTION} FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTION} TO {app}")


class Migration(migrations.Migration):
    dependencies = [("commerce", "0031_training_links")]

    operations = [
        migrations.RunSQL(REFUSED_BILLS, f"DROP FUNCTION {FUNCTION}"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
