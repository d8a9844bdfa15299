"""Support cases as conversations with files, premier incidents of agreements, and what the staff's list shows of a case."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import config.kit.tenancy
from config.kit.listings import listing_sql

# The channel is a column of the purchase and never leaves or becomes central, so it is looked at when a case takes an
# incident, and no index of purchases pays for it.
PREMIER_IS_CENTRAL = """
    CREATE FUNCTION commerce_supportcase_premier() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, public AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM commerce_subscription s
                        WHERE s.id = NEW.subscription_id AND s.channel = 'central'
                          AND s.agreement_id = NEW.agreement_id) THEN
            RAISE EXCEPTION 'A premier incident is for what was bought centrally under its agreement'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'commerce_supportcase_premier_is_central';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER commerce_supportcase_premier BEFORE INSERT OR UPDATE OF agreement_id, subscription_id
        ON commerce_supportcase FOR EACH ROW WHEN (NEW.agreement_id IS NOT NULL)
        EXECUTE FUNCTION commerce_supportcase_premier();
"""
NOT_PREMIER_IS_CENTRAL = """
    DROP TRIGGER commerce_supportcase_premier ON commerce_supportcase;
    DROP FUNCTION commerce_supportcase_premier();
"""

_FROM = """
          FROM public.commerce_supportcase c
          JOIN public.directory_tenant t ON t.id = c.tenant_id
          JOIN public.commerce_subscription s ON s.id = c.subscription_id
          JOIN public.commerce_product p ON p.id = s.product_id
         WHERE (in_state = '' OR c.state = in_state)
           AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
