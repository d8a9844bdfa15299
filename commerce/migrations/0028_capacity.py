"""The capacity that each license of a product gives (product §13)."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0026_catalogue_by_staff'),
    ]

    operations = [
        migrations.AddField(
            model_name='product',
            name='database_mb',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='product',
            name='file_mb',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='product',
            name='log_mb',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
    ]
