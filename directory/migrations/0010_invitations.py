"""Invitations of partners, assignments to groups, and what else the partner's side may not do by itself."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import config.kit.tenancy

# Both sides see the rows of a relationship, and the policy lets both write. What the partner's side may do by itself
# is to end: not to agree in the customer's name, add roles, prolong, or have it extend.
PARTNER_ENDS_ONLY = """
CREATE OR REPLACE FUNCTION directory_partner_asks_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenant CONSTANT bigint := nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint;
BEGIN
    IF tenant IS DISTINCT FROM NEW.partner_tenant_id OR tenant = NEW.tenant_id THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.status IN (OLD.status, 'ended') AND OLD.status <> 'ended'
       AND (NEW.tenant_id, NEW.partner_tenant_id, NEW.starts_at)
           IS NOT DISTINCT FROM (OLD.tenant_id, OLD.partner_tenant_id, OLD.starts_at)
       AND NEW.roles <@ OLD.roles AND (OLD.extends OR NOT NEW.extends)
       AND (NEW.ends_at IS NOT DISTINCT FROM OLD.ends_at OR NEW.ends_at < OLD.ends_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the partner may ask and end, the customer decides'
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_partner_asks_only';
END
$$
"""

# What was asked is not changed by whoever asks or answers, and an answer is final.
INVITATION_IS_FINAL = """
CREATE FUNCTION directory_invitation_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state = 'waiting' OR NEW.state = OLD.state)
       AND (NEW.key, NEW.tenant_id, NEW.customer_tenant_id, NEW.customer_domain, NEW.name, NEW.roles, NEW.days,
            NEW.extends, NEW.message, NEW.requested_at, NEW.expires_at)
           IS NOT DISTINCT FROM
           (OLD.key, OLD.tenant_id, OLD.customer_tenant_id, OLD.customer_domain, OLD.name, OLD.roles, OLD.days,
            OLD.extends, OLD.message, OLD.requested_at, OLD.expires_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an invitation is answered once and never changed'
    USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'directory_invitation_is_final';
END
$$;
CREATE TRIGGER directory_invitation_is_final BEFORE UPDATE ON directory_invitation
FOR EACH ROW EXECUTE FUNCTION directory_invitation_is_final()
"""

# A group that goes takes its assignments along.
GROUP_KEY = """
ALTER TABLE directory_relationshipassignment
    ADD CONSTRAINT directory_relationshipassignment_group
        FOREIGN KEY (group_id, partner_tenant_id) REFERENCES directory_group (id, tenant_id) ON DELETE CASCADE
"""

NAME_HOLDERS = """
UPDATE directory_relationshipassignment a SET holder_name = u.name
  FROM directory_user u WHERE u.id = a.user_id AND a.holder_name = ''
"""


class Migration(migrations.Migration):
    dependencies = [("directory", "0009_inbox_and_digest")]

    operations = [
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("customer_tenant_id", models.BigIntegerField(blank=True, null=True)),
                ("customer_domain", models.CharField(max_length=253)),
                ("partner_name", models.CharField(max_length=200)),
                ("name", models.CharField(max_length=200)),
                (
                    "roles",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=16), size=None
                    ),
                ),
                ("days", models.PositiveSmallIntegerField()),
                ("extends", models.BooleanField(default=False)),
                ("message", models.TextField(blank=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting for the customer"),
                            ("approved", "Approved"),
                            ("declined", "Declined"),
                            ("withdrawn", "Withdrawn"),
                            ("lapsed", "Lapsed"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("requested_by_id", models.BigIntegerField(blank=True, null=True)),
                ("requested_by", models.CharField(max_length=200)),
                ("expires_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="directory.tenant",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="directory_invitation_partner"),
                    models.Index(fields=["customer_tenant_id", "-id"], name="directory_invitation_customer"),
                    models.Index(
                        condition=models.Q(("state", "waiting")),
                        fields=["expires_at"],
                        name="directory_invitation_due",
                    ),
                ],
                "constraints": [
                    config.kit.tenancy.TenantWall(also="customer_tenant_id", name="directory_invitation_wall"),
                    config.kit.tenancy.PairKey(name="directory_invitation_pair"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("customer_tenant_id__isnull", True),
                            models.Q(("customer_tenant_id", models.F("tenant")), _negated=True),
                            _connector="OR",
                        ),
                        name="directory_invitation_of_two",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("state", "waiting")),
                            models.Q(
                                models.Q(("state", "waiting"), _negated=True), ("decided_at__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="directory_invitation_decided",
                    ),
                ],
            },
        ),
        migrations.AlterField(
            model_name="relationship",
            name="status",
            field=models.CharField(
                choices=[("active", "Active"), ("ended", "Ended")], default="active", max_length=9
            ),
        ),
        migrations.AddConstraint(
            model_name="relationship",
            constraint=models.CheckConstraint(
                condition=models.Q(("partner_tenant_id", models.F("tenant")), _negated=True),
                name="directory_relationship_of_two",
            ),
        ),
        migrations.AddConstraint(
            model_name="relationship",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__isnull", False), ("starts_at__isnull", False)),
                name="directory_relationship_has_ends",
            ),
        ),
        migrations.AddIndex(
            model_name="relationship",
            index=models.Index(
                condition=models.Q(("status", "active")), fields=["ends_at"], name="directory_relationship_due"
            ),
        ),
        migrations.AlterField(
            model_name="relationshipassignment",
            name="user_id",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="relationshipassignment",
            name="group_id",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="relationshipassignment",
            name="holder_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.RunSQL(NAME_HOLDERS, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="relationshipassignment",
            constraint=models.UniqueConstraint(
                fields=("relationship", "group_id"), name="directory_relationshipassignment_group_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="relationshipassignment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("group_id__isnull", True), ("user_id__isnull", False)),
                    models.Q(("group_id__isnull", False), ("user_id__isnull", True)),
                    _connector="OR",
                ),
                name="directory_relationshipassignment_one_holder",
            ),
        ),
        migrations.AddIndex(
            model_name="relationshipassignment",
            index=models.Index(fields=["partner_tenant_id", "group_id"], name="directory_relassign_group"),
        ),
        migrations.RunSQL(GROUP_KEY, "ALTER TABLE directory_relationshipassignment"
                                     " DROP CONSTRAINT directory_relationshipassignment_group"),
        migrations.RunSQL(PARTNER_ENDS_ONLY, migrations.RunSQL.noop),
        migrations.RunSQL(
            INVITATION_IS_FINAL,
            "DROP TRIGGER directory_invitation_is_final ON directory_invitation;"
            "DROP FUNCTION directory_invitation_is_final",
        ),
    ]
