"""Where products run, and where a purchase that began there goes back to (docs/adr/0045)."""

import django.db.models.deletion
from django.db import migrations, models

import config.kit.tenancy


class Migration(migrations.Migration):
    dependencies = [("commerce", "0028_capacity")]

    operations = [
        migrations.AddField(
            model_name="checkout",
            name="return_to",
            field=models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.CreateModel(
            name="ProductSite",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                ("origin", models.CharField(max_length=255)),
                ("path", models.CharField(default="/", max_length=200)),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sites",
                        to="commerce.product",
                    ),
                ),
            ],
            options={
                "constraints": [
                    config.kit.tenancy.VendorWall(name="commerce_productsite_vendor"),
                    models.UniqueConstraint(
                        fields=("product", "origin", "path"), name="commerce_productsite_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("path__startswith", "/"),
                            models.Q(
                                ("origin__startswith", "https://"),
                                (
                                    "origin__regex",
                                    "^http://(127\\.0\\.0\\.1|localhost)(:[0-9]+)?$",
                                ),
                                _connector="OR",
                            ),
                        ),
                        name="commerce_productsite_address",
                    ),
                ],
            },
        ),
    ]
