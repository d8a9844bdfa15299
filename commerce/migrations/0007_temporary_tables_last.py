"""Look for temporary tables last in the search of subscriptions.

`pg_temp` that a path does not name is searched first: a caller's temporary view of the same name would then run
the caller's functions as the owner.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("commerce", "0006_checkout_lookups")]

    operations = [
        migrations.RunSQL(
            "ALTER FUNCTION search_subscriptions(text[], integer) SET search_path = pg_catalog, public, pg_temp",
            "ALTER FUNCTION search_subscriptions(text[], integer) SET search_path = pg_catalog, public",
        ),
    ]
