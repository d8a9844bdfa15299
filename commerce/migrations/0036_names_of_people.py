"""Whose the names are that stand beside what was done."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0035_charges_to_refund_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='cancelrequest',
            name='closed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='answered_by_id',
            field=models.BigIntegerField(null=True),
        ),
    ]
