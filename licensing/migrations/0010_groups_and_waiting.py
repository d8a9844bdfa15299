"""Seats that follow a group, and the line that a freed seat goes to (docs/bulk.md, product §7.3, §7.6).

`licensing_serve_waiting` gives free seats of one subscription of the organization to the first in its line.
`licensing_unassign` calls it in the statement that frees seats, under the same row lock, so that nobody comes in
between; `served` are the places in the line that got one. A seat from a group that a person takes or gives back leaves
an exclusion, so that the group does not give it again. `licensing_group_members` says of each member of a group
whether they have a license, else why not; each is looked up by index, however few statistics there are.
"""

from importlib import import_module

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

import config.kit.tenancy

first = import_module("licensing.migrations.0002_assigning")
second = import_module("licensing.migrations.0003_one_seat")
SYSTEM = "Seatkeeper"

SERVE = f"""
CREATE FUNCTION licensing_serve_waiting(
    p_subscription bigint, p_at timestamptz, p_correlation text, OUT served bigint[]
) LANGUAGE plpgsql VOLATILE {first.SETTINGS} AS $function$
DECLARE
    s record;
BEGIN
    -- The lock first, in a statement of its own: what a competitor committed before is seen below.
    SELECT u.id, u.tenant_id, u.key, u.product_id, u.state, u.owner_kind,
           least(u.quantity, u.next_quantity) - u.assigned AS free, p.guests_may_hold, p.name
      INTO s
      FROM commerce_subscription u JOIN commerce_product p ON p.id = u.product_id
     WHERE u.id = p_subscription
       FOR NO KEY UPDATE OF u;
    IF NOT FOUND OR s.free <= 0 OR s.owner_kind <> 'organization' OR s.state NOT IN ('active', 'expired') THEN
        RETURN;
    END IF;
    -- Who cannot have one now keeps the place. Who is being disabled is waited for, as by `licensing_assign`.
    WITH line AS MATERIALIZED (
        SELECT w.id, w.user_id, h.name
          FROM licensing_waitingplace w JOIN directory_user h ON h.id = w.user_id
         WHERE w.subscription_id = s.id AND w.ended_at IS NULL
           AND h.status = 'active' AND (h.kind <> 'guest' OR s.guests_may_hold)
           AND NOT EXISTS (
               SELECT FROM licensing_assignment l
                WHERE l.user_id = h.id AND l.product_id = s.product_id AND l.ended_at IS NULL
                  AND (l.subscription_id = s.id OR (
                      SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                       WHERE o.id = l.subscription_id)))
         ORDER BY w.id LIMIT s.free
           FOR KEY SHARE OF h
    ), rows_given AS (
        INSERT INTO licensing_assignment
               (tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by, ended_by)
        SELECT s.tenant_id, s.id, line.user_id, s.product_id, p_at, '{SYSTEM}', '' FROM line ORDER BY line.id
        RETURNING id, user_id
    ), counter AS (
        UPDATE commerce_subscription u SET assigned = u.assigned + total.n
          FROM (SELECT count(*)::int AS n FROM rows_given) total
         WHERE u.id = s.id AND total.n > 0
    ), audited AS (
        INSERT INTO directory_auditentry
               (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
                target_type, target_id, target_label, after)
        SELECT s.tenant_id, p_at, 'licensing.license.given_from_waiting_list', s.tenant_id, '{SYSTEM}', '', 'job',
               p_correlation, 'subscription', s.key::text, left(s.name, 200),
               jsonb_build_object('user_id', r.user_id, 'assignment_id', r.id, 'user', line.name)
          FROM rows_given r JOIN line ON line.user_id = r.user_id
    ), told AS (
        INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
        SELECT s.tenant_id, s.id, p_at, 'license_from_waiting_list', '{SYSTEM}',
               jsonb_build_object('count', total.n, 'user_ids',
                   (SELECT jsonb_agg(x.user_id) FROM (SELECT user_id FROM line ORDER BY id LIMIT 5) x))
          FROM (SELECT count(*)::int AS n FROM rows_given) total WHERE total.n > 0
    ), ended AS (
        UPDATE licensing_waitingplace w
           SET ended_at = p_at, ended_by = '{SYSTEM}', outcome = 'given', assignment_id = r.id
          FROM line JOIN rows_given r ON r.user_id = line.user_id
         WHERE w.id = line.id
        RETURNING w.id
    )
    SELECT array_agg(id ORDER BY id) INTO served FROM ended;
END $function$
"""


