from django.db import migrations, models

# What was mailed before there was an inbox is not news: nobody finds a year of mails there as unread.
READ_BEFORE = "UPDATE directory_outgoingmail SET read_at = created_at WHERE read_at IS NULL"


class Migration(migrations.Migration):
    dependencies = [("directory", "0008_leaving")]

    operations = [
        migrations.AddField(
            model_name="outgoingmail",
            name="read_at",
            field=models.DateTimeField(null=True),
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
                    ("digest", "Waits for a digest"),
                    ("listed", "Listed in a digest"),
                    ("portal", "In the portal only"),
                ],
                default="queued",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="mailpreference",
            name="is_daily",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(READ_BEFORE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="outgoingmail",
            index=models.Index(
                condition=models.Q(("state", "digest")), fields=["next_try_at"], name="directory_mail_digest"
            ),
        ),
        migrations.AddIndex(
            model_name="outgoingmail",
            index=models.Index(fields=["to_user_id", "created_at", "id"], name="directory_mail_inbox"),
        ),
        migrations.AddIndex(
            model_name="outgoingmail",
            index=models.Index(
                condition=models.Q(("read_at", None)), fields=["to_user_id"], name="directory_mail_unread"
            ),
        ),
        migrations.AddIndex(
            model_name="outgoingmail",
            index=models.Index(
                condition=models.Q(("to_user_id__isnull", False)),
                fields=["created_at"],
                name="directory_mail_kept",
            ),
        ),
    ]
