"""Subscriptions as the licenses pages show them, without prices, and who holds their licenses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.keyset import Page, paginate
from config.kit.tenancy import connection
from directory.models import User
from directory.models.people import fold
from directory.permissions import Capability
from directory.queries import search_users
from licensing.entitlements import GIVES_ACCESS
from licensing.lists import BadRow, Row
from licensing.models import Assignment

MOST_FOUND = 20


def sees_others_licenses(actor: Actor) -> bool:
    """Whether the licenses pages are there for the person: for purchasers, admins, readers and partners."""
    return actor.is_purchaser or bool(actor.scopes(Capability.SEE_LICENSES) & {"org", "all"})


def subscription_for(actor: Actor, key: UUID, *, to_see: str, to_assign: bool = False) -> Subscription:
    """One subscription with its product, for a page. One query.

    :raises NotVisible: missing, or `to_see` does not reach it.
    :raises NotAllowed: visible, but `to_assign` and not theirs.
    """
    rows = Subscription.objects.visible_to(actor, to_see)
    subscription: Subscription | None = rows.select_related("product").filter(key=key).first()
    if subscription is None:
        raise NotVisible
    if to_assign and not may_assign(actor, subscription):
        raise NotAllowed
    return subscription


def may_assign(actor: Actor, subscription: Subscription) -> bool:
    return actor.reaches(
        Capability.ASSIGN, is_own=subscription.is_owned_by(actor), is_org=subscription.is_organizations
    )


def licenses_page(actor: Actor, *, cursor: str, product_id: int | None = None) -> Page[Subscription]:
    """The subscriptions whose licenses the actor sees, by product, a page by key. One query."""
    rows = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).not_deleted()
    if product_id is not None:
        rows = rows.filter(product_id=product_id)
    return paginate(
        rows.select_related("product"),
        order=("product_sort", "id"),
        cursor=cursor,
        key=lambda row: (row.product_sort, row.pk),
    )


def holders_page(subscription: Subscription, *, cursor: str, query: str = "") -> Page[Assignment]:
    """Who holds a license, the latest first, a page by key; `query` narrows to people found by search."""
    rows = Assignment.objects.live().filter(tenant_id=subscription.tenant_id, subscription=subscription)
    if query:
        rows = rows.filter(user__in=[person.pk for person in search_users(query, limit=200)])
    return paginate(
        rows.select_related("user", "group_license"), order=("-id",), cursor=cursor, key=lambda row: (row.pk,)
    )


def holders_among(subscription: Subscription, user_ids: Sequence[int]) -> list[Assignment]:
    """The live rows of some people, by name."""
    rows = Assignment.objects.live().filter(
        tenant_id=subscription.tenant_id, subscription=subscription, user_id__in=user_ids
    )
    return list(rows.select_related("user").order_by("user__sort_name", "user_id"))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person in the picker, with what speaks against a license and through what they have the product."""

    user: User
    holds_here: bool
    through: tuple[Subscription, ...]
    is_excluded_guest: bool

    @property
    def can_be_chosen(self) -> bool:
        return self.user.is_active and not self.holds_here and not self.is_excluded_guest


def find_people(subscription: Subscription, query: str) -> list[Candidate]:
    """People whose name or address holds every word. Three queries, whatever the organization's size."""
    return _as_candidates(subscription, search_users(query, limit=MOST_FOUND))


def people_by_id(subscription: Subscription, user_ids: Sequence[int]) -> list[Candidate]:
    """The same for people already chosen; ids of nobody here are left out. Two queries."""
    people = User.objects.filter(tenant_id=subscription.tenant_id, pk__in=user_ids)
    return _as_candidates(subscription, list(people.order_by("sort_name", "pk")))


def _as_candidates(subscription: Subscription, people: Sequence[User]) -> list[Candidate]:
    if not people:
        return []
    rows = Assignment.objects.live().filter(
        tenant_id=subscription.tenant_id,
        user__in=[person.pk for person in people],
        product_id=subscription.product_id,
        subscription__state__in=GIVES_ACCESS | {subscription.state},
    )
    held: dict[int, list[Subscription]] = {}
    for row in rows.select_related("subscription"):
        held.setdefault(row.user_id, []).append(row.subscription)
    return [
        Candidate(
            user=person,
            holds_here=any(each.pk == subscription.pk for each in held.get(person.pk, [])),
            through=tuple(
                each
                for each in held.get(person.pk, [])
                if each.pk != subscription.pk and each.state in GIVES_ACCESS
            ),
            is_excluded_guest=person.kind == User.Kind.GUEST and not subscription.product.guests_may_hold,
        )
        for person in people
    ]


@dataclass(frozen=True, slots=True)
class Resolved:
    """Rows of a list and the people they name; an ambiguous name names nobody."""

    people: Mapping[int, Row]
    unknown: tuple[Row, ...]
    ambiguous: tuple[Row, ...]
    repeated: tuple[Row, ...]


def resolve(tenant_id: int, rows: Sequence[Row]) -> Resolved:
    """Whom the rows of a list name: by address, else by name, case apart. One query, index seeks."""
    found: dict[str, list[int]] = {}
    with connection().cursor() as cursor:
        cursor.execute(
            """
            SELECT 'a', lower(email), id FROM directory_user
             WHERE tenant_id = %(tenant)s AND status <> 'deleted'
               AND email = ANY (ARRAY(SELECT json_array_elements_text(%(addresses)s::json)))
            UNION ALL
            SELECT 'n', sort_name, id FROM directory_user
             WHERE tenant_id = %(tenant)s AND status <> 'deleted'
               AND sort_name = ANY (ARRAY(SELECT json_array_elements_text(%(names)s::json)))
            """,
            {
                "tenant": tenant_id,
                # As JSON: the driver's own adaptation of a long list costs as much as the search.
                "addresses": json.dumps(
                    [a for row in rows if row.is_address for a in {row.who, row.who.lower()}]
                ),
                "names": json.dumps([fold(row.who) for row in rows if not row.is_address]),
            },
        )
        for kind, text, user_id in cursor.fetchall():
            found.setdefault(kind + text, []).append(user_id)
    people: dict[int, Row] = {}
    unknown, ambiguous, repeated = [], [], []
    for row in rows:
        ids = found.get("a" + row.who.lower() if row.is_address else "n" + fold(row.who), [])
        if not ids:
            unknown.append(row)
        elif len(ids) > 1:
            ambiguous.append(row)
        elif ids[0] in people:
            repeated.append(row)
        else:
            people[ids[0]] = row
    return Resolved(people, tuple(unknown), tuple(ambiguous), tuple(repeated))


def named_ids(tenant_id: int, rows: Sequence[Row], bad: Sequence[BadRow] = ()) -> list[int]:
    """Whom the rows name, when each names one person and none is `bad`. One query. :raises Malformed: else."""
    resolved = resolve(tenant_id, rows)
    unclear = [row.who for row in (*resolved.unknown, *resolved.ambiguous)] + [row.text for row in bad]
    if unclear:
        raise Malformed(
            _("Nobody, or more than one person, has this name or address: %(names)s. Nothing was sent.")
            % {"names": ", ".join(unclear[:5])},
            field="people",
        )
    return list(resolved.people)
