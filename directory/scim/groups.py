"""Groups as SCIM groups: row to resource, resource to members, and what can be filtered."""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import accumulate, takewhile
from typing import Any, Final

from django.db.models import Count, Exists, Max, OuterRef, Q
from django.db.models.functions import Coalesce
from scim2_models import (
    InvalidFilterException,
    InvalidValueException,
    Meta,
    NotFoundException,
    PatchOp,
    Path,
    ResponseParameters,
    SearchRequest,
)
from scim2_models.path import AttrPath, CompareOperator, Comparison, ValuePath

from config.kit.actors import Actor
from config.kit.tenancy import ScopedQuerySet, tenant_atomic
from directory.models import Group, GroupMembership
from directory.operations.groups import delete_group, fill_group, keep_group, lock_group
from directory.operations.people import create_group
from directory.profiles import GroupState
from directory.scim import schemas
from directory.scim.filters import Attribute, condition, constant, instant, key, text
from directory.scim.users import checked, parsed_id

_LONGEST_NAME: Final = 200
_LONGEST_ID: Final = 255
# Most members on one page of groups; a group with more has a page to itself.
MOST_MEMBERS: Final = 10_000


class Groups:
    """The groups of one organization, as its directory sees them.

    A change about few members reads those alone, however many there are (`narrow`).
    """

    def __init__(self, actor: Actor, at: datetime) -> None:
        self.actor, self.at = actor, at
        # What was read, by id: a change is made from that, or not at all.
        self.seen: dict[str, tuple[GroupState, frozenset[uuid.UUID]]] = {}
        self.only: frozenset[uuid.UUID] | None = None

    def narrow(self, patch: "PatchOp[Any]") -> None:
        """Read no other members than those the patch names, where it names all that it is about."""
        self.only = members_named(patch)

    def get(self, resource_id: str, parameters: ResponseParameters[Any] | None = None) -> Any:
        """Two queries, one where the members are not asked for."""
        wants = parameters is None or _wants_members(parameters)
        with tenant_atomic(self.actor):
            group = self._counted().filter(key=parsed_id(resource_id)).first()
            if group is None:
                raise NotFoundException
            members = self._members([group.pk], self.only)[group.pk] if wants else []
        self.seen[resource_id] = (_state(group), frozenset(members))
        return resource_of(group, members)

    def search(self, request: SearchRequest[Any], start: int, count: int) -> tuple[int, list[Any]]:
        """How many match, and those from `start` on, in order of their age: fewer where they have many members."""
        rows = Group.objects.visible_to(self.actor)
        where = Q()
        if request.filter is not None:
            where = condition(str(request.filter), schemas.Group, _ATTRIBUTES, single=frozenset())
        total = rows.filter(where).count()
        if count == 0 or start >= total:
            return total, []
        groups = list(self._counted().filter(where).order_by("id")[start : start + count])
        members: dict[int, list[uuid.UUID]] = {}
        if _wants_members(request):
            groups = _few_enough(groups)
            members = self._members([group.pk for group in groups], None)
        return total, [resource_of(group, members.get(group.pk, [])) for group in groups]

    def create(self, resource: Any) -> Any:
        with tenant_atomic(self.actor):
            made = create_group(
                actor=self.actor,
                name=_name(resource),
                external_id=checked(resource.external_id, "externalId", _LONGEST_ID),
                at=self.at,
            )
            group = lock_group(self.actor, made.key)
            fill_group(actor=self.actor, group=group, added=_keys(resource), removed=(), at=self.at)
        return self.get(str(made.key))

    def update(self, resource: Any) -> Any:
        state, before = self.seen[resource.id]
        after = _keys(resource)
        keep_group(
            actor=self.actor,
            group_key=parsed_id(resource.id),
            name=_name(resource),
            external_id=checked(resource.external_id, "externalId", _LONGEST_ID),
            added=after - before,
            removed=before - after,
            seen=state,
            at=self.at,
        )
        return self.get(resource.id)

    def delete(self, resource_id: str) -> None:
        state, _members = self.seen[resource_id]
        delete_group(actor=self.actor, group_key=parsed_id(resource_id), seen=state, at=self.at)

    def _counted(self) -> ScopedQuerySet:
        """Groups with what tells two states of one apart."""
        rows: ScopedQuerySet = Group.objects.visible_to(self.actor).annotate(
            people=Count("memberships"), last=Coalesce(Max("memberships__id"), 0)
        )
        return rows

    def _members(
        self, groups: Collection[int], only: frozenset[uuid.UUID] | None
    ) -> dict[int, list[uuid.UUID]]:
        """Who is in each group, in order of joining; of `only` those, where they are named."""
        rows = GroupMembership.objects.filter(tenant_id=self.actor.tenant_id, group__in=groups)
        if only is not None:
            rows = rows.filter(user__key__in=only)
        found: dict[int, list[uuid.UUID]] = {group: [] for group in groups}
        for group, user in rows.order_by("id").values_list("group_id", "user__key").iterator(5_000):
            found[group].append(user)
        return found


