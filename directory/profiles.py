"""An account and a group as an organization's directory keeps them (SCIM). Pure."""

import hashlib
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """What a directory says of a person; an empty text is an attribute that is not there."""

    user_name: str
    external_id: str
    name: str
    given_name: str
    family_name: str
    email: str
    language: str
    source: str
    is_active: bool

    @property
    def version(self) -> str:
        """The same for the same contents, whoever changed what in between."""
        return _digest(astuple(self))


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group with its members, by how many they are and which came last.

    Memberships get rising ids under the group's lock, so while the last one is the same they only went: two states
    of one group with the same last and the same count have the same members.
    """

    name: str
    external_id: str
    members: int
    last: int

    @property
    def version(self) -> str:
        return _digest(astuple(self))


def _digest(values: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()[:24]
