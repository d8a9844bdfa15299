"""Bills over nothing are paid as they are issued (docs/adr/0049); the constraint of prices says what it holds."""

from django.db import migrations, models

# Each within its own organization's wall, by the owner's login; few, and found by an index of open bills.
PAY_FREE_BILLS = """
    UPDATE commerce_bill
       SET status = 'paid', paid_at = issued_at, charge_due_at = NULL, next_dunning_at = NULL
     WHERE total_minor = 0 AND credits_id IS NULL AND status IN ('open', 'past_due')
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0032_refused_bills")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE commerce_price"
                    " RENAME CONSTRAINT commerce_price_positive TO commerce_price_not_negative",
                    "ALTER TABLE commerce_price"
                    " RENAME CONSTRAINT commerce_price_not_negative TO commerce_price_positive",
                )
            ],
            state_operations=[
                migrations.RemoveConstraint(model_name="price", name="commerce_price_positive"),
                migrations.AddConstraint(
                    model_name="price",
                    constraint=models.CheckConstraint(
                        condition=models.Q(("unit_price_minor__gte", 0)), name="commerce_price_not_negative"
                    ),
                ),
            ],
        ),
        migrations.RunSQL(PAY_FREE_BILLS, migrations.RunSQL.noop),
    ]
