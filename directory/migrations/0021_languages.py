"""What a person chose to read, and mails whose language is asked when they go out (docs/adr/0047)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0020_kept_answers")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="chosen_language",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What the person chose here; it goes before what the directory says.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="outgoingmail",
            name="language",
            field=models.CharField(blank=True, default="", max_length=10),
        ),
    ]
