"""Who of the vendor works at what, and nobody of anybody else."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import config.kit.tenancy

OF_VENDOR = """
CREATE FUNCTION directory_staff_of_vendor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM public.directory_tenant t WHERE t.id = NEW.tenant_id AND t.kind = 'vendor';
    IF FOUND THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'tenant % is not the vendor', NEW.tenant_id
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_staffassignment_of_vendor';
END
$$;
CREATE TRIGGER directory_staffassignment_of_vendor BEFORE INSERT OR UPDATE ON directory_staffassignment
FOR EACH ROW EXECUTE FUNCTION directory_staff_of_vendor()
"""


class Migration(migrations.Migration):

    dependencies = [
        ('directory', '0013_relationships_have_ends'),
    ]

    operations = [
        migrations.CreateModel(
            name='StaffAssignment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('staff_catalogue', 'Catalogue'), ('staff_support', 'Support'), ('staff_superuser', 'Superuser')], max_length=16)),
                ('granted_at', models.DateTimeField()),
                ('granted_by', models.CharField(max_length=200)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
                ('user', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='staff_assignments', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'constraints': [config.kit.tenancy.TenantWall(name='directory_staffassignment_wall'), config.kit.tenancy.PairKey(name='directory_staffassignment_pair'), config.kit.tenancy.SameTenant(field='user', name='directory_staffassignment_user_same'), models.UniqueConstraint(fields=('user', 'role'), name='directory_staffassignment_once'), models.CheckConstraint(condition=models.Q(('role__in', ('staff_catalogue', 'staff_support', 'staff_superuser'))), name='directory_staffassignment_known')],
            },
        ),
        migrations.RunSQL(
            OF_VENDOR,
            "DROP TRIGGER directory_staffassignment_of_vendor ON directory_staffassignment;"
            " DROP FUNCTION directory_staff_of_vendor()",
        ),
    ]
