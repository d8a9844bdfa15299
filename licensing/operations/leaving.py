"""The licenses of those who leave (product §11): freed at deletion, or some days after disabling."""

from datetime import datetime

from config.kit.tenancy import tenant_atomic, use_login
from directory.hooks import Departure
from licensing.operations import assignments


def free_licenses(departure: Departure) -> None:
    """Free the own licenses of somebody who just left, where they are not kept; registered on `person_left`."""
    with tenant_atomic(departure.actor):
        assignments.free_licenses_of(actor=departure.actor, user_ids=[departure.user.pk], at=departure.at)


def free_licenses_of_leavers(*, at: datetime) -> int:
    """The sweep: everybody's whose time is over; how many. Under the worker's login."""
    with use_login("worker"):
        return assignments.free_licenses_of_leavers(at=at)
