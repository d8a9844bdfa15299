import uuid

import config.kit.tenancy
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0020_cancel_requests'),
        ('directory', '0007_people_who_left'),
        ('licensing', '0008_telling_holders'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Centralization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('ending', models.CharField(choices=[('take_over', 'Take over and end'), ('ask', 'Ask the purchasers to cancel')], max_length=9)),
                ('ends_now', models.BooleanField(default=False)),
                ('state', models.CharField(choices=[('running', 'Running'), ('waiting', 'Moved, can be undone'), ('done', 'Done'), ('undoing', 'Being undone'), ('undone', 'Undone')], default='running', max_length=7)),
                ('job_key', models.UUIDField(null=True)),
                ('refund_at', models.DateTimeField()),
                ('tried_at', models.DateTimeField()),
                ('moved_at', models.DateTimeField(null=True)),
                ('money_at', models.DateTimeField(null=True)),
                ('undo_until', models.DateTimeField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('started_by_id', models.BigIntegerField(null=True)),
                ('started_by', models.CharField(max_length=200)),
                ('target', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='commerce.subscription')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
                'indexes': [
                    models.Index(fields=['tenant', '-id'], name='licensing_centralize_latest'),
                    models.Index(condition=models.Q(('state', 'waiting')), fields=['money_at'], name='licensing_centralize_money'),
                ],
                'constraints': [
                    config.kit.tenancy.TenantWall(name='licensing_centralization_wall'),
                    config.kit.tenancy.PairKey(name='licensing_centralization_pair'),
                    config.kit.tenancy.SameTenant(field='target', name='licensing_centralization_target'),
                    models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', False), ('state__in', ['done', 'undone'])), models.Q(models.Q(('state__in', ['done', 'undone']), _negated=True), ('closed_at__isnull', True)), _connector='OR'), name='licensing_centralization_closed'),
                    models.CheckConstraint(condition=models.Q(models.Q(('state', 'waiting'), _negated=True), models.Q(('money_at__isnull', False), ('moved_at__isnull', False)), _connector='OR'), name='licensing_centralization_waiting'),
                ],
            },
        ),
        migrations.CreateModel(
            name='CentralizedPurchase',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('taken_over', 'Taken over'), ('asked', 'Purchaser asked to cancel'), ('left', 'Ends by itself'), ('blocked', 'Not ended'), ('ended', 'Ended'), ('undone', 'As before')], default='waiting', max_length=10)),
                ('problem', models.CharField(blank=True, max_length=300)),
                ('refund_minor', models.BigIntegerField(default=0)),
                ('refunded_minor', models.BigIntegerField(null=True)),
                ('seen', models.JSONField(default=dict)),
                ('before', models.JSONField(default=dict)),
                ('centralization', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='purchases', to='licensing.centralization')),
                ('subscription', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='commerce.subscription')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
                'constraints': [
                    config.kit.tenancy.TenantWall(name='licensing_centralizedpurchase_wall'),
                    config.kit.tenancy.PairKey(name='licensing_centralizedpurchase_pair'),
                    config.kit.tenancy.SameTenant(field='centralization', name='licensing_centralizedpurchase_run'),
                    config.kit.tenancy.SameTenant(field='subscription', name='licensing_centralizedpurchase_sub'),
                    models.UniqueConstraint(fields=('centralization', 'subscription'), name='licensing_centralizedpurchase_once'),
                    models.UniqueConstraint(condition=models.Q(('state__in', ['waiting', 'taken_over'])), fields=('subscription',), name='licensing_centralizedpurchase_one_run'),
                ],
            },
        ),
        migrations.CreateModel(
            name='CentralizedPerson',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outcome', models.CharField(choices=[('moved', 'Got a central license'), ('held', 'Had a central license already'), ('guest', 'Guest, this product is for members only'), ('disabled', 'Account is disabled'), ('no_seat', 'No central license was free'), ('undone', 'Central license taken back'), ('kept', 'Kept the central license')], max_length=8)),
                ('at', models.DateTimeField()),
                ('given', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='licensing.assignment')),
                ('purchase', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='people', to='licensing.centralizedpurchase')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
                ('user', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'constraints': [
                    config.kit.tenancy.TenantWall(name='licensing_centralizedperson_wall'),
                    config.kit.tenancy.PairKey(name='licensing_centralizedperson_pair'),
                    config.kit.tenancy.SameTenant(field='purchase', name='licensing_centralizedperson_purchase'),
                    config.kit.tenancy.SameTenant(field='user', name='licensing_centralizedperson_user'),
                    config.kit.tenancy.SameTenant(field='given', name='licensing_centralizedperson_given'),
                    models.UniqueConstraint(fields=('purchase', 'user'), name='licensing_centralizedperson_once'),
                    models.CheckConstraint(condition=models.Q(models.Q(('given__isnull', False), ('outcome__in', ['moved', 'undone', 'kept'])), models.Q(models.Q(('outcome__in', ['moved', 'undone', 'kept']), _negated=True), ('given__isnull', True)), _connector='OR'), name='licensing_centralizedperson_given_or_not'),
                ],
            },
        ),
    ]
