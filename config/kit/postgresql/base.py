"""Django's PostgreSQL engine, with a health check that costs no round trip."""

import select

from django.db.backends.postgresql import base


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

    def _is_silent(self) -> bool:
        if self.connection.closed:
            return False
        unread = select.poll()
        unread.register(self.connection.pgconn.socket, select.POLLIN)
        return not unread.poll(0)