def resource_of(group: Any, members: Iterable[uuid.UUID]) -> Any:
    """The resource of a group that was read with its state, without addresses."""
    entries = [
        schemas.Member.model_construct(value=str(user), ref=f"Users/{user}", type="User") for user in members
    ]
    return schemas.Group(
        id=str(group.key),
        external_id=group.external_id or None,
        display_name=group.name,
        members=entries or None,
        meta=Meta(
            resource_type="Group",
            created=group.created_at,
            last_modified=group.changed_at or group.created_at,
            version=f'W/"{_state(group).version}"',
        ),
    )


def members_named(patch: "PatchOp[Any]") -> frozenset[uuid.UUID] | None:
    """Whom a patch puts in or takes out by id; None where it is about members that it does not name."""
    named: set[uuid.UUID] = set()
    for operation in patch.operations or []:
        found = _named_by(operation)
        if found is None:
            return None
        named |= found
    return frozenset(named)


def _named_by(operation: Any) -> set[uuid.UUID] | None:
    op, value, path = str(operation.op.value), operation.value, operation.path
    node = path.ast if path else None
    if node is None:
        if not isinstance(value, dict):
            return None
        inner = [each for name, each in value.items() if name.casefold().endswith("members")]
        return _ids(inner[0]) if inner and op == "add" else (None if inner else set())
    if isinstance(node, AttrPath):
        if node.attr.casefold() != "members":
            return set()
        is_named = node.sub_attr is None and value is not None and op in ("add", "remove")
        return _ids(value) if is_named else None
    if isinstance(node, ValuePath) and op == "remove" and isinstance(node.val_filter, Comparison):
        asked = node.val_filter
        if asked.op == CompareOperator.eq and asked.attr_path.attr.casefold() == "value":
            return _ids([{"value": asked.value}])
    return None


def _ids(value: Any) -> set[uuid.UUID] | None:
    """The ids in a list of members; None where one has none."""
    found: set[uuid.UUID] = set()
    for each in value if isinstance(value, list) else [value]:
        try:
            found.add(uuid.UUID(each["value"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
    return found


def _state(group: Any) -> GroupState:
    return GroupState(group.name, group.external_id, group.people, group.last)


def _name(resource: Any) -> str:
    name = checked(resource.display_name, "displayName", _LONGEST_NAME)
    if not name:
        raise InvalidValueException(detail="A group has a displayName.")
    return name


def _keys(resource: Any) -> frozenset[uuid.UUID]:
    """:raises InvalidValueException: a member is not named by an id."""
    found = _ids([{"value": member.value} for member in resource.members or []])
    if found is None:
        raise InvalidValueException(detail="A member is not an account of this organization.")
    return frozenset(found)


def _wants_members(parameters: ResponseParameters[Any]) -> bool:
    paths = Path[schemas.Group].iter_paths(
        include_subattributes=False,
        attributes=parameters.attributes or [],
        excluded_attributes=parameters.excluded_attributes or [],
    )
    return any(str(path) == "members" for path in paths)


def _few_enough(groups: list[Any]) -> list[Any]:
    """The first group, and those after it while all have together no more members than a page shows."""
    sums = accumulate(group.people for group in groups)
    fitting = sum(1 for _sum in takewhile(lambda members: members <= MOST_MEMBERS, sums))
    return groups[: max(1, fitting)]


def _members_attribute() -> Attribute:
    def compare(op: str, value: Any) -> Q:
        if op != "eq":
            raise InvalidFilterException(detail="Members are compared with eq alone.")
        try:
            wanted = uuid.UUID(str(value))
        except ValueError:
            return Q(pk__in=[])
        rows = GroupMembership.objects.filter(group=OuterRef("pk"), user__key=wanted)
        return Q(Exists(rows))

    return Attribute(compare, Q(Exists(GroupMembership.objects.filter(group=OuterRef("pk")))))


_MEMBERS: Final = _members_attribute()
_ATTRIBUTES: Final[dict[tuple[str, str | None], Attribute]] = {
    ("id", None): key("key"),
    ("external_id", None): text("external_id", exact=True),
    ("display_name", None): text("name"),
    ("members", "value"): _MEMBERS,
    ("members", "type"): constant("User", _MEMBERS.present),
    ("meta", "resource_type"): constant("Group"),
    ("meta", "created"): instant("created_at"),
    ("meta", "last_modified"): instant(Coalesce("changed_at", "created_at")),
}
