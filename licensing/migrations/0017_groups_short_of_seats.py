"""Which groups may be short of seats: all, until each was followed once (docs/bulk.md)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("licensing", "0016_switched_off_for_them")]

    operations = [
        migrations.AddField("grouplicense", "is_short", models.BooleanField(db_default=True, default=True)),
    ]
