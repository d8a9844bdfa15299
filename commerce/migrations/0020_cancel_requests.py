import config.kit.tenancy
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0019_price_published'),
        ('directory', '0007_people_who_left'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CancelRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message', models.CharField(blank=True, max_length=500)),
                ('asked_at', models.DateTimeField()),
                ('asked_by_id', models.BigIntegerField(null=True)),
                ('asked_by', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('asked', 'Asked'), ('canceled', 'Canceled'), ('taken_over', 'Taken over'), ('withdrawn', 'Withdrawn'), ('ended', 'Ended')], default='asked', max_length=10)),
                ('reminders', models.PositiveSmallIntegerField(default=0)),
                ('next_reminder_at', models.DateTimeField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('closed_by', models.CharField(blank=True, max_length=200)),
                ('purchaser', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('subscription', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='cancel_requests', to='commerce.subscription')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.AddIndex(
            model_name='cancelrequest',
            index=models.Index(condition=models.Q(('next_reminder_at__isnull', False)), fields=['next_reminder_at', 'id'], name='commerce_cancelreq_reminder'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=config.kit.tenancy.TenantWall(name='commerce_cancelrequest_wall'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=config.kit.tenancy.PairKey(name='commerce_cancelrequest_pair'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=config.kit.tenancy.SameTenant(field='subscription', name='commerce_cancelrequest_subscription'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=config.kit.tenancy.SameTenant(field='purchaser', name='commerce_cancelrequest_purchaser'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'asked')), fields=('subscription',), name='commerce_cancelrequest_one_open'),
        ),
        migrations.AddConstraint(
            model_name='cancelrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('state', 'asked')), models.Q(models.Q(('state', 'asked'), _negated=True), ('closed_at__isnull', False), ('next_reminder_at__isnull', True)), _connector='OR'), name='commerce_cancelrequest_closed'),
        ),
    ]