MEMBERS = f"""
CREATE FUNCTION licensing_group_members(p_license bigint, OUT place bigint, OUT user_id bigint, OUT why text)
RETURNS SETOF record LANGUAGE sql STABLE {first.SETTINGS} AS $function$
    SELECT m.id, u.id, CASE
               WHEN held.here THEN 'holds'
               WHEN u.status <> 'active' THEN 'disabled'
               WHEN u.kind = 'guest' AND NOT p.guests_may_hold THEN 'guest'
               WHEN EXISTS (SELECT FROM licensing_groupexclusion x
                             WHERE x.group_license_id = g.id AND x.user_id = u.id) THEN 'taken_back'
               WHEN held.elsewhere THEN 'holds_product'
               ELSE 'no_seat' END
      FROM licensing_grouplicense g
      JOIN commerce_subscription s ON s.id = g.subscription_id
      JOIN commerce_product p ON p.id = s.product_id
      JOIN directory_groupmembership m ON m.group_id = g.group_id
      JOIN directory_user u ON u.id = m.user_id
     CROSS JOIN LATERAL (
           SELECT coalesce(bool_or(l.subscription_id = s.id), false) AS here,
                  coalesce(bool_or((SELECT o.state IN ('active', 'expired') FROM commerce_subscription o
                                     WHERE o.id = l.subscription_id)), false) AS elsewhere
             FROM licensing_assignment l
            WHERE l.user_id = u.id AND l.product_id = s.product_id AND l.ended_at IS NULL) held
     WHERE g.id = p_license
     ORDER BY m.id
$function$
"""


def changed(function: str, *changes: tuple[str, str]) -> str:
    """A function's text with parts replaced, each of which it has once."""
    for old, new in changes:
        if function.count(old) != 1:
            raise ValueError(old)
        function = function.replace(old, new)
    return function


BEFORE = second.UNASSIGN.replace("CREATE OR REPLACE FUNCTION", "CREATE FUNCTION", 1)
UNASSIGN = changed(
    BEFORE,
    ("OUT free integer", "OUT free integer, OUT served bigint[]"),
    (
        """RETURNING l.id, l.user_id
        ),""",
        """RETURNING l.id, l.user_id, l.group_license_id
        ), excluded AS (
            INSERT INTO licensing_groupexclusion
                   (tenant_id, group_license_id, user_id, excluded_at, excluded_by_id, excluded_by)
            SELECT p_tenant, r.group_license_id, r.user_id, p_at, p_actor, p_label FROM rows_ended r
             WHERE r.group_license_id IS NOT NULL AND p_actor IS NOT NULL
            ON CONFLICT DO NOTHING
            RETURNING 1
        ),""",
    ),
    (
        "free := s.free + taken;",
        """free := s.free + taken;
        IF taken > 0 AND s.owner_kind = 'organization' AND EXISTS (
            SELECT FROM licensing_waitingplace w WHERE w.subscription_id = s.id AND w.ended_at IS NULL) THEN
            served := licensing_serve_waiting(s.id, p_at, p_correlation);
            free := free - coalesce(cardinality(served), 0);
        END IF;""",
    ),
)
DROP = "DROP FUNCTION licensing_unassign"


