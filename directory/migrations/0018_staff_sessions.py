"""Sessions in which the vendor's staff read an organization's pages, and nobody else ever does."""

import config.kit.tenancy
import datetime
import django.db.models.deletion
import django.db.models.expressions
import uuid
from django.db import migrations, models


OF_STAFF = """
CREATE FUNCTION directory_staffsession_of_staff() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM public.directory_tenant t
       JOIN public.directory_staffassignment a ON a.tenant_id = t.id AND a.user_id = NEW.user_id
      WHERE t.id = NEW.staff_tenant_id AND t.kind = 'vendor';
    IF FOUND THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'user % of tenant % does not work at the vendor', NEW.user_id, NEW.staff_tenant_id
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_staffsession_of_staff';
END
$$;
CREATE TRIGGER directory_staffsession_of_staff
BEFORE INSERT OR UPDATE OF tenant_id, staff_tenant_id, user_id ON directory_staffsession
FOR EACH ROW EXECUTE FUNCTION directory_staffsession_of_staff()
"""


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0017_staff_lists'),
    ]

    operations = [
        migrations.CreateModel(
            name='StaffSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('staff_tenant_id', models.BigIntegerField()),
                ('user_id', models.BigIntegerField()),
                ('staff_name', models.CharField(max_length=200)),
                ('organization', models.CharField(max_length=200)),
                ('reason', models.CharField(max_length=500)),
                ('opened_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['staff_tenant_id', 'user_id', '-id'], name='directory_staffsession_own'), models.Index(fields=['tenant', '-id'], name='directory_staffsession_tenant')],
                'constraints': [config.kit.tenancy.TenantWall(also='staff_tenant_id', name='directory_staffsession_wall'), config.kit.tenancy.PairKey(name='directory_staffsession_pair'), models.CheckConstraint(condition=models.Q(('staff_tenant_id', models.F('tenant')), _negated=True), name='directory_staffsession_elsewhere'), models.CheckConstraint(condition=models.Q(('ends_at__gte', models.F('opened_at')), ('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('opened_at'), '+', models.Value(datetime.timedelta(seconds=3600))))), name='directory_staffsession_an_hour'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='directory_staffsession_has_reason')],
            },
        ),
        migrations.RunSQL(
            OF_STAFF,
            "DROP TRIGGER directory_staffsession_of_staff ON directory_staffsession;"
            " DROP FUNCTION directory_staffsession_of_staff()",
        ),
    ]
