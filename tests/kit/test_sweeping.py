"""One item that cannot be dealt with holds up no other; what is nobody's fault ends the sweep."""

import logging

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django import db

from config.kit.sweeping import alone
from config.kit.tenancy import connection, use_login

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def sweep(*errors: Exception | None) -> list[int]:
    """The numbers of the items that were dealt with; each raises its error."""
    done = []
    for number, error in enumerate(errors):
        with alone("Item %s", number):
            if error is not None:
                raise error
            done.append(number)
    return done


@pytest.mark.parametrize("error", [db.IntegrityError("no"), AssertionError(), KeyError("state")])
def test_the_rest_goes_on_and_the_log_names_the_one(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with use_login("worker"), caplog.at_level(logging.ERROR), connection().cursor():
        assert sweep(None, error, None) == [0, 2]

    (record,) = caplog.records
    assert record.message == "Item 1 could not be dealt with; the next sweep tries again"
    assert record.exc_info


def test_a_worker_whose_time_is_over_stops() -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        sweep(SoftTimeLimitExceeded(), None)


def test_a_lost_database_ends_the_sweep() -> None:
    with use_login("worker"):
        connection().close()
        with pytest.raises(db.OperationalError):
            sweep(db.OperationalError("gone"), None)
