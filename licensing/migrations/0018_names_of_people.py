"""Whose the names are that stand beside what was done."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('licensing', '0017_groups_short_of_seats'),
    ]

    operations = [
        migrations.AddField(
            model_name='licenserequest',
            name='forwarded_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='requestedperson',
            name='decided_by_id',
            field=models.BigIntegerField(null=True),
        ),
    ]
