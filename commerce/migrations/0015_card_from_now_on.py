"""A card with which something is paid can be said to pay the subscription from then on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("commerce", "0014_billing_control")]

    operations = [
        migrations.AddField(
            model_name="paymentattempt",
            name="pays_from_now_on",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