"""
CASES_BEFORE = listing_sql(
    name="staff_cases",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, kind text, state text, product text,"
        " asked_at timestamptz, answered_at timestamptz"
    ),
    rows=f"""
        SELECT c.id, c.key, c.tenant_id, t.name::text, c.kind::text, c.state::text, p.name::text, c.asked_at,
               c.answered_at {_FROM}
    """,
    id="c.id",
)
CASES = listing_sql(
    name="staff_cases",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, kind text, state text, product text,"
        " asked_at timestamptz, answered_at timestamptz, subject text, is_premier boolean, assigned_to text,"
        " waits_since timestamptz"
    ),
    rows=f"""
        SELECT c.id, c.key, c.tenant_id, t.name::text, c.kind::text, c.state::text, p.name::text, c.asked_at,
               c.answered_at, c.subject::text, c.agreement_id IS NOT NULL, c.assigned_to::text,
               coalesce(c.moved_at, c.answered_at, c.asked_at) {_FROM}
    """,
    id="c.id",
)
_FUNCTION = "staff_cases(text, text, bigint, boolean, integer)"


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call it."""
    app = schema_editor.quote_name(str(settings.DATABASES["default"]["USER"]))
    schema_editor.execute(f"REVOKE ALL ON FUNCTION {_FUNCTION} FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {_FUNCTION} TO {app}")


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0029_embed'),
        ('directory', '0019_staff_provider_changes'),
    ]

    operations = [
        migrations.CreateModel(
            name='CaseFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('media_type', models.CharField(max_length=40)),
                ('size', models.PositiveIntegerField()),
                ('content', models.BinaryField()),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='CaseMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('is_staff', models.BooleanField()),
                ('author_id', models.BigIntegerField(null=True)),
                ('author', models.CharField(max_length=200)),
                ('text', models.TextField()),
                ('is_mail', models.BooleanField(default=False)),
                ('message_id', models.CharField(blank=True, max_length=64)),
                ('left_out', models.JSONField(default=list)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='PremierIncidents',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('granted', models.PositiveIntegerField()),
                ('used', models.PositiveIntegerField(default=0)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.RemoveConstraint(
            model_name='supportcase',
            name='commerce_supportcase_one_open',
        ),
        migrations.RemoveConstraint(
            model_name='supportcase',
            name='commerce_supportcase_answered',
        ),
        migrations.AddField(
            model_name='supportcase',
            name='agreement',
            field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='commerce.agreement'),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='assigned_to',
            field=models.CharField(blank=True, db_default='', default='', max_length=200),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='assigned_to_id',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='given_back_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='is_organizations',
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='moved_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='supportcase',
            name='subject',
            field=models.CharField(blank=True, db_default='', default='', max_length=120),
        ),
        migrations.AlterField(
            model_name='supportcase',
            name='kind',
            field=models.CharField(choices=[('cancel', 'Cancel on behalf of a purchaser who left'), ('question', 'Question'), ('billing', 'Bills and payments')], max_length=8),
        ),
        migrations.AlterField(
            model_name='supportcase',
            name='state',
            field=models.CharField(choices=[('open', 'With support'), ('done', 'Carried out'), ('declined', 'Declined'), ('waiting', 'Waits for you'), ('answered', 'Answered'), ('solved', 'Solved'), ('closed', 'Closed')], default='open', max_length=8),
        ),
        migrations.AddIndex(
            model_name='supportcase',
            index=models.Index(fields=['tenant', '-id'], name='commerce_case_latest'),
        ),
        migrations.AddIndex(
            model_name='supportcase',
            index=models.Index(condition=models.Q(('state__in', ['waiting', 'answered', 'solved'])), fields=['moved_at'], name='commerce_case_quiet'),
        ),
        migrations.AddConstraint(
            model_name='supportcase',
            constraint=config.kit.tenancy.SameTenant(field='agreement', name='commerce_supportcase_agreement'),
        ),
        migrations.AddConstraint(
            model_name='supportcase',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'cancel'), ('state', 'open')), fields=('subscription', 'kind'), name='commerce_supportcase_one_open'),
        ),
        migrations.AddConstraint(
            model_name='supportcase',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('answered_at__isnull', True), ('kind', 'cancel'), ('state', 'open')), models.Q(('answered_at__isnull', False), ('kind', 'cancel'), ('state__in', ['done', 'declined'])), models.Q(models.Q(('kind', 'cancel'), _negated=True), ('moved_at__isnull', False), ('state__in', ['open', 'waiting', 'answered', 'solved', 'closed'])), _connector='OR'), name='commerce_supportcase_answered'),
        ),
        migrations.AddConstraint(
            model_name='supportcase',
            constraint=models.CheckConstraint(condition=models.Q(('agreement__isnull', False), ('given_back_at__isnull', True), _connector='OR'), name='commerce_supportcase_given_back'),
        ),
        migrations.AddField(
            model_name='casefile',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant'),
        ),
        migrations.AddField(
            model_name='casemessage',
            name='case',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='commerce.supportcase'),
        ),
        migrations.AddField(
            model_name='casemessage',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant'),
        ),
        migrations.AddField(
            model_name='casefile',
            name='message',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='files', to='commerce.casemessage'),
        ),
        migrations.AddField(
            model_name='premierincidents',
            name='agreement',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='premier', to='commerce.agreement'),
        ),
        migrations.AddField(
            model_name='premierincidents',
            name='tenant',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant'),
        ),
        migrations.AddIndex(
            model_name='casemessage',
            index=models.Index(fields=['case', 'id'], name='commerce_casemessage_case_idx'),
        ),
        migrations.AddConstraint(
            model_name='casemessage',
            constraint=config.kit.tenancy.TenantWall(name='commerce_casemessage_wall'),
        ),
        migrations.AddConstraint(
            model_name='casemessage',
            constraint=config.kit.tenancy.PairKey(name='commerce_casemessage_pair'),
        ),
        migrations.AddConstraint(
            model_name='casemessage',
            constraint=config.kit.tenancy.SameTenant(field='case', name='commerce_casemessage_case'),
        ),
        migrations.AddConstraint(
            model_name='casemessage',
            constraint=models.UniqueConstraint(condition=models.Q(('message_id', ''), _negated=True), fields=('case', 'message_id'), name='commerce_casemessage_mail_once'),
        ),
        migrations.AddConstraint(
            model_name='casefile',
            constraint=config.kit.tenancy.TenantWall(name='commerce_casefile_wall'),
        ),
        migrations.AddConstraint(
            model_name='casefile',
            constraint=config.kit.tenancy.PairKey(name='commerce_casefile_pair'),
        ),
        migrations.AddConstraint(
            model_name='casefile',
            constraint=config.kit.tenancy.SameTenant(field='message', name='commerce_casefile_message'),
        ),
        migrations.AddConstraint(
            model_name='premierincidents',
            constraint=config.kit.tenancy.TenantWall(name='commerce_premierincidents_wall'),
        ),
        migrations.AddConstraint(
            model_name='premierincidents',
            constraint=config.kit.tenancy.PairKey(name='commerce_premierincidents_pair'),
        ),
        migrations.AddConstraint(
            model_name='premierincidents',
            constraint=config.kit.tenancy.SameTenant(field='agreement', name='commerce_premierincidents_agreement'),
        ),
        migrations.AddConstraint(
            model_name='premierincidents',
            constraint=models.CheckConstraint(condition=models.Q(('used__lte', models.F('granted'))), name='commerce_premierincidents_left'),
        ),
        migrations.RunSQL(PREMIER_IS_CENTRAL, NOT_PREMIER_IS_CENTRAL),
        migrations.RunSQL(f"DROP FUNCTION {_FUNCTION}", CASES_BEFORE),
        migrations.RunSQL(CASES, f"DROP FUNCTION {_FUNCTION}"),
        migrations.RunPython(grant_execute, grant_execute),
    ]
