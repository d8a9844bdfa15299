import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import config.kit.tenancy


class Migration(migrations.Migration):
    dependencies = [("directory", "0015_second_factor")]

    operations = [
        migrations.CreateModel(
            name="AccountLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("subject", models.CharField(blank=True, max_length=255)),
                ("said", models.JSONField(default=dict)),
                ("proved_at", models.DateTimeField(null=True)),
                (
                    "provider",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="links",
                        to="directory.identityprovider",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="directory.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="account_links",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"abstract": False},
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=config.kit.tenancy.TenantWall(name="directory_accountlink_wall"),
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=config.kit.tenancy.PairKey(name="directory_accountlink_pair"),
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=config.kit.tenancy.SameTenant(field="provider", name="directory_accountlink_provider_same"),
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=config.kit.tenancy.SameTenant(field="user", name="directory_accountlink_user_same"),
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=models.UniqueConstraint(fields=("provider", "user"), name="directory_accountlink_once"),
        ),
        migrations.AddConstraint(
            model_name="accountlink",
            constraint=models.UniqueConstraint(
                condition=models.Q(("subject", ""), _negated=True),
                fields=("provider", "subject"),
                name="directory_accountlink_subject",
            ),
        ),
        migrations.AddField(
            model_name="identityprovider",
            name="held_up_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="identityprovider",
            name="has_moved_people",
            field=models.BooleanField(db_default=False, default=False),
        ),
        # Nothing ever wrote these. They leave the database with a later release, since this one's predecessor reads them.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField(model_name="identityprovider", name="carried"),
                migrations.RemoveField(model_name="identityprovider", name="tests"),
            ]
        ),
    ]
