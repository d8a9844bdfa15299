"""Support cases, and whose bill a number is, for the form by which a leaver stops charges (product §11, §14)."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import config.kit.tenancy

TENANT_OF_BILL = """
CREATE FUNCTION tenant_of_bill_number(wanted text) RETURNS TABLE (tenant_id bigint, bill_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT b.tenant_id, b.id FROM public.commerce_bill b WHERE b.number = wanted
$$
"""


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute("REVOKE ALL ON FUNCTION tenant_of_bill_number(text) FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION tenant_of_bill_number(text) TO {app}")


class Migration(migrations.Migration):
    dependencies = [("commerce", "0020_cancel_requests"), ("directory", "0008_leaving")]

    operations = [
        migrations.CreateModel(
            name="SupportCase",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("cancel", "Cancel on behalf of a purchaser who left")], max_length=8
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "With support"),
                            ("done", "Carried out"),
                            ("declined", "Declined"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("message", models.CharField(blank=True, max_length=1000)),
                ("asked_at", models.DateTimeField()),
                ("asked_by_id", models.BigIntegerField(null=True)),
                ("asked_by", models.CharField(max_length=200)),
                ("answer", models.CharField(blank=True, max_length=1000)),
                ("answered_at", models.DateTimeField(null=True)),
                ("answered_by", models.CharField(blank=True, max_length=200)),
                (
                    "subscription",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="cases",
                        to="commerce.subscription",
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
            options={"abstract": False},
        ),
        migrations.AddIndex(
            model_name="supportcase",
            index=models.Index(
                condition=models.Q(("state", "open")), fields=["asked_at", "id"], name="commerce_case_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="supportcase",
            constraint=config.kit.tenancy.TenantWall(name="commerce_supportcase_wall"),
        ),
        migrations.AddConstraint(
            model_name="supportcase",
            constraint=config.kit.tenancy.PairKey(name="commerce_supportcase_pair"),
        ),
        migrations.AddConstraint(
            model_name="supportcase",
            constraint=config.kit.tenancy.SameTenant(
                field="subscription", name="commerce_supportcase_subscription"
            ),
        ),
        migrations.AddConstraint(
            model_name="supportcase",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")),
                fields=("subscription", "kind"),
                name="commerce_supportcase_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="supportcase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("answered_at__isnull", True), ("state", "open")),
                    models.Q(
                        models.Q(("state", "open"), _negated=True), ("answered_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="commerce_supportcase_answered",
            ),
        ),
        migrations.RunSQL(TENANT_OF_BILL, "DROP FUNCTION tenant_of_bill_number"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
