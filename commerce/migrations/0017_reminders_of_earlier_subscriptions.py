from django.db import migrations

# Written before the column was: the reminder sweep looks at them now, tells what is due and writes the next look.
LOOK_NOW = """
    UPDATE commerce_subscription SET next_reminder_at = now()
     WHERE next_reminder_at IS NULL AND state IN ('scheduled', 'active', 'expired')
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0016_product_added_at")]

    operations = [migrations.RunSQL(LOOK_NOW, migrations.RunSQL.noop)]
