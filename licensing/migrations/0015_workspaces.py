import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import config.kit.tenancy


class Migration(migrations.Migration):

    dependencies = [
        ("commerce", "0019_price_published"),
        ("directory", "0007_people_who_left"),
        ("licensing", "0014_data"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Workspace",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(max_length=100)),
                ("made_at", models.DateTimeField()),
                ("is_shared", models.BooleanField(default=False)),
                ("kept_from", models.DateTimeField(null=True)),
                ("deletes_at", models.DateTimeField(null=True)),
                (
                    "holder",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "maker",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="commerce.product"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
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
                    models.Index(fields=["tenant", "-id"], name="licensing_workspace_latest"),
                    models.Index(fields=["tenant", "product", "-id"], name="licensing_workspace_product"),
                ],
                "constraints": [
                    config.kit.tenancy.TenantWall(name="licensing_workspace_wall"),
                    config.kit.tenancy.PairKey(name="licensing_workspace_pair"),
                    config.kit.tenancy.SameTenant(field="maker", name="licensing_workspace_maker"),
                    config.kit.tenancy.SameTenant(field="holder", name="licensing_workspace_holder"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("deletes_at__isnull", True), ("kept_from__isnull", True)),
                            models.Q(("deletes_at__gt", models.F("kept_from")), ("kept_from__isnull", False)),
                            _connector="OR",
                        ),
                        name="licensing_workspace_kept",
                    ),
                ],
            },
        ),
    ]
