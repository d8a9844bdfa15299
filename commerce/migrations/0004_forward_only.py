"""States that only move forward (I-15), bills that never change (I-19), and the way from an intent to its tenant."""

from django.db import migrations

# Each pair is one arrow of the drawn graph; what is not here, the database refuses.
ARROWS = {
    "commerce_paymentattempt": """
        ('created','intent'), ('created','canceled'), ('created','failed'),
        ('intent','confirming'), ('intent','succeeded'), ('intent','failed'), ('intent','canceled'),
        ('intent','action'),
        ('confirming','unknown'), ('confirming','action'), ('confirming','succeeded'),
        ('confirming','failed'), ('confirming','canceled'),
        ('unknown','action'), ('unknown','succeeded'), ('unknown','failed'), ('unknown','canceled'),
        ('action','succeeded'), ('action','failed'), ('action','canceled')
    """,
    "commerce_checkout": """
        ('open','paying'), ('open','abandoned'),
        ('paying','action'), ('paying','open'), ('paying','paid'), ('paying','abandoned'),
        ('action','open'), ('action','paid'), ('action','abandoned'),
        ('abandoned','paid')
    """,
    "commerce_bill": """
        ('open','past_due'), ('open','paid'), ('open','credited'), ('open','void'),
        ('past_due','paid'), ('past_due','credited'), ('past_due','void'),
        ('paid','credited')
    """,
}
COLUMN = {"commerce_bill": "status"}

FIXED = {
    "commerce_bill": [
        "tenant_id", "number", "vendor_entity_id", "series_year", "series_number", "order_id", "subscription_id",
        "bill_to_id", "type", "issued_at", "period_start", "period_end", "currency", "subtotal_minor", "tax_name",
        "tax_rate", "tax_minor", "total_minor",
    ],
    "commerce_paymentattempt": [
        "tenant_id", "checkout_id", "bill_id", "key", "params_hash", "amount_minor", "currency",
        "customer_processor_id",
    ],
}  # fmt: skip


def forward_only(table: str) -> tuple[str, str]:
    """A trigger that refuses every change of state without an arrow."""
    column, name = COLUMN.get(table, "state"), f"{table}_forward"
    return (
        f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
        BEGIN
            IF (OLD.{column}, NEW.{column}) NOT IN ({ARROWS[table]}) THEN
                RAISE EXCEPTION 'A % row does not go from % to %', TG_TABLE_NAME, OLD.{column}, NEW.{column}
                    USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER {name} BEFORE UPDATE OF {column} ON {table} FOR EACH ROW
            WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {name}();
        """,
        f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();",
    )


def fixed(table: str) -> tuple[str, str]:
    """A trigger that refuses any change to columns that never change, and an intent id once it is known."""
    name = f"{table}_fixed"
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in FIXED[table])
    if table == "commerce_paymentattempt":
        changed += " OR (OLD.intent_id IS NOT NULL AND OLD.intent_id IS DISTINCT FROM NEW.intent_id)"
    return (
        f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
        BEGIN
            RAISE EXCEPTION 'A % row does not change', TG_TABLE_NAME
                USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
        END $$;
        CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW
            WHEN ({changed}) EXECUTE FUNCTION {name}();
        """,
        f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();",
    )


TENANT_OF_PAYMENT_INTENT = """
CREATE FUNCTION tenant_of_payment_intent(wanted text) RETURNS bigint
LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT a.tenant_id FROM public.commerce_paymentattempt a WHERE a.intent_id = wanted $$;
REVOKE ALL ON FUNCTION tenant_of_payment_intent(text) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0003_search_subscriptions")]

    operations = [
        *(migrations.RunSQL(*forward_only(table)) for table in ARROWS),
        *(migrations.RunSQL(*fixed(table)) for table in FIXED),
        migrations.RunSQL(TENANT_OF_PAYMENT_INTENT, "DROP FUNCTION tenant_of_payment_intent(text)"),
    ]
