"""What a worker does for licenses when it is rung; beat's schedule is in `config.celery`."""

from celery import shared_task

from config.kit import clock
from config.kit.tenancy import connection, use_login
from licensing.operations import centralizing, leaving, request_sweeps


@shared_task(name="licensing.end_requests")
def end_requests() -> None:
    """Let requests lapse that nobody answered, and forget those that were closed long ago."""
    with use_login("worker"):
        at = clock.database_now(connection())
    request_sweeps.lapse_requests(at=at)
    request_sweeps.forget_requests(at=at)


@shared_task(name="licensing.free_licenses")
def free_licenses() -> None:
    """Free the licenses of those who left, once their time is over."""
    with use_login("worker"):
        at = clock.database_now(connection())
    leaving.free_licenses_of_leavers(at=at)


@shared_task(name="licensing.settle_centralizations")
def settle_centralizations() -> None:
    """Move the money of runs that centralize, a day after their users."""
    with use_login("worker"):
        at = clock.database_now(connection())
    centralizing.settle_due(at=at)
