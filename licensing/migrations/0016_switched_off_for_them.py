"""A longer outcome of centralizing, for whom a data policy has the product switched off (product §10, §14)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("licensing", "0015_workspaces")]

    operations = [
        migrations.AlterField(
            model_name="centralizedperson",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("moved", "Got a central license"),
                    ("held", "Had a central license already"),
                    ("guest", "Guest, this product is for members only"),
                    ("service_off", "Switched off for them"),
                    ("disabled", "Account is disabled"),
                    ("no_seat", "No central license was free"),
                    ("undone", "Central license taken back"),
                    ("kept", "Kept the central license"),
                ],
                max_length=11,
            ),
        ),
    ]
