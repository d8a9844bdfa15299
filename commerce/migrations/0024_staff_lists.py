"""What waits for the vendor's staff among purchases, money and cases, of all organizations (docs/adr/0034)."""

from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from config.kit.listings import listing_sql

_NAMED = "(in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)"

PARKED = listing_sql(
    name="staff_parked_subscriptions",
    filters="in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, product text, reason text, parked_at timestamptz,"
        " due_at timestamptz"
    ),
    rows=f"""
        SELECT s.id, s.key, s.tenant_id, t.name::text, p.name::text, s.parked_reason, s.parked_at, s.due_at
          FROM public.commerce_subscription s
          JOIN public.directory_tenant t ON t.id = s.tenant_id
          JOIN public.commerce_product p ON p.id = s.product_id
         WHERE s.parked_at IS NOT NULL AND {_NAMED}
    """,
    id="s.id",
)

# Overdue: the reconciler had an hour. One whose sum is another at the processor waits from the first moment.
STUCK_CHARGES = listing_sql(
    name="staff_stuck_charges",
    filters="in_words text, in_before timestamptz",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, bill text, amount_minor bigint, currency text, state text,"
        " reason text, intent_id text, created_at timestamptz, updated_at timestamptz"
    ),
    rows=f"""
        SELECT a.id, a.tenant_id, t.name::text, coalesce(b.number, '')::text, a.amount_minor, a.currency::text,
               a.state::text, a.decline_code::text, coalesce(a.intent_id, '')::text, a.created_at, a.updated_at
          FROM public.commerce_paymentattempt a
          JOIN public.directory_tenant t ON t.id = a.tenant_id
          LEFT JOIN public.commerce_bill b ON b.id = a.bill_id
         WHERE a.state NOT IN ('succeeded', 'failed', 'canceled')
           AND (a.decline_code = 'mismatch' OR a.updated_at <= in_before) AND {_NAMED}
    """,
    id="a.id",
)

# The latest refund of a credit note that is still owed, when it failed, is another at the processor, or takes a day.
STUCK_REFUNDS = listing_sql(
    name="staff_stuck_refunds",
    filters="in_words text, in_before timestamptz",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, note text, amount_minor bigint, currency text, state text,"
        " reason text, refund_id text, created_at timestamptz, updated_at timestamptz"
    ),
    rows=f"""
        SELECT r.id, r.tenant_id, t.name::text, n.number::text, r.amount_minor, r.currency::text, r.state::text,
               r.failure_code::text, coalesce(r.processor_refund_id, '')::text, r.created_at, r.updated_at
          FROM public.commerce_refundattempt r
          JOIN public.directory_tenant t ON t.id = r.tenant_id
          JOIN public.commerce_bill n ON n.id = r.credit_note_id
         WHERE ((r.state = 'failed' AND n.status = 'open'
                 AND NOT EXISTS (SELECT FROM public.commerce_refundattempt later
                                  WHERE later.credit_note_id = r.credit_note_id AND later.id > r.id))
                OR (r.state = 'created' AND (r.failure_code <> '' OR r.created_at <= in_before)))
           AND {_NAMED}
    """,
    id="r.id",
)

# Events arrive before any tenant is known; whose they are is known once the intent that they name is.
PROCESSOR_EVENTS = listing_sql(
    name="staff_processor_events",
    filters="in_state text, in_object text",
    columns=(
        "id bigint, event_id text, type text, object_id text, received_at timestamptz, handled_at timestamptz,"
        " tenant_id bigint, tenant_name text, bill text"
    ),
    rows="""
        SELECT w.id, w.event_id::text, w.type::text, w.object_id::text, w.received_at, w.handled_at, t.id,
               coalesce(t.name, '')::text, coalesce(b.number, '')::text
          FROM public.commerce_webhookevent w
          LEFT JOIN public.commerce_paymentattempt a ON a.intent_id = w.object_id
          LEFT JOIN public.commerce_cardsetup c ON c.intent_id = w.object_id
          LEFT JOIN public.directory_tenant t ON t.id = coalesce(a.tenant_id, c.tenant_id)
          LEFT JOIN public.commerce_bill b ON b.id = a.bill_id
         WHERE (in_state <> 'waiting' OR w.handled_at IS NULL)
           AND (in_state <> 'handled' OR w.handled_at IS NOT NULL)
           AND (in_object = '' OR w.object_id = in_object OR w.event_id = in_object OR w.type = in_object)
    """,
    id="w.id",
)

