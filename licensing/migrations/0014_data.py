"""What a data policy switched off is given to nobody, and the entitlement answer says what the policy is (product §14).

Nobody gets a license of a product that is switched off for them: not by `licensing_assign`, not from the waiting list,
not through a group. Where nothing is switched off that costs one look at an index. `licensing_entitlement` answers
with the policy for the person and product, in the same statement.
"""

from importlib import import_module

from django.db import migrations

longer = import_module("licensing.migrations.0011_longer_lists")
groups = import_module("licensing.migrations.0010_groups_and_waiting")
entitlement = import_module("licensing.migrations.0004_entitlement")
changed = groups.changed


def _is_on(tenant: str, product: str, user: str) -> str:
    return f"""(NOT EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = {tenant} AND NOT off.service_on)
                            OR policies_service_is_on({tenant}, {product}, {user}))"""


ASSIGN = changed(
    longer.ASSIGN,
    (
        "AND (h.kind <> 'guest' OR s.guests_may_hold)",
        f"""AND (h.kind <> 'guest' OR s.guests_may_hold)
                       AND {_is_on("p_tenant", "s.product_id", "h.id")}""",
    ),
    (
        "WHEN u.kind = 'guest' AND NOT s.guests_may_hold THEN 'guest'",
        f"""WHEN u.kind = 'guest' AND NOT s.guests_may_hold THEN 'guest'
                    WHEN NOT {_is_on("p_tenant", "s.product_id", "u.id")} THEN 'service_off'""",
    ),
)
SERVE = changed(
    longer.replaced(groups.SERVE),
    (
        "AND (h.kind <> 'guest' OR s.guests_may_hold)",
        f"""AND (h.kind <> 'guest' OR s.guests_may_hold)
           AND {_is_on("s.tenant_id", "s.product_id", "h.id")}""",
    ),
)
MEMBERS = changed(
    longer.replaced(groups.MEMBERS),
    (
        "WHEN u.kind = 'guest' AND NOT p.guests_may_hold THEN 'guest'",
        f"""WHEN u.kind = 'guest' AND NOT p.guests_may_hold THEN 'guest'
               WHEN NOT {_is_on("g.tenant_id", "p.id", "u.id")} THEN 'service_off'""",
    ),
)
ENTITLEMENT = changed(
    entitlement.ENTITLEMENT,
    (
        "p_scopes text[], p_see_all text[],",
        "p_scopes text[], p_see_all text[], p_admins text[],",
    ),
    (
        "OUT is_recurring boolean",
        """OUT is_recurring boolean,
    OUT service_on boolean, OUT external_sharing boolean, OUT retention_days integer, OUT creators text,
    OUT is_admin boolean""",
    ),
    (
        """        SELECT l.id, l.last_used_on, s.key, s.channel,""",
        """        SELECT d.service_on, d.external_sharing, d.retention_days, d.creators
          INTO service_on, external_sharing, retention_days, creators
          FROM policies_data_policy(v_tenant, v_product, person.id) d;
        is_admin := creators = 'admins' AND EXISTS (
            SELECT FROM directory_roleassignment r WHERE r.user_id = person.id AND r.role = ANY (p_admins));
        IF NOT service_on THEN
            verdict := 'service_off';
            EXIT work;
        END IF;

        SELECT l.id, l.last_used_on, s.key, s.channel,""",
    ),
)
DROP = "DROP FUNCTION licensing_entitlement"


class Migration(migrations.Migration):
    dependencies = [("licensing", "0013_capacity"), ("policies", "0004_data")]

    operations = [
        migrations.RunSQL(ASSIGN, longer.ASSIGN),
        migrations.RunSQL(SERVE, longer.replaced(groups.SERVE)),
        migrations.RunSQL(MEMBERS, longer.replaced(groups.MEMBERS)),
        migrations.RunSQL([DROP, ENTITLEMENT], [DROP, entitlement.ENTITLEMENT]),
    ]
