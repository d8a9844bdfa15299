"""The catalogue is written by the vendor's staff, while the vendor's tenant is set; a product can be withdrawn."""

from django.db import migrations, models

from config.kit.tenancy import VendorWall


class Migration(migrations.Migration):
    dependencies = [("commerce", "0025_organizations")]

    operations = [
        migrations.AddField(
            model_name="product",
            name="withdrawn_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="product", constraint=VendorWall(name="commerce_product_vendor")
        ),
        migrations.AddConstraint(
            model_name="productalias", constraint=VendorWall(name="commerce_productalias_vendor")
        ),
        migrations.AddConstraint(model_name="plan", constraint=VendorWall(name="commerce_plan_vendor")),
        migrations.AddConstraint(
            model_name="price",
            constraint=VendorWall(name="commerce_price_vendor", changes="valid_from > now()"),
        ),
    ]
