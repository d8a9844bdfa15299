"""What waits for the vendor's staff among mails and jobs, of all organizations (docs/adr/0034)."""

from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from config.kit.listings import listing_sql

# Addresses are no business of the staff: what the mail server said is shown without them.
WAITING_MAILS = listing_sql(
    name="staff_waiting_mails",
    filters="in_state text, in_words text",
    columns=(
        "id bigint, tenant_id bigint, tenant_name text, kind text, state text, tries integer,"
        " created_at timestamptz, next_try_at timestamptz, error text"
    ),
    rows="""
        SELECT m.id, m.tenant_id, t.name::text, m.kind::text, m.state::text, m.tries::integer, m.created_at, m.next_try_at,
               left(regexp_replace(m.last_error, '[^[:space:]<>"''{}():,]+@[^[:space:]<>"''{}():,]+', '(address)', 'g'), 300)
          FROM public.directory_outgoingmail m
          JOIN public.directory_tenant t ON t.id = m.tenant_id
         WHERE ((in_state = 'dead' AND m.state = 'dead') OR (in_state = 'queued' AND m.state = 'queued'))
           AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="m.id",
)

STOPPED_JOBS = listing_sql(
    name="staff_stopped_jobs",
    filters="in_words text",
    columns=(
        "id bigint, key uuid, tenant_id bigint, tenant_name text, kind text, reason text, done integer, failed integer,"
        " total integer, finished_at timestamptz"
    ),
    rows="""
        SELECT j.id, j.key, j.tenant_id, t.name::text, j.kind::text, j.reason::text, j.done, j.failed, j.total,
               j.finished_at
          FROM public.directory_job j
          JOIN public.directory_tenant t ON t.id = j.tenant_id
         WHERE j.state = 'failed' AND (in_words = '' OR strpos(lower(t.name), lower(in_words)) > 0)
    """,
    id="j.id",
)

FUNCTIONS = (
    "staff_waiting_mails(text, text, bigint, boolean, integer)",
    "staff_stopped_jobs(text, bigint, boolean, integer)",
)


def grant_execute(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nobody but the app's login may call them."""
    quote = schema_editor.quote_name
    app = quote(str(settings.DATABASES["default"]["USER"]))
    for function in FUNCTIONS:
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {app}")


class Migration(migrations.Migration):
    dependencies = [("directory", "0016_account_links")]

    operations = [
        migrations.AddIndex(
            model_name="outgoingmail",
            index=models.Index(
                condition=models.Q(("state", "dead")), fields=["id"], name="directory_mail_dead"
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["id"], name="directory_job_stopped"
            ),
        ),
        migrations.RunSQL(WAITING_MAILS, f"DROP FUNCTION {FUNCTIONS[0]}"),
        migrations.RunSQL(STOPPED_JOBS, f"DROP FUNCTION {FUNCTIONS[1]}"),
        migrations.RunPython(grant_execute, migrations.RunPython.noop),
    ]
