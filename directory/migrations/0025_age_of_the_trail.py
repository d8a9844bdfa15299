"""The audit trail by age, built beside whoever writes it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('directory', '0024_names_of_people'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='auditentry',
            index=models.Index(fields=['at'], name='directory_audit_age'),
        ),
    ]
