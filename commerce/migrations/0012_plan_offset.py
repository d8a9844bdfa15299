"""A subscription may change its plan at a renewal: how many months from its anchor the running plan began (I-12)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("commerce", "0011_cards")]

    operations = [
        migrations.AddField(
            model_name="subscription",
            name="offset_months",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
    ]
