"""Tokens, and the one look-up from a token's hash to its tenant (architecture §4).

Whether it is revoked or expired is judged here, by the database's own clock.
"""

import datetime
import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import config.kit.tenancy

TENANT_OF_TOKEN = """
CREATE FUNCTION tenant_of_token(digest bytea)
RETURNS TABLE (tenant_id bigint, id bigint)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT t.tenant_id, t.id
    FROM public.directory_apitoken t
    WHERE t.digest = tenant_of_token.digest AND t.revoked_at IS NULL AND t.expires_at > clock_timestamp()
$$
"""


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the two serving logins may call it."""
    quote = schema_editor.quote_name
    app, worker = (quote(str(settings.DATABASES[alias]["USER"])) for alias in ("default", "worker"))
    schema_editor.execute("REVOKE ALL ON FUNCTION tenant_of_token(bytea) FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION tenant_of_token(bytea) TO {app}, {worker}")


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0004_jobs'),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('kind', models.CharField(choices=[('personal', 'Personal'), ('service', 'Service')], max_length=8)),
                ('ceiling', models.CharField(blank=True, choices=[('global_admin', 'Global admin'), ('billing_admin', 'Billing admin')], max_length=16)),
                ('name', models.CharField(max_length=100)),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('ending', models.CharField(help_text='The last four signs, to tell tokens apart.', max_length=4)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20))),
                ('created_at', models.DateTimeField()),
                ('issued_by_id', models.BigIntegerField(null=True)),
                ('issued_by', models.CharField(max_length=200)),
                ('expires_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('revoked_by', models.CharField(blank=True, max_length=200)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
                ('user', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(fields=['tenant', 'kind', '-id'], name='directory_apitoken_latest')],
                'constraints': [config.kit.tenancy.TenantWall(name='directory_apitoken_wall'), config.kit.tenancy.PairKey(name='directory_apitoken_pair'), config.kit.tenancy.SameTenant(field='user', name='directory_apitoken_user_same'), models.CheckConstraint(condition=models.Q(models.Q(('ceiling', ''), ('kind', 'personal'), ('user__isnull', False)), models.Q(('ceiling__in', ['global_admin', 'billing_admin']), ('kind', 'service'), ('user__isnull', True)), _connector='OR'), name='directory_apitoken_stands_for'), models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('created_at')), ('expires_at__lte', django.db.models.expressions.CombinedExpression(models.F('created_at'), '+', models.Value(datetime.timedelta(days=366))))), name='directory_apitoken_one_year')],
            },
        ),
        migrations.RunSQL(TENANT_OF_TOKEN, "DROP FUNCTION tenant_of_token"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
