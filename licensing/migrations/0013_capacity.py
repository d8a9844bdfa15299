"""What products report to use of storage (product §13)."""

import config.kit.tenancy
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0028_capacity'),
        ('directory', '0019_staff_provider_changes'),
        ('licensing', '0012_languages'),
    ]

    operations = [
        migrations.CreateModel(
            name='Consumption',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('database', 'Database'), ('file', 'Files'), ('log', 'Logs')], max_length=8)),
                ('environment', models.CharField(max_length=100)),
                ('used_mb', models.PositiveBigIntegerField()),
                ('measured_at', models.DateTimeField()),
                ('reported_at', models.DateTimeField()),
                ('product', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='commerce.product')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['tenant', '-used_mb', '-id'], name='licensing_consumption_most')],
                'constraints': [config.kit.tenancy.TenantWall(name='licensing_consumption_wall'), config.kit.tenancy.PairKey(name='licensing_consumption_pair'), models.UniqueConstraint(fields=('tenant', 'product', 'kind', 'environment'), name='licensing_consumption_once'), models.CheckConstraint(condition=models.Q(('kind__in', ['database', 'file', 'log'])), name='licensing_consumption_kind')],
            },
        ),
    ]
