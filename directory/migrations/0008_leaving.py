"""How long a disabled person's licenses are kept, and mails that are not sent to who has left (product §11)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0007_people_who_left")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="seats_kept_days",
            field=models.PositiveSmallIntegerField(
                db_default=14,
                default=14,
                help_text="How long a disabled person's licenses are kept before they are free.",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("seats_kept_days__lte", 90)), name="directory_tenant_seats_kept_days"
            ),
        ),
        migrations.AlterField(
            model_name="outgoingmail",
            name="state",
            field=models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("sent", "Sent"),
                    ("dead", "Dead letter"),
                    ("left", "Not sent: the person had left"),
                ],
                default="queued",
                max_length=6,
            ),
        ),
    ]
