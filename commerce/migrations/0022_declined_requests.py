"""A purchaser may decline to cancel (product §10)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("commerce", "0021_support_cases")]

    operations = [
        migrations.AlterField(
            model_name="cancelrequest",
            name="state",
            field=models.CharField(
                choices=[
                    ("asked", "Asked"),
                    ("canceled", "Canceled"),
                    ("declined", "Declined"),
                    ("taken_over", "Taken over"),
                    ("withdrawn", "Withdrawn"),
                    ("ended", "Ended"),
                ],
                default="asked",
                max_length=10,
            ),
        ),
    ]
