"""What a tenant allows to be done with a product's data, and where each value comes from (product §14). Pure.

Said of a group's people at one product, of a group, of a product, or of everything: the first that says something
holds, for each setting by itself. Of several groups of one person at one level the strictest counts. How long data is
kept is said of products alone: a workspace outlives the groups of whoever made it.

The database has a twin for statements that judge many at once (`policies_data_policy`, `policies_service_is_on`);
a test holds the two equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

EVERYONE, HOLDERS, ADMINS = "everyone", "holders", "admins"
STRICTNESS = {EVERYONE: 0, HOLDERS: 1, ADMINS: 2}
# Who may make workspaces where only admins may.
ADMIN_ROLES = ("global_admin", "billing_admin", "license_admin", "user_admin")

SHORTEST_DAYS, LONGEST_DAYS = 7, 3650
BUILT_IN_DAYS = 90

type Origin = Literal["group_product", "group", "product", "tenant", "built_in"]


@dataclass(frozen=True, slots=True)
class Said:
    """What was said in one place. `product_id` None: of every product; `group` empty: of everybody; None: nothing."""

    product_id: int | None = None
    group: str = ""
    service_on: bool | None = None
    external_sharing: bool | None = None
    retention_days: int | None = None
    creators: str | None = None

    @property
    def origin(self) -> Origin:
        if self.group:
            return "group" if self.product_id is None else "group_product"
        return "tenant" if self.product_id is None else "product"


@dataclass(frozen=True, slots=True)
class Value[V]:
    """One setting in force; `group` names the group that it comes from."""

    value: V
    origin: Origin
    group: str = ""


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """What holds. `retention`: days after which a workspace is deleted that nobody may use any more."""

    service: Value[bool]
    sharing: Value[bool]
    retention: Value[int]
    creators: Value[str]

    @property
    def service_on(self) -> bool:
        return self.service.value


def effective(said: Sequence[Said]) -> DataPolicy:
    """What holds, of all that applies: to the product, and to the groups of the person, where one is meant."""
    return DataPolicy(
        service=_first(said, lambda each: each.service_on, int, True),
        sharing=_first(said, lambda each: each.external_sharing, int, True),
        retention=_first(said, lambda each: each.retention_days, int.__neg__, BUILT_IN_DAYS),
        creators=_first(said, lambda each: each.creators, lambda who: -STRICTNESS[who], HOLDERS),
    )


def may_create(*, service_on: bool, creators: str, is_entitled: bool, is_admin: bool) -> bool:
    """Whether a person may make a workspace in the product. `is_admin`: of one of `ADMIN_ROLES`."""
    return service_on and (creators == EVERYONE or (is_entitled if creators == HOLDERS else is_admin))


def _first[V](
    said: Sequence[Said], read: Callable[[Said], V | None], leniency: Callable[[V], int], built_in: V
) -> Value[V]:
    """The most specific value, of equals the strictest; of those the group first by name."""
    told = [(each, value) for each in said if (value := read(each)) is not None]
    if not told:
        return Value(built_in, "built_in")
    found, value = min(
        told,
        key=lambda pair: (not pair[0].group, pair[0].product_id is None, leniency(pair[1]), pair[0].group),
    )
    return Value(value, found.origin, found.group)
