"""Mails whose sending began and did not end, in the list of the vendor's staff (docs/adr/0034)."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from config.kit.listings import listing_sql

# Columns and filters as before, so that rights and callers of before stay.
WAITING_MAILS = listing_sql(
    name="staff_waiting_mails",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, kind text, state text, tries integer,"
        " created_at timestamptz, next_try_at timestamptz, error text"
    ),
    rows="""
        SELECT m.id, m.tenant_id, t.name::text, m.kind::text,
               CASE m.state WHEN 'sent' THEN 'unsure' ELSE m.state::text END, m.tries::integer, m.created_at, m.next_try_at,
               left(regexp_replace(m.last_error, '[^[:space:]<>"''{}():,]+@[^[:space:]<>"''{}():,]+', '(address)', 'g'), 300)
          FROM public.directory_outgoingmail m
          JOIN public.directory_tenant t ON t.id = m.tenant_id
         WHERE ((in_state IN ('dead', 'stopped') AND m.state = 'dead')
             OR (in_state IN ('unsure', 'stopped') AND m.state = 'sent' AND m.sent_at IS NULL)
             OR (in_state = 'queued' AND m.state = 'queued'))
           AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="m.id",
).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("directory", "0022_webhooks")]

    operations = [
        migrations.RunSQL(WAITING_MAILS, migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="outgoingmail",
            index=models.Index(
                condition=models.Q(("sent_at__isnull", True), ("state", "sent")),
                fields=["id"],
                name="directory_mail_unsure",
            ),
        ),
    ]
