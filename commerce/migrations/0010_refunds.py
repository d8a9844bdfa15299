"""Refunds: one at a time for a credit note, forward only, and undone where the bank sends the money back."""

import django.db.models.deletion
from django.db import migrations, models

import config.kit.tenancy

REFUND_ARROWS = "('created','succeeded'), ('created','failed'), ('succeeded','failed')"
DISPUTE_ARROWS = "('open','won'), ('open','lost')"
BILL_ARROWS = """
    ('open','past_due'), ('open','paid'), ('open','credited'), ('open','void'),
    ('past_due','paid'), ('past_due','credited'), ('past_due','void'),
    ('paid','credited')
"""
# A refund that the bank sends back opens its credit note again.
NOTE_ARROWS = "('paid','open')"

BILL_FIXED = [
    "tenant_id", "number", "vendor_entity_id", "series_year", "series_number", "order_id", "subscription_id",
    "bill_to_id", "type", "issued_at", "period_start", "period_end", "currency", "subtotal_minor", "tax_name",
    "tax_rate", "tax_minor", "total_minor",
]  # fmt: skip
REFUND_FIXED = ["tenant_id", "payment_id", "credit_note_id", "key", "amount_minor", "currency"]


def changed(columns: list[str]) -> str:
    return " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)


def forward_function(table: str, column: str, condition: str) -> str:
    name = f"{table}_forward"
    return f"""
        CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, public AS $$
        BEGIN
            IF NOT ({condition}) THEN
                RAISE EXCEPTION 'A % row does not go from % to %', TG_TABLE_NAME, OLD.{column}, NEW.{column}
                    USING ERRCODE = 'check_violation', CONSTRAINT = '{name}';
            END IF;
            RETURN NEW;
        END $$;
    """


def forward_only(table: str, column: str, arrows: str) -> tuple[str, str]:
    name = f"{table}_forward"
    return (
        forward_function(table, column, f"(OLD.{column}, NEW.{column}) IN ({arrows})")
        + f"""
        CREATE TRIGGER {name} BEFORE UPDATE OF {column} ON {table} FOR EACH ROW
            WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {name}();
        """,
        f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();",
    )


def fixed_trigger(table: str, condition: str) -> str:
    return f"""
        CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table} FOR EACH ROW
            WHEN ({condition}) EXECUTE FUNCTION {table}_fixed();
    """


BILL_MOVES = f"(OLD.status, NEW.status) IN ({BILL_ARROWS})"
NOTE_MOVES = f"OLD.credits_id IS NOT NULL AND (OLD.status, NEW.status) IN ({NOTE_ARROWS})"
KNOWN_REFUND = (
    "(OLD.processor_refund_id IS NOT NULL AND OLD.processor_refund_id IS DISTINCT FROM NEW.processor_refund_id)"
)
REFUND_FIXED_FUNCTION = """
    CREATE FUNCTION commerce_refundattempt_fixed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, public AS $$
    BEGIN
        RAISE EXCEPTION 'A % row does not change', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = 'commerce_refundattempt_fixed';
    END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("commerce", "0009_bills")]

    operations = [
        migrations.AddField(
            model_name="refund",
            name="reverses",
            field=models.OneToOneField(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reversed_by",
                to="commerce.refund",
            ),
        ),
        migrations.AlterField(
            model_name="refund",
            name="attempt",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refunds",
                to="commerce.paymentattempt",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=config.kit.tenancy.SameTenant(field="reverses", name="commerce_refund_reverses"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(attempt__isnull=False)
                | models.Q(payment__isnull=False, credit_note__isnull=False),
                name="commerce_refund_cause",
            ),
        ),
        migrations.AddConstraint(
            model_name="refundattempt",
            constraint=models.UniqueConstraint(
                condition=~models.Q(state="failed"),
                fields=["credit_note"],
                name="commerce_refundattempt_one_live",
            ),
        ),
        migrations.RunSQL(*forward_only("commerce_refundattempt", "state", REFUND_ARROWS)),
        migrations.RunSQL(*forward_only("commerce_dispute", "status", DISPUTE_ARROWS)),
        migrations.RunSQL(
            forward_function("commerce_bill", "status", f"({BILL_MOVES}) OR ({NOTE_MOVES})"),
            forward_function("commerce_bill", "status", BILL_MOVES),
        ),
        migrations.RunSQL(
            "DROP TRIGGER commerce_bill_fixed ON commerce_bill;"
            + fixed_trigger("commerce_bill", changed([*BILL_FIXED, "credits_id", "replaces_id"])),
            "DROP TRIGGER commerce_bill_fixed ON commerce_bill;"
            + fixed_trigger("commerce_bill", changed(BILL_FIXED)),
        ),
        migrations.RunSQL(
            REFUND_FIXED_FUNCTION
            + fixed_trigger("commerce_refundattempt", f"{changed(REFUND_FIXED)} OR {KNOWN_REFUND}"),
            "DROP TRIGGER commerce_refundattempt_fixed ON commerce_refundattempt;"
            "DROP FUNCTION commerce_refundattempt_fixed();",
        ),
    ]
