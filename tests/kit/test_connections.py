"""Whether a kept connection still lives is seen at its socket; asking would cost every request a round trip."""

import select
from pathlib import Path

import pytest
from django.db import connection, connections

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


def backend() -> int:
    """The server process behind the connection, as a request's first query finds it."""
    connection.close_if_unusable_or_obsolete()  # what Django does when a request begins
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
    return pid


def wait_for_words() -> None:
    said = select.poll()
    said.register(connection.connection.pgconn.socket, select.POLLIN)
    assert said.poll(10_000)


def sent_while_checked(folder: Path) -> str:
    """What went over the wire for the health check of a connection that lives."""
    with (folder / "sent").open("w+") as sent:
        connection.connection.pgconn.trace(sent.fileno())
        is_usable = connection.is_usable()
        connection.connection.pgconn.untrace()
        assert is_usable
        sent.seek(0)
        return sent.read()


def test_a_silent_connection_is_used_and_not_asked(tmp_path: Path) -> None:
    backend()

    assert sent_while_checked(tmp_path) == ""


def test_a_connection_that_the_server_has_ended_is_replaced_before_the_request_needs_it() -> None:
    before = backend()
    with connection.cursor() as cursor:
        cursor.execute("SET idle_session_timeout = '20ms'")
    wait_for_words()

    assert not connection.is_usable()
    assert backend() != before


def test_a_connection_that_only_has_something_to_say_is_kept() -> None:
    before = backend()
    with connection.cursor() as cursor:
        cursor.execute("LISTEN news")
    with connections["owner"].cursor() as cursor:
        cursor.execute("NOTIFY news")
    wait_for_words()

    assert connection.is_usable()
    assert backend() == before


def test_after_an_error_it_is_asked(tmp_path: Path) -> None:
    backend()
    connection.errors_occurred = True

    assert sent_while_checked(tmp_path) != ""


def test_a_closed_one_is_not_usable() -> None:
    backend()
    connection.connection.close()

    assert not connection.is_usable()
