import django.db.models.functions.datetime
from django.db import migrations, models

# Nobody can say any more when these were published; they were announced by what was known of them.
KNOWN_BEFORE = "UPDATE commerce_price SET published_at = least(published_at, valid_from - interval '62 days')"


class Migration(migrations.Migration):
    dependencies = [("commerce", "0018_saved_views")]

    operations = [
        migrations.AddField(
            model_name="price",
            name="published_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.RunSQL(KNOWN_BEFORE, migrations.RunSQL.noop),
    ]
