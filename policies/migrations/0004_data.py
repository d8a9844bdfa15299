"""Data policies, and the rule for them as the database's statements ask it (product §14; docs/adr/0042).

`policies_data_policy` is the twin of `policies.data_rule.effective`, one row whatever was said;
`policies_service_is_on` its first column. SECURITY INVOKER, under row-level security; the tenant is named besides,
since the worker's login sees all.
"""

import config.kit.tenancy
import django.db.models.deletion
from django.db import migrations, models

_ORDER = "ORDER BY d.group_id IS NULL, d.product_id IS NULL"
POLICY = f"""
CREATE FUNCTION policies_data_policy(p_tenant bigint, p_product bigint, p_user bigint)
RETURNS TABLE (service_on boolean, external_sharing boolean, retention_days integer, creators text)
LANGUAGE sql STABLE AS $function$
    SELECT coalesce((array_agg(d.service_on {_ORDER}, d.service_on) FILTER (WHERE d.service_on IS NOT NULL))[1], true),
           coalesce((array_agg(d.external_sharing {_ORDER}, d.external_sharing)
                     FILTER (WHERE d.external_sharing IS NOT NULL))[1], true),
           coalesce((array_agg(d.retention_days {_ORDER}, d.retention_days DESC)
                     FILTER (WHERE d.retention_days IS NOT NULL))[1], 90),
           coalesce((array_agg(d.creators::text {_ORDER},
                               array_position('{{admins,holders,everyone}}'::text[], d.creators::text))
                     FILTER (WHERE d.creators <> ''))[1], 'holders')
      FROM policies_datapolicy d
     WHERE d.tenant_id = p_tenant AND (d.product_id IS NULL OR d.product_id = p_product)
       AND (d.group_id IS NULL OR EXISTS (
            SELECT FROM directory_groupmembership m WHERE m.group_id = d.group_id AND m.user_id = p_user))
$function$
"""
SERVICE = """
CREATE FUNCTION policies_service_is_on(p_tenant bigint, p_product bigint, p_user bigint) RETURNS boolean
LANGUAGE sql STABLE AS $function$
    SELECT d.service_on FROM policies_data_policy(p_tenant, p_product, p_user) d
$function$
"""


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0019_staff_provider_changes'),
        ('policies', '0003_license_requests'),
    ]

    operations = [
        migrations.CreateModel(
            name='DataPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('product_id', models.BigIntegerField(null=True)),
                ('service_on', models.BooleanField(null=True)),
                ('external_sharing', models.BooleanField(null=True)),
                ('retention_days', models.PositiveIntegerField(null=True)),
                ('creators', models.CharField(blank=True, choices=[('everyone', 'Everybody in the organization'), ('holders', 'Who has a license'), ('admins', 'Admins alone')], default='', max_length=8)),
                ('changed_at', models.DateTimeField()),
                ('changed_by', models.CharField(max_length=200)),
                ('group', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='directory.group')),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
                'constraints': [config.kit.tenancy.TenantWall(name='policies_datapolicy_wall'), config.kit.tenancy.PairKey(name='policies_datapolicy_pair'), config.kit.tenancy.SameTenant(field='group', name='policies_datapolicy_group'), models.UniqueConstraint(fields=('tenant', 'product_id', 'group'), name='policies_datapolicy_one', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('retention_days__isnull', True), models.Q(('group__isnull', True), ('retention_days__gte', 7), ('retention_days__lte', 3650)), _connector='OR'), name='policies_datapolicy_retention'), models.CheckConstraint(condition=models.Q(('creators__in', ['', 'everyone', 'holders', 'admins'])), name='policies_datapolicy_creators')],
            },
        ),
        migrations.RunSQL(POLICY, "DROP FUNCTION policies_data_policy"),
        migrations.RunSQL(SERVICE, "DROP FUNCTION policies_service_is_on"),
    ]
