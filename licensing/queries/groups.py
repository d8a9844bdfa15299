"""Groups that have licenses of a subscription, who of them has a seat, who has none and why (product §7.3).

`licensing_group_members` (`licensing/functions`) judges the members, for the pages as for whoever gives seats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db.models import Exists, OuterRef, QuerySet

from commerce.models import Subscription
from config.kit.tenancy import connection
from directory.models import Group, User
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment, GroupLicense

type Why = Literal["disabled", "guest", "service_off", "taken_back", "holds_product", "no_seat"]
MOST_NAMED = 200
# Groups to choose from at once; the others are found by their name.
MOST_OFFERED = 10


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group on a subscription's page: how many members, how many of them have a license from here, through
    whatever, and how many have none. `seats`: licenses that came from the group and would end with it."""

    license: GroupLicense
    members: int
    holders: int
    seats: int

    @property
    def without(self) -> int:
        return self.members - self.holders


def groups_of(subscription: Subscription) -> list[GroupRow]:
    """The groups that have licenses of it, by name. Two queries, one where there is none."""
    return _rows(list(_live(subscription).order_by("group_name", "id")))


def row_of(license: GroupLicense) -> GroupRow:
    """The same for one of them. One query."""
    return _rows([license])[0]


def _rows(licenses: Sequence[GroupLicense]) -> list[GroupRow]:
    if not licenses:
        return []
    with connection().cursor() as cursor:
        cursor.execute(_COUNTS, [[each.pk for each in licenses]])
        found = {pk: counts for pk, *counts in cursor.fetchall()}
    return [GroupRow(each, *found[each.pk]) for each in licenses]


def groups_to_add(subscription: Subscription, query: str = "") -> list[Group]:
    """Groups of the organization that have none of it yet, by name, at most one more than are shown. One query.

    `query` narrows to those with it in their name, whatever the case.
    """
    has = _live(subscription).filter(group=OuterRef("pk"))
    rows = Group.objects.filter(~Exists(has), tenant_id=subscription.tenant_id)
    if query:
        rows = rows.filter(name__icontains=query)
    return list(rows.order_by("name", "id")[: MOST_OFFERED + 1])


@dataclass(frozen=True, slots=True)
class Lost:
    """The licenses that came from a group: how many, and up to 200 of them by name, with person and product."""

    count: int
    seats: list[Assignment]


def lost_with(group: Group) -> Lost:
    """The licenses that end when the group is deleted. Two queries, one for a few."""
    rows = Assignment.objects.live().filter(
        tenant_id=group.tenant_id, group_license__group=group, group_license__ended_at__isnull=True
    )
    seats = list(
        rows.select_related("user", "subscription__product").order_by("user__name", "id")[: MOST_NAMED + 1]
    )
    return Lost(rows.count() if len(seats) > MOST_NAMED else len(seats), seats[:MOST_NAMED])


@dataclass(frozen=True, slots=True)
class Without:
    """A member who has no license from here, and why."""

    user: User
    why: Why


def members_without(license: GroupLicense) -> list[Without]:
    """Up to 200 members without a license from here, in the order in which they joined. Two queries."""
    with connection().cursor() as cursor:
        cursor.execute(_WITHOUT, [license.pk, MOST_NAMED])
        found: list[tuple[int, Why]] = cursor.fetchall()
    people = User.objects.filter(tenant_id=license.tenant_id).in_bulk([user_id for user_id, _why in found])
    return [Without(people[user_id], why) for user_id, why in found]


def candidates(license: GroupLicense, limit: int) -> list[int]:
    """Members who can have a license from here and have none, in the order in which they joined."""
    if limit <= 0:
        return []
    with connection().cursor() as cursor:
        cursor.execute(_CANDIDATES, [license.pk, limit])
        return [user_id for (user_id,) in cursor.fetchall()]


def leavers(license: GroupLicense, limit: int) -> list[int]:
    """Who has a seat through the group and is of it no more, or all of them once the group has none."""
    with connection().cursor() as cursor:
        cursor.execute(_LEAVERS, {"license": license.pk, "limit": limit})
        return [user_id for (user_id,) in cursor.fetchall()]


