"""Django's PostgreSQL engine, with a health check that costs no round trip, and cursors that bind at the server."""

import select

from django.db.backends.postgresql import base
from django.db.backends.utils import CursorWrapper


class DatabaseWrapper(base.DatabaseWrapper):
    """Before each request's first query Django wants to know whether the kept connection still lives.

    A server that ended it (stopped, failed over, ended an idle session) has said so, and the words lie unread in the
    socket. Only then, or after an error, is it worth a query; a silent connection is used.
    """

    def is_usable(self) -> bool:
        """Whether the next query can be sent over the connection."""
        if self.connection is not None and not self.errors_occurred and self._is_silent():
            return True
        return super().is_usable()

    def binding_cursor(self) -> CursorWrapper:
        """A cursor that sends the values beside the statement instead of writing them into it, which costs a call less
        time; the statement must say what is what. Seen by whatever watches queries, as any other cursor."""
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            cursor = base.ServerBindingCursor(self.connection)  # type: ignore[call-arg]
            prepared: CursorWrapper = self._prepare_cursor(cursor)  # type: ignore[attr-defined]
        return prepared

    def _is_silent(self) -> bool:
        if self.connection.closed:
            return False
        unread = select.poll()
        unread.register(self.connection.pgconn.socket, select.POLLIN)
        return not unread.poll(0)
