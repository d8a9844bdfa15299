"""When billing was last found right, and when the processor's charges were reconciled (F-26)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("commerce", "0013_dunning")]

    operations = [
        migrations.AddField(
            model_name="billingcontrol",
            name="checked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="billingcontrol",
            name="reconciled_at",
            field=models.DateTimeField(null=True),
        ),
    ]