CASES = listing_sql(
    name="staff_cases",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, kind text, state text, product text,"
        " asked_at timestamptz, answered_at timestamptz"
    ),
    rows=f"""
        SELECT c.id, c.key, c.tenant_id, t.name::text, c.kind::text, c.state::text, p.name::text, c.asked_at,
               c.answered_at
          FROM public.commerce_supportcase c
          JOIN public.directory_tenant t ON t.id = c.tenant_id
          JOIN public.commerce_subscription s ON s.id = c.subscription_id
          JOIN public.commerce_product p ON p.id = s.product_id
         WHERE (in_state = '' OR c.state = in_state) AND {_NAMED}
    """,
    id="c.id",
)

# What a partner wants everybody to read is read here before.
SOLUTIONS = listing_sql(
    name="staff_solutions",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, product text, title text, description text, url text,"
        " state text, answer text, sent_at timestamptz"
    ),
    rows=f"""
        SELECT s.id, s.key, s.tenant_id, t.name::text, p.name::text, s.title::text, s.description::text, s.url::text,
               s.state::text, s.answer::text, s.sent_at
          FROM public.commerce_solution s
          JOIN public.directory_tenant t ON t.id = s.tenant_id
          JOIN public.commerce_product p ON p.id = s.product_id
         WHERE (in_state = '' OR s.state = in_state) AND {_NAMED}
    """,
    id="s.id",
)

AGREEMENTS = listing_sql(
    name="staff_agreements",
    filters="in_words text",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, name text, payment_days integer, ended_at timestamptz,"
        " prices bigint"
    ),
    rows=f"""
        SELECT g.id, g.tenant_id, t.name::text, g.name::text, g.payment_days::integer, g.ended_at,
               (SELECT count(*) FROM public.commerce_agreementprice x WHERE x.agreement_id = g.id)
          FROM public.commerce_agreement g
          JOIN public.directory_tenant t ON t.id = g.tenant_id
         WHERE {_NAMED}
    """,
    id="g.id",
)

TENANT_OF_DOMAIN = """
CREATE FUNCTION staff_tenant_of_domain(wanted text) RETURNS TABLE (tenant_id bigint, name text)
LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT t.id, t.name::text
      FROM public.directory_domain d
      JOIN public.directory_tenant t ON t.id = d.tenant_id
     WHERE d.name = wanted AND d.verified_at IS NOT NULL
       AND EXISTS (SELECT FROM public.directory_tenant v
                    WHERE v.id = nullif(current_setting('seatkeeper.tenant_id', true), '')::bigint AND v.kind = 'vendor')
$$
"""

FUNCTIONS = {
    "staff_parked_subscriptions(text, bigint, boolean, integer)": PARKED,
    "staff_stuck_charges(text, timestamptz, bigint, boolean, integer)": STUCK_CHARGES,
    "staff_stuck_refunds(text, timestamptz, bigint, boolean, integer)": STUCK_REFUNDS,
    "staff_processor_events(text, text, bigint, boolean, integer)": PROCESSOR_EVENTS,
    "staff_cases(text, text, bigint, boolean, integer)": CASES,
    "staff_solutions(text, text, bigint, boolean, integer)": SOLUTIONS,
    "staff_agreements(text, bigint, boolean, integer)": AGREEMENTS,
    "staff_tenant_of_domain(text)": TENANT_OF_DOMAIN,
}


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call them."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    for function in FUNCTIONS:
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {app}")


class Migration(migrations.Migration):
    dependencies = [("commerce", "0023_solutions"), ("directory", "0017_staff_lists")]

    operations = [
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                condition=models.Q(("parked_at__isnull", False)),
                fields=["id"],
                name="commerce_subscription_parked",
            ),
        ),
        migrations.AddIndex(
            model_name="refundattempt",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["id"], name="commerce_refundattempt_failed"
            ),
        ),
        migrations.AddField(
            model_name="agreement", name="ended_at", field=models.DateTimeField(blank=True, null=True)
        ),
        *(
            migrations.RunSQL(statement, f"DROP FUNCTION {function}")
            for function, statement in FUNCTIONS.items()
        ),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
