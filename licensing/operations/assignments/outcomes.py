"""What becomes of each person of a list of licenses to give or to take, and what is refused."""

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext_lazy as _

from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible, Text
from policies.operations.data import ServiceOff

BATCH_LIMIT = 1_000


class Outcome(StrEnum):
    """What became of one person's row; the value is stable."""

    ASSIGNED = "assigned"
    HOLDS_LICENSE = "holds_license"
    HOLDS_PRODUCT = "holds_product"
    GUEST = "guest"
    SERVICE_OFF = "service_off"
    DISABLED = "disabled"
    UNKNOWN = "unknown"
    NO_SEAT = "no_seat"
    REDUCTION_SCHEDULED = "reduction_scheduled"
    REPEATED = "repeated"
    UNASSIGNED = "unassigned"
    NOT_HELD = "not_held"

    @classmethod
    def of_giving(cls) -> frozenset["Outcome"]:
        """All that `licensing_assign` answers."""
        return frozenset(cls) - {cls.UNASSIGNED, cls.NOT_HELD}

    @property
    def label(self) -> Text:
        return _LABELS[self]

    @property
    def is_done(self) -> bool:
        return self in (Outcome.ASSIGNED, Outcome.UNASSIGNED)


# For want of a free seat, and not of the person.
FULL = (Outcome.NO_SEAT, Outcome.REDUCTION_SCHEDULED)
_LABELS: dict[Outcome, Text] = {
    Outcome.ASSIGNED: _("Has a license now"),
    Outcome.HOLDS_LICENSE: _("Already has a license from here"),
    Outcome.HOLDS_PRODUCT: _("Already has this product through another purchase"),
    Outcome.GUEST: _("Guest, this product is for members only"),
    Outcome.SERVICE_OFF: _("Your organization switched this product off"),
    Outcome.DISABLED: _("Account is disabled"),
    Outcome.UNKNOWN: _("Nobody here with that name or address"),
    Outcome.NO_SEAT: _("No license left"),
    Outcome.REDUCTION_SCHEDULED: _("No license left: fewer are scheduled for the renewal"),
    Outcome.REPEATED: _("Named twice"),
    Outcome.UNASSIGNED: _("No longer has a license"),
    Outcome.NOT_HELD: _("Has no license from here"),
}


@dataclass(frozen=True, slots=True)
class AssignmentResult:
    """Per person, in the order asked, what happened; `free` more seats can be assigned of the subscription.

    `served`: the places in the waiting list to which freed seats went.
    """

    outcomes: tuple[tuple[int, Outcome], ...]
    free: int
    served: tuple[int, ...] = ()

    @property
    def done(self) -> int:
        """How many rows changed."""
        return sum(outcome.is_done for _user, outcome in self.outcomes)

    def with_outcome(self, *wanted: Outcome) -> tuple[int, ...]:
        return tuple(user_id for user_id, outcome in self.outcomes if outcome in wanted)


class NotAssignable(DomainError):
    """The subscription is neither Active nor Expired (product §5.1)."""

    code = "not_assignable"
    message = _("Licenses can be assigned only while the product is active or expired.")


class NoSeatLeft(DomainError):
    code = "no_seat_left"
    message = _("No license is left. Nothing was assigned. Take one back first, or buy more.")


class ReductionScheduled(NoSeatLeft):
    """Seats are free, but fewer are scheduled for the renewal: no more than those can be assigned (I-05)."""

    code = "reduction_scheduled"
    message = _(
        "Fewer licenses are scheduled for the renewal, and all of those are assigned. Nothing was assigned."
        " Take one back first, or take back the scheduled change."
    )


class AlreadyAssigned(DomainError):
    code = "already_assigned"
    message = _("This person already has a license from here.")


class HoldsProduct(DomainError):
    """Assigning the product a second time needs a second click (product §7.1)."""

    code = "holds_product"
    message = _("This person already has this product through another purchase. Assign a second license?")


class GuestsExcluded(DomainError):
    code = "guests_excluded"
    message = _("This person is a guest, and this product is for members only.")


class PersonNotActive(DomainError):
    code = "person_not_active"
    message = _("This person's account is disabled.")


class PersonUnknown(DomainError):
    """No such person in this organization."""

    code = "person_unknown"
    status = 404
    message = _("Nobody here with that name or address.")


class NotHeld(DomainError):
    code = "not_held"
    message = _("This person has no license from here.")


class TooMany(Malformed):
    code = "too_many"

    def __init__(self) -> None:
        super().__init__(
            _("A list may have up to %(limit)s people.") % {"limit": f"{BATCH_LIMIT:,}"}, field="people"
        )


class Busy(DomainError):
    """Too many others hold or wait for the same subscription's lock."""

    code = "busy"
    status = 503
    message = _("Many people assign licenses of this right now. Nothing was assigned. Try again in a minute.")


REFUSALS: dict[Outcome, type[DomainError]] = {
    Outcome.HOLDS_LICENSE: AlreadyAssigned,
    Outcome.HOLDS_PRODUCT: HoldsProduct,
    Outcome.GUEST: GuestsExcluded,
    Outcome.SERVICE_OFF: ServiceOff,
    Outcome.DISABLED: PersonNotActive,
    Outcome.UNKNOWN: PersonUnknown,
    Outcome.NO_SEAT: NoSeatLeft,
    Outcome.REDUCTION_SCHEDULED: ReductionScheduled,
    Outcome.NOT_HELD: NotHeld,
}
VERDICTS: dict[str, type[DomainError]] = {
    "not_visible": NotVisible,
    "not_allowed": NotAllowed,
    "not_assignable": NotAssignable,
}
