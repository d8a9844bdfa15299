"""What each login may do to each table.

Applied after every migration, as the owner. A model narrows its rights with `app_grants` and
`worker_grants`; a table that no model describes gets the default.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
APPEND_ONLY = "SELECT, INSERT"
READ_ONLY = "SELECT"
# Tables of Django's that would mix the tenants' rows and that nothing here uses.
CLOSED = ("django_admin_log",)


def apply_after_migrate(*, using: str, **_: Any) -> None:
    """Receiver of `post_migrate`; the owner alone grants."""
    if using == "owner":
        apply()


def apply() -> None:
    """Give the app and the worker their rights on all tables, sequences and functions of the schema."""
    conn = connections["owner"]
    quote = conn.ops.quote_name
    logins = {
        "app_grants": str(settings.DATABASES["default"]["USER"]),
        "worker_grants": str(settings.DATABASES["worker"]["USER"]),
    }
    with conn.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        present = {row[0] for row in cursor.fetchall()}
        for attribute, login in logins.items():
            role = quote(login)
            cursor.execute(
                f"GRANT USAGE ON SCHEMA public TO {role};"  # noqa: S608 - names of logins, quoted
                f"GRANT {EVERYTHING} ON ALL TABLES IN SCHEMA public TO {role};"
                f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};"
                f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role};"
                f"REVOKE ALL ON django_migrations FROM {role};"
                f"GRANT SELECT ON django_migrations TO {role}"
            )
            for table in CLOSED:
                cursor.execute(f"REVOKE ALL ON {quote(table)} FROM {role}")
            for model in apps.get_models():
                narrowed = _narrowed(model, attribute)
                if narrowed and model._meta.db_table in present:
                    table = quote(model._meta.db_table)
                    cursor.execute(
                        f"REVOKE ALL ON {table} FROM {role}; GRANT {narrowed} ON {table} TO {role}"
                    )


def _narrowed(model: type[models.Model], attribute: str) -> str | None:
    value: str | None = getattr(model, attribute, None)
    return value
