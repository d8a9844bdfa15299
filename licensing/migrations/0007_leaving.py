"""Nobody is given a license while being deleted: `licensing_assign` takes hold of the person before it judges.

The key-share lock is what the assignment's foreign key takes a moment later anyway. It waits for whoever disables or
deletes the person, then sees what they did; and makes them wait until the license is there to be freed (F-22).
"""

from importlib import import_module

from django.db import migrations

before = import_module("licensing.migrations.0003_one_seat")

_ONE = """                                   WHERE o.id = l.subscription_id)))
                ), row_given AS ("""
_MANY = """        -- A holder is found by person and product,"""

ASSIGN = before.ASSIGN.replace(
    _ONE,
    """                                   WHERE o.id = l.subscription_id)))
                       FOR KEY SHARE OF h
                ), row_given AS (""",
    1,
).replace(
    _MANY,
    f"""        PERFORM FROM directory_user u WHERE u.id = ANY (p_users) AND u.tenant_id = p_tenant
          ORDER BY u.id FOR KEY SHARE;

{_MANY}""",
    1,
)


class Migration(migrations.Migration):
    dependencies = [("licensing", "0006_bulk_pieces"), ("directory", "0008_leaving")]

    operations = [migrations.RunSQL(ASSIGN, before.ASSIGN)]
