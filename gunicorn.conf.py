"""How gunicorn serves, in every installation: it finds this file by itself in the folder in which it starts.

A value on the command line, or in GUNICORN_CMD_ARGS, wins.
"""

# Requests wait for PostgreSQL and for the card processor, so threads.
worker_class = "gthread"
threads = 4
# Where a request is mounted, and which path it asks for, is said by its first line alone: no header replaces it.
forwarder_headers = ""
# Without the query, in which a sign-in comes back with its code; masked, and on one line each.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s'
logger_class = "config.kit.web_log.WebServerLogger"
# Longer than PostgreSQL lets a statement of the web take (15 s), with what is around it.
timeout = 60
graceful_timeout = 10
# Who reads or writes slowly on purpose holds a thread; long lines and many headers are nobody's we know.
keepalive = 5
limit_request_line = 8190
limit_request_fields = 60
limit_request_field_size = 8190
