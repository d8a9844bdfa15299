"""A relationship has both of its ends, as the constraint before it says; the columns say so too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0012_own_settings")]

    operations = [
        migrations.AlterField(
            model_name="relationship",
            name="starts_at",
            field=models.DateTimeField(),
        ),
        migrations.AlterField(
            model_name="relationship",
            name="ends_at",
            field=models.DateTimeField(),
        ),
    ]