def licenses_short() -> list[tuple[int, int]]:
    """Tenant and id of every group license that is known to have something to do: its group is gone, or members may wait
    for seats of which some are free. Judges no member. Under the worker's login."""
    with connection().cursor() as cursor:
        cursor.execute(_SHORT, {"states": sorted(GIVES_ACCESS)})
        return [(tenant_id, license_id) for tenant_id, license_id in cursor.fetchall()]


def licenses_behind() -> list[tuple[int, int]]:
    """Tenant and id of every group license that has a seat to take or one to give, noted or not.

    Judges every member, one statement a group, some 20 microseconds a member. Under the worker's login.
    """
    with connection().cursor() as cursor:
        cursor.execute(_ALL)
        found = []
        for tenant_id, license_id in cursor.fetchall():
            cursor.execute(_IS_BEHIND, {"license": license_id, "states": sorted(GIVES_ACCESS), "limit": 1})
            if cursor.fetchone() is not None:
                found.append((tenant_id, license_id))
        return found


_COUNTS = """
SELECT g.id, counted.members, counted.holders,
       (SELECT count(*) FROM licensing_assignment a WHERE a.group_license_id = g.id AND a.ended_at IS NULL)
  FROM licensing_grouplicense g
 CROSS JOIN LATERAL (SELECT count(*) AS members, count(*) FILTER (WHERE m.why = 'holds') AS holders
                       FROM licensing_group_members(g.id) m) counted
 WHERE g.id = ANY (%s)
"""
_WITHOUT = """
SELECT m.user_id, m.why FROM licensing_group_members(%s) m WHERE m.why <> 'holds' ORDER BY m.place LIMIT %s
"""
_CANDIDATES = """
SELECT m.user_id FROM licensing_group_members(%s) m WHERE m.why = 'no_seat' ORDER BY m.place LIMIT %s
"""
# A scalar subquery is looked up by index, row by row; NOT EXISTS might become a join of two large sets.
_LEAVERS = """
SELECT a.user_id FROM licensing_assignment a JOIN licensing_grouplicense g ON g.id = a.group_license_id
 WHERE a.group_license_id = %(license)s AND a.ended_at IS NULL
   AND (g.ended_at IS NOT NULL
        OR (SELECT m.id FROM directory_groupmembership m
             WHERE m.group_id = g.group_id AND m.user_id = a.user_id) IS NULL)
 ORDER BY a.id LIMIT %(limit)s
"""
_SHORT = """
SELECT g.tenant_id, g.id FROM licensing_grouplicense g JOIN commerce_subscription s ON s.id = g.subscription_id
 WHERE g.ended_at IS NULL
   AND (g.group_id IS NULL
        OR g.is_short AND s.state = ANY (%(states)s) AND s.assigned < least(s.quantity, s.next_quantity))
 ORDER BY 1, 2
"""
_ALL = """
SELECT g.tenant_id, g.id FROM licensing_grouplicense g
 WHERE g.ended_at IS NULL
    OR EXISTS (SELECT FROM licensing_assignment a WHERE a.group_license_id = g.id AND a.ended_at IS NULL)
 ORDER BY 1, 2
"""
_IS_BEHIND = f"""
SELECT FROM licensing_grouplicense g JOIN commerce_subscription s ON s.id = g.subscription_id
 WHERE g.id = %(license)s
   AND (g.ended_at IS NULL AND g.group_id IS NULL
        OR EXISTS ({_LEAVERS})
        OR g.ended_at IS NULL AND s.state = ANY (%(states)s) AND s.assigned < least(s.quantity, s.next_quantity)
           AND EXISTS (SELECT FROM licensing_group_members(g.id) m WHERE m.why = 'no_seat'))
"""  # noqa: S608


def _live(subscription: Subscription) -> QuerySet[GroupLicense]:
    return GroupLicense.objects.filter(
        subscription=subscription, tenant_id=subscription.tenant_id, ended_at__isnull=True
    )
