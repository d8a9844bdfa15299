"""Whose the names are that stand beside what was done."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('policies', '0005_templates'),
    ]

    operations = [
        migrations.AddField(
            model_name='categorypolicy',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='datapolicy',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='grouppolicy',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='offertypepolicy',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='permit',
            name='granted_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='policytemplate',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='productpolicy',
            name='changed_by_id',
            field=models.BigIntegerField(null=True),
        ),
    ]
