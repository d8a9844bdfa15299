"""What a worker does for licenses when it is rung; beat's schedule is in `config.celery`."""

from celery import shared_task

from config.kit import clock
from config.kit.tenancy import connection, use_login
from licensing.operations import centralizing, groups, leaving, request_sweeps, waiting, workspaces


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


@shared_task(name="licensing.follow_groups")
def follow_groups() -> None:
    """Give and take seats where the members of a group changed."""
    with use_login("worker"):
        at = clock.database_now(connection())
    groups.follow_groups(at=at)


@shared_task(name="licensing.even_out")
def even_out() -> None:
    """Give seats that came free to who waits, then to groups that are short of them."""
    with use_login("worker"):
        at = clock.database_now(connection())
    waiting.serve_lines(at=at)
    groups.even_out_groups(at=at)


@shared_task(name="licensing.recheck_groups")
def recheck_groups() -> None:
    """Look at every member of every group with licenses, for what nobody noted."""
    with use_login("worker"):
        at = clock.database_now(connection())
    groups.recheck_groups(at=at)


@shared_task(name="licensing.keep_workspaces")
def keep_workspaces() -> None:
    """Begin and end the time that workspaces are kept, and delete those whose time is over."""
    with use_login("worker"):
        at = clock.database_now(connection())
    workspaces.sweep_workspaces(at=at)
