"""The SQL functions that judge and move seats stand whole in `licensing/functions`, as they are installed (ADR 50)."""

from pathlib import Path

import pytest
from django.db import connections, transaction

import licensing

TEXTS = {
    path.stem: path.read_text() for path in (Path(licensing.__file__).parent / "functions").glob("*.sql")
}


def installed() -> dict[str, list[str]]:
    """The definitions of the database's functions of this app, by name."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """
            SELECT p.proname, array_agg(pg_get_functiondef(p.oid)) FROM pg_proc p
             WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'licensing\\_%' GROUP BY 1
            """
        )
        return dict(cursor.fetchall())


@pytest.mark.django_db(databases=["default", "owner"])
def test_what_is_installed_is_what_the_texts_say() -> None:
    before = installed()

    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        for text in TEXTS.values():
            cursor.execute(text)
        after = installed()
        transaction.set_rollback(True, using="owner")

    assert set(before) == {f"licensing_{name}" for name in TEXTS}
    assert after == before
