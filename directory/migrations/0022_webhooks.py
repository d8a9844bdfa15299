"""Outgoing webhooks, and the trigger that makes their messages of entries of the audit trail (docs/adr/0041).

It runs with the rights of whoever writes the trail, inside their walls, in their transaction.
"""

import config.kit.tenancy
import django.contrib.postgres.fields
import django.db.models.deletion
import uuid
from django.db import migrations, models

from directory.events import put_up_trigger

TYPE_OF_CODE = {
    'commerce.subscription.purchased': 'purchase.made',
    'commerce.subscription.trial_started': 'purchase.made',
    'commerce.subscription.renewed': 'purchase.renewed',
    'commerce.subscription.canceled': 'purchase.canceled',
    'commerce.subscription.expired': 'purchase.expired',
    'commerce.subscription.trial_ended': 'purchase.expired',
    'commerce.subscription.disabled': 'purchase.disabled',
    'commerce.subscription.deleted': 'purchase.deleted',
    'commerce.subscription.reactivated': 'purchase.reactivated',
    'commerce.subscription.taken_over': 'purchase.owner_changed',
    'commerce.subscription.handed_over': 'purchase.owner_changed',
    'commerce.subscription.take_over_undone': 'purchase.owner_changed',
    'commerce.seats.added': 'seats.changed',
    'commerce.seats.removed': 'seats.changed',
    'commerce.quantity.changed': 'seats.changed',
    'commerce.bill.issued': 'bill.issued',
    'commerce.bill.paid': 'bill.paid',
    'commerce.bill.payment_failed': 'bill.payment_failed',
    'policies.cap.changed': 'policy.changed',
    'policies.threshold.changed': 'policy.changed',
    'policies.default.changed': 'policy.changed',
    'policies.new_products.changed': 'policy.changed',
    'policies.category_policy.changed': 'policy.changed',
    'policies.product_policy.changed': 'policy.changed',
    'policies.group_policy.changed': 'policy.changed',
    'policies.offer_type_policy.changed': 'policy.changed',
    'licensing.license.assigned': 'license.assigned',
    'licensing.license.given_from_waiting_list': 'license.assigned',
    'licensing.license.unassigned': 'license.removed',
    'licensing.license.given_back': 'license.removed',
    'licensing.license.freed': 'license.removed',
    'licensing.licenses.ended': 'license.removed',
    'licensing.request.asked': 'request.opened',
    'licensing.request.approved': 'request.decided',
    'licensing.request.rejected': 'request.decided',
    'licensing.request.withdrawn': 'request.closed',
    'licensing.request.lapsed': 'request.closed',
    'directory.user.disabled': 'user.left',
    'directory.user.deleted': 'user.left',
    'directory.relationship.approved': 'relationship.approved',
    'directory.relationship.ended': 'relationship.ended',
}


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0021_languages'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('url', models.CharField(max_length=500)),
                ('name', models.CharField(max_length=100)),
                ('types', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40))),
                ('secret_encrypted', models.TextField()),
                ('former_secret_encrypted', models.TextField(blank=True)),
                ('former_until', models.DateTimeField(null=True)),
                ('state', models.CharField(choices=[('active', 'Active'), ('paused', 'Paused')], default='active', max_length=6)),
                ('paused_because', models.CharField(blank=True, choices=[('asked', 'Paused by an admin'), ('failing', 'Paused: a message did not arrive for three days'), ('gone', 'Paused: the address answered that it is gone (410)')], max_length=7)),
                ('paused_at', models.DateTimeField(null=True)),
                ('failing_since', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
                ('created_by', models.CharField(max_length=200)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('type', models.CharField(max_length=40)),
                ('at', models.DateTimeField()),
                ('data', models.JSONField(default=dict)),
                ('state', models.CharField(choices=[('queued', 'Waits'), ('delivered', 'Delivered'), ('dead', 'Given up')], default='queued', max_length=9)),
                ('tries', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('next_try_at', models.DateTimeField()),
                ('tried_at', models.DateTimeField(null=True)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('answer', models.CharField(blank=True, db_default='', max_length=500)),
                ('error', models.CharField(blank=True, db_default='', max_length=300)),
                ('milliseconds', models.PositiveIntegerField(null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
                ('endpoint', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='directory.webhookendpoint')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(fields=['tenant'], name='directory_webhook_tenant'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=config.kit.tenancy.TenantWall(name='directory_webhookendpoint_wall'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=config.kit.tenancy.PairKey(name='directory_webhookendpoint_pair'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('paused_at', None), ('paused_because', ''), ('state', 'active')), models.Q(('paused_at__isnull', False), ('paused_because__in', ['asked', 'failing', 'gone']), ('state', 'paused')), _connector='OR'), name='directory_webhookendpoint_why_paused'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('former_secret_encrypted', ''), ('former_until', None)), models.Q(models.Q(('former_secret_encrypted', ''), _negated=True), ('former_until__isnull', False)), _connector='OR'), name='directory_webhookendpoint_former'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'queued')), fields=['endpoint', 'next_try_at'], name='directory_webhook_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='directory_webhook_latest'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['at'], name='directory_webhook_age'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=config.kit.tenancy.TenantWall(name='directory_webhookdelivery_wall'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=config.kit.tenancy.PairKey(name='directory_webhookdelivery_pair'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=config.kit.tenancy.SameTenant(field='endpoint', name='directory_webhookdelivery_endpoint'),
        ),
        migrations.RunSQL(
            put_up_trigger(TYPE_OF_CODE),
            "DROP TRIGGER directory_queue_webhooks ON directory_auditentry; DROP FUNCTION directory_queue_webhooks()",
        ),
    ]
