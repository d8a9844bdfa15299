"""Calls with an Idempotency-Key keep the headers of their answer; a sweep over all organizations forgets them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0019_staff_provider_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='idempotentcall',
            name='headers',
            field=models.JSONField(default=dict),
        ),
        migrations.RunSQL(
            "UPDATE directory_idempotentcall SET headers = jsonb_build_object('Content-Type', content_type)",
            migrations.RunSQL.noop,
        ),
        migrations.RemoveField(
            model_name='idempotentcall',
            name='content_type',
        ),
        migrations.RemoveIndex(
            model_name='idempotentcall',
            name='directory_idempotent_age',
        ),
        migrations.AddIndex(
            model_name='idempotentcall',
            index=models.Index(fields=['created_at'], name='directory_idempotent_age'),
        ),
    ]
