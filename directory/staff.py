"""What the vendor's staff may do at /operator/ (product §2, §16): rows are capabilities, columns are roles. Pure data.

Roles and capabilities of their own: nobody of a customer's or a partner's ever has one, and they count only for a
person of the vendor, in a session in which the second factor was shown.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from config.kit.actors import Scope

ALL: Final[frozenset[Scope]] = frozenset({"all"})
YES, NO = True, False
# How the staff are named in an organization's audit trail.
SUPPORT: Final = "Support"


class StaffRole:
    """What somebody of the vendor works at."""

    CATALOGUE = "staff_catalogue"
    SUPPORT = "staff_support"
    SUPERUSER = "staff_superuser"


STAFF_ROLES = (StaffRole.CATALOGUE, StaffRole.SUPPORT, StaffRole.SUPERUSER)


class StaffCapability:
    """Names of the rows; an address of /operator/ and its operation ask for one of these."""

    OPERATE = "operate"  # be there at all: the first page, the own second factor
    OPERATE_CATALOGUE = "operate_catalogue"  # products, plans, prices, import, agreements
    OPERATE_SOLUTIONS = "operate_solutions"  # what partners show beside products
    SEE_TENANTS = "see_tenants"  # which organizations there are, and how they are set up
    OPERATE_TENANTS = "operate_tenants"  # create, kind, market, suspend, pause billing
    OPEN_STAFF_SESSION = "open_staff_session"  # read one organization's rows, with a reason
    OPERATE_WORK = "operate_work"  # parked and stuck work, webhooks, jobs, mails
    OPERATE_CASES = "operate_cases"  # support cases, the leaver's cancellation


class StaffRow(NamedTuple):
    catalogue: bool
    support: bool
    superuser: bool


# fmt: off
STAFF_TABLE: Final[Mapping[str, StaffRow]] = {
    #                                            catalogue support superuser
    StaffCapability.OPERATE:            StaffRow(YES,      YES,    YES),
    StaffCapability.OPERATE_CATALOGUE:  StaffRow(YES,      NO,     YES),
    StaffCapability.OPERATE_SOLUTIONS:  StaffRow(YES,      YES,    YES),
    StaffCapability.SEE_TENANTS:        StaffRow(NO,       YES,    YES),
    StaffCapability.OPERATE_TENANTS:    StaffRow(NO,       NO,     YES),
    StaffCapability.OPEN_STAFF_SESSION: StaffRow(NO,       YES,    YES),
    StaffCapability.OPERATE_WORK:       StaffRow(NO,       YES,    YES),
    StaffCapability.OPERATE_CASES:      StaffRow(NO,       YES,    YES),
}
# fmt: on
_COLUMNS = {
    StaffRole.CATALOGUE: "catalogue",
    StaffRole.SUPPORT: "support",
    StaffRole.SUPERUSER: "superuser",
}


def staff_grants(roles: Collection[str]) -> dict[str, frozenset[Scope]]:
    """The capabilities of somebody who works at all of `roles`."""
    columns = [_COLUMNS[role] for role in roles]
    return {
        capability: ALL
        for capability, row in STAFF_TABLE.items()
        if any(getattr(row, column) for column in columns)
    }


def roles_with(capability: str) -> list[str]:
    """The roles that have a capability."""
    return [role for role in STAFF_ROLES if getattr(STAFF_TABLE[capability], _COLUMNS[role])]
