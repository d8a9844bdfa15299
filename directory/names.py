"""Where names and addresses of people stand, and what becomes of them (product §11; docs/adr/0052).

Each app adds its own places when it starts; `tests/directory/test_names.py` finds a column that is not among them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of a name."""

    # Overwritten with *Former user* when the person is deleted.
    FORMER = "former"
    # Overwritten or deleted together with the account.
    GONE = "gone"
    # Stays for AUDIT_KEPT and goes with its row: the audit trail.
    TRAIL = "trail"
    # Stays for AUDIT_KEPT by the row's `at`; then it is a dash.
    HISTORY = "history"
    # Stays for BILLS_KEPT; then it is emptied.
    BILL = "bill"
    # Goes after days or months, whoever it is about; each kind has a sweep of its own.
    SOON = "soon"


@dataclass(frozen=True, slots=True)
class Place:
    """One column.

    Of FORMER: `person` is the column with the id of whose name it is, `also` more that is said anew with the name, as
    SQL assignments over `t` (the row) and `u` (its person). Of HISTORY: `emptied` is what is left, as SQL over `t`.
    """

    table: str
    column: str
    fate: Fate
    person: str = ""
    also: str = ""
    emptied: str = "'-'"


_places: dict[Place, None] = {}


def add_places(places: Iterable[Place]) -> None:
    """Say where names stand, when the app starts."""
    _places.update(dict.fromkeys(places))


def places(fate: Fate | None = None) -> tuple[Place, ...]:
    """All places, or those of one fate."""
    return tuple(place for place in _places if fate in (None, place.fate))


def by(table: str, *columns: str) -> tuple[Place, ...]:
    """Columns that say who did something, each beside its `<column>_id`."""
    return tuple(Place(table, column, Fate.FORMER, person=f"{column}_id") for column in columns)


def of(fate: Fate, table: str, *columns: str) -> tuple[Place, ...]:
    """Columns of one table with the same fate."""
    return tuple(Place(table, column, fate) for column in columns)


OWN = (
    *of(Fate.TRAIL, "directory_auditentry", "actor_label", "target_label", "before", "after"),
    Place("directory_job", "actor_label", Fate.FORMER, person="actor_user_id"),
    *of(Fate.SOON, "directory_job", "title", "parameters", "cursor", "file_name"),
    *of(Fate.SOON, "directory_jobrow", "subject", "message"),
    *of(Fate.SOON, "directory_jobpart", "content"),
    *of(Fate.GONE, "directory_accountlink", "subject", "said"),
    *of(Fate.SOON, "directory_outgoingmail", "to_address", "context", "last_error"),
    *of(Fate.GONE, "directory_user", "name", "sort_name", "email", "given_name", "family_name"),
    *of(Fate.GONE, "directory_user", "user_name", "user_name_folded", "external_id"),
    *by("directory_roleassignment", "granted_by"),
    *of(Fate.GONE, "directory_relationshipassignment", "holder_name"),
    *by("directory_invitation", "requested_by"),
    *of(Fate.GONE, "directory_browsersession", "address", "agent"),
    *by("directory_staffassignment", "granted_by"),
    Place("directory_staffsession", "staff_name", Fate.FORMER, person="user_id"),
    *by("directory_identityprovider", "planned_by", "confirmed_by"),
    *by("directory_apitoken", "issued_by", "revoked_by"),
    *of(Fate.SOON, "directory_idempotentcall", "body"),
    *by("directory_webhookendpoint", "created_by"),
    *of(Fate.SOON, "directory_webhookdelivery", "data"),
)