class Migration(migrations.Migration):

    dependencies = [
        ('commerce', '0019_price_published'),
        ('directory', '0007_people_who_left'),
        ('licensing', '0009_centralizations'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='GroupTouch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('group_id', models.BigIntegerField()),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='WaitingPlace',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('added_at', models.DateTimeField()),
                ('added_by_id', models.BigIntegerField(null=True)),
                ('added_by', models.CharField(max_length=200)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_by_id', models.BigIntegerField(null=True)),
                ('ended_by', models.CharField(blank=True, max_length=200)),
                ('outcome', models.CharField(blank=True, choices=[('given', 'Got a license'), ('removed', 'Taken off the list'), ('held', 'Had a license by then'), ('closed', 'The list ended')], max_length=7)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='GroupLicense',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('group_name', models.CharField(max_length=200)),
                ('assigned_at', models.DateTimeField()),
                ('assigned_by_id', models.BigIntegerField(null=True)),
                ('assigned_by', models.CharField(max_length=200)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_by_id', models.BigIntegerField(null=True)),
                ('ended_by', models.CharField(blank=True, max_length=200)),
                ('group', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='directory.group')),
                ('subscription', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='group_licenses', to='commerce.subscription')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='GroupExclusion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('excluded_at', models.DateTimeField()),
                ('excluded_by_id', models.BigIntegerField(null=True)),
                ('excluded_by', models.CharField(max_length=200)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant')),
                ('user', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('group_license', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='exclusions', to='licensing.grouplicense')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.AddField(
            model_name='assignment',
            name='group_license',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='seats', to='licensing.grouplicense'),
        ),
        migrations.AddIndex(
            model_name='assignment',
            index=models.Index(condition=models.Q(('ended_at__isnull', True), ('group_license__isnull', False)), fields=['group_license', 'id'], name='licensing_assignment_of_group'),
        ),
        migrations.AddConstraint(
            model_name='assignment',
            constraint=config.kit.tenancy.SameTenant(field='group_license', name='licensing_assignment_group'),
        ),
        migrations.AddField(
            model_name='grouptouch',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant'),
        ),
        migrations.AddField(
            model_name='waitingplace',
            name='assignment',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='licensing.assignment'),
        ),
        migrations.AddField(
            model_name='waitingplace',
            name='subscription',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='waiting_places', to='commerce.subscription'),
        ),
        migrations.AddField(
            model_name='waitingplace',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='directory.tenant'),
        ),
        migrations.AddField(
            model_name='waitingplace',
            name='user',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='grouplicense',
            constraint=config.kit.tenancy.TenantWall(name='licensing_grouplicense_wall'),
        ),
        migrations.AddConstraint(
            model_name='grouplicense',
            constraint=config.kit.tenancy.PairKey(name='licensing_grouplicense_pair'),
        ),
        migrations.AddConstraint(
            model_name='grouplicense',
            constraint=config.kit.tenancy.SameTenant(field='subscription', name='licensing_grouplicense_subscription'),
        ),
        migrations.AddConstraint(
            model_name='grouplicense',
            constraint=config.kit.tenancy.SameTenant(field='group', name='licensing_grouplicense_group'),
        ),
        migrations.AddConstraint(
            model_name='grouplicense',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('subscription', 'group'), name='licensing_grouplicense_one_live'),
        ),
        migrations.AddConstraint(
            model_name='groupexclusion',
            constraint=config.kit.tenancy.TenantWall(name='licensing_groupexclusion_wall'),
        ),
        migrations.AddConstraint(
            model_name='groupexclusion',
            constraint=config.kit.tenancy.PairKey(name='licensing_groupexclusion_pair'),
        ),
        migrations.AddConstraint(
            model_name='groupexclusion',
            constraint=config.kit.tenancy.SameTenant(field='group_license', name='licensing_groupexclusion_license'),
        ),
        migrations.AddConstraint(
            model_name='groupexclusion',
            constraint=config.kit.tenancy.SameTenant(field='user', name='licensing_groupexclusion_user'),
        ),
        migrations.AddConstraint(
            model_name='groupexclusion',
            constraint=models.UniqueConstraint(fields=('group_license', 'user'), name='licensing_groupexclusion_once'),
        ),
        migrations.AddConstraint(
            model_name='grouptouch',
            constraint=config.kit.tenancy.TenantWall(name='licensing_grouptouch_wall'),
        ),
        migrations.AddConstraint(
            model_name='grouptouch',
            constraint=config.kit.tenancy.PairKey(name='licensing_grouptouch_pair'),
        ),
        migrations.AddIndex(
            model_name='waitingplace',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['subscription', 'id'], name='licensing_waiting_line'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=config.kit.tenancy.TenantWall(name='licensing_waitingplace_wall'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=config.kit.tenancy.PairKey(name='licensing_waitingplace_pair'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=config.kit.tenancy.SameTenant(field='subscription', name='licensing_waitingplace_subscription'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=config.kit.tenancy.SameTenant(field='user', name='licensing_waitingplace_user'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=config.kit.tenancy.SameTenant(field='assignment', name='licensing_waitingplace_assignment'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('subscription', 'user'), name='licensing_waitingplace_one_live'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=models.UniqueConstraint(condition=models.Q(('assignment__isnull', False)), fields=('assignment',), name='licensing_waitingplace_one_seat'),
        ),
        migrations.AddConstraint(
            model_name='waitingplace',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('assignment__isnull', True), ('ended_at__isnull', True), ('outcome', '')), models.Q(('assignment__isnull', False), ('ended_at__isnull', False), ('outcome', 'given')), models.Q(('assignment__isnull', True), ('ended_at__isnull', False), ('outcome__in', ['removed', 'held', 'closed'])), _connector='OR'), name='licensing_waitingplace_outcome'),
        ),
        migrations.RunSQL(SERVE, "DROP FUNCTION licensing_serve_waiting"),
        migrations.RunSQL(MEMBERS, "DROP FUNCTION licensing_group_members"),
        migrations.RunSQL([DROP, UNASSIGN], [DROP, BEFORE]),
    ]
