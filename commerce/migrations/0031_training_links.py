"""Pages that organizations show their own people beside products (product §14)."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

import config.kit.tenancy


class Migration(migrations.Migration):
    dependencies = [("commerce", "0030_support"), ("directory", "0019_staff_provider_changes")]

    operations = [
        migrations.CreateModel(
            name="TrainingLink",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("title", models.CharField(max_length=100)),
                ("url", models.URLField(max_length=500)),
                ("position", models.PositiveIntegerField()),
                (
                    "product",
                    models.ForeignKey(
                        db_index=False,
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
                "constraints": [
                    config.kit.tenancy.TenantWall(name="commerce_traininglink_wall"),
                    config.kit.tenancy.PairKey(name="commerce_traininglink_pair"),
                    models.CheckConstraint(
                        condition=models.Q(("url__startswith", "https://")),
                        name="commerce_traininglink_https",
                    ),
                    models.UniqueConstraint(
                        deferrable=models.Deferrable["DEFERRED"],
                        fields=("tenant", "product", "position"),
                        name="commerce_traininglink_place",
                    ),
                ],
            },
        ),
    ]
