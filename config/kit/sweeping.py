"""Each item of a sweep by itself: one that cannot be dealt with holds up no other (architecture §7)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import SoftTimeLimitExceeded
from django import db

from config.kit.tenancy import connection

log = logging.getLogger(__name__)


@contextmanager
def alone(what: str, *of: object) -> Iterator[None]:
    """What goes wrong with one item, outside any transaction, is logged with its traceback, and the rest goes on.

    The item stays as it is, so the next sweep tries it again. `what` and `of` say what could not be dealt with, as in
    `alone("Bill %s", bill_id)`. What is no item's fault passes through: a worker whose time is over, a database that is
    gone. Catch before what is expected of an item.
    """
    try:
        yield
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if isinstance(error, db.Error) and not connection().is_usable():
            raise
        log.exception("%s could not be dealt with; the next sweep tries again", what % of)
