"""Partners' solutions, and the approved ones of a product for everybody who looks at it (product §12)."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import config.kit.tenancy

SOLUTIONS_OF_PRODUCT = """
CREATE FUNCTION solutions_of_product(wanted bigint)
RETURNS TABLE (partner_name text, title text, description text, url text)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT s.partner_name::text, s.title::text, s.description::text, s.url::text
      FROM public.commerce_solution s
      JOIN public.directory_tenant t ON t.id = s.tenant_id AND t.standing = 'good'
     WHERE s.product_id = wanted AND s.state = 'approved'
     ORDER BY s.title, s.id LIMIT 50
$$
"""


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute("REVOKE ALL ON FUNCTION solutions_of_product(bigint) FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION solutions_of_product(bigint) TO {app}")


class Migration(migrations.Migration):
    dependencies = [("commerce", "0022_declined_requests"), ("directory", "0010_invitations")]

    operations = [
        migrations.CreateModel(
            name="Solution",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("partner_name", models.CharField(max_length=200)),
                ("title", models.CharField(max_length=100)),
                ("description", models.CharField(max_length=500)),
                ("url", models.URLField(max_length=500)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for the vendor"),
                            ("approved", "Approved"),
                            ("declined", "Declined"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("sent_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("answer", models.CharField(blank=True, max_length=500)),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="commerce.product",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="directory.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="commerce_solution_partner"),
                    models.Index(
                        condition=models.Q(("state", "approved")),
                        fields=["product", "title"],
                        name="commerce_solution_shown",
                    ),
                ],
                "constraints": [
                    config.kit.tenancy.TenantWall(name="commerce_solution_wall"),
                    config.kit.tenancy.PairKey(name="commerce_solution_pair"),
                    models.CheckConstraint(
                        condition=models.Q(("url__startswith", "https://")), name="commerce_solution_https"
                    ),
                ],
            },
        ),
        migrations.RunSQL(SOLUTIONS_OF_PRODUCT, "DROP FUNCTION solutions_of_product(bigint)"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
