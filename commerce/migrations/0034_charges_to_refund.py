"""Charges that came too late are marked until they are given back, and the vendor's staff see them (ADR 34)."""

from django.db import migrations

from config.kit.listings import listing_sql

# Overdue: the reconciler had an hour. One whose sum is another at the processor waits from the first moment.
STUCK_CHARGES = listing_sql(
    name="staff_stuck_charges",
    filters="in_words text, in_before timestamptz",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, bill text, amount_minor bigint, currency text, state text,"
        " reason text, intent_id text, created_at timestamptz, updated_at timestamptz"
    ),
    rows="""
        SELECT a.id, a.tenant_id, t.name::text, coalesce(b.number, '')::text, a.amount_minor, a.currency::text,
               a.state::text, a.decline_code::text, coalesce(a.intent_id, '')::text, a.created_at, a.updated_at
          FROM public.commerce_paymentattempt a
          JOIN public.directory_tenant t ON t.id = a.tenant_id
          LEFT JOIN public.commerce_bill b ON b.id = a.bill_id
         WHERE (a.state NOT IN ('succeeded', 'failed', 'canceled')
                AND (a.decline_code = 'mismatch' OR a.updated_at <= in_before)
                OR a.decline_code = 'to_refund' AND a.created_at <= in_before)
           AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="a.id",
).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)

# What was left behind before there was the mark.
MARK = """
    UPDATE commerce_paymentattempt a SET decline_code = 'to_refund'
     WHERE a.state = 'succeeded' AND a.decline_code = ''
       AND NOT EXISTS (SELECT FROM commerce_payment p WHERE p.attempt_id = a.id)
       AND NOT EXISTS (SELECT FROM commerce_refund r WHERE r.attempt_id = a.id)
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0033_free_bills")]

    operations = [
        migrations.RunSQL(STUCK_CHARGES, migrations.RunSQL.noop),
        migrations.RunSQL(MARK, migrations.RunSQL.noop),
    ]
