"""The queue of requests for licenses, and what stands beside one (product §7.5)."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, F, IntegerField, Q, Sum, Value, When

from commerce.models import Product, Subscription
from commerce.queries.catalogue import market_of, offer
from commerce.queries.eligibility import eligibility_for
from commerce.queries.standing import Licenses
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import COUNT_LIMIT, Page, paginate
from directory.actors import build_actor, tenant_row
from directory.models import User
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment, LicenseRequest, RequestedPerson
from policies.queries.spending import limits_of

State = LicenseRequest.State
# The buttons above the queue: what each shows.
FILTERS: dict[str, tuple[str, ...]] = {
    "waiting": (State.WAITING, State.FORWARDED),
    "forwarded": (State.FORWARDED,),
    "approved": (State.APPROVED, State.PARTLY),
    "rejected": (State.REJECTED,),
    "all": tuple(State.values),
}
POLICY_REASONS = frozenset({"policy_disabled", "policy_trials_only", "policy_undecided"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What so many licenses cost a month without tax, by the list; None where the vendor has no price."""

    amount_minor: int | None
    currency: str


def estimate_of(*, actor: Actor, product: Product, seats: int, at: datetime) -> Estimate:
    """Four queries at most."""
    found = offer(product=product, market=market_of(tenant_row(actor.tenant_id).country), at=at).monthly
    return Estimate(found.unit_price_minor * seats, found.currency) if found else Estimate(None, "")


def with_free_seats(*, tenant_id: int, product_id: int) -> list[Subscription]:
    """The organization's subscriptions from which a request can be granted, in the order in which seats are taken.

    Central ones first, then those taken over, the latest end first (product §7.4). One query.
    """
    rows = _free_ones(tenant_id, [product_id]).annotate(
        place=Case(
            When(channel=Subscription.Channel.CENTRAL, then=Value(0)),
            default=Value(1),
            output_field=IntegerField(),
        )
    )
    return list(rows.order_by("place", "-term_end", "id"))


def free_seats(*, tenant_id: int, product_ids: Collection[int]) -> dict[int, int]:
    """How many licenses of each product can be given now; products without are absent. One query."""
    rows = _free_ones(tenant_id, product_ids).order_by().values("product_id")
    summed = rows.annotate(
        free=Sum(
            Case(
                When(next_quantity__lt=F("quantity"), then=F("next_quantity")),
                default=F("quantity"),
                output_field=IntegerField(),
            )
            - F("assigned")
        )
    )
    return dict(summed.values_list("product_id", "free"))


def _free_ones(tenant_id: int, product_ids: Collection[int]):  # type: ignore[no-untyped-def]
    return Subscription.objects.filter(
        Q(next_quantity__isnull=True) | Q(next_quantity__gt=F("assigned")),
        tenant_id=tenant_id,
        product_id__in=product_ids,
        owner_kind=Subscription.Owner.ORGANIZATION,
        state=Subscription.State.ACTIVE,
        quantity__gt=F("assigned"),
    ).exclude(channel=Subscription.Channel.TRIAL)


@dataclass(frozen=True, slots=True)
class Row:
    """One request of the queue. `waiting`: people still to answer; `free`: licenses that could be given now."""

    request: LicenseRequest
    people: int
    waiting: int
    free: int


def queue_page(actor: Actor, *, show: str, product_id: int | None = None, cursor: str = "") -> Page[Row]:
    """The requests of the acting tenant, the latest first, a page by key. Two queries."""
    rows = LicenseRequest.objects.visible_to(actor).filter(state__in=FILTERS[show])
    if product_id is not None:
        rows = rows.filter(product_id=product_id)
    page = paginate(
        rows.select_related("product", "requester").annotate(**_counts()),
        order=("-id",),
        cursor=cursor,
        key=lambda row: (row.pk,),
    )
    free = free_seats(tenant_id=actor.tenant_id, product_ids={row.product_id for row in page.rows})
    return Page(
        [Row(row, row.n_people, row.n_waiting, free.get(row.product_id, 0)) for row in page.rows],
        page.next,
        page.back,
    )


def requests_by_key(actor: Actor, keys: Sequence[uuid.UUID]) -> list[Row]:
    """Open requests for licenses by key, the oldest first; a purchase is decided on its own page. Two queries."""
    rows = list(
        LicenseRequest.objects.visible_to(actor)
        .open()
        .filter(key__in=keys, kind=LicenseRequest.Kind.LICENSE)
        .select_related("product", "requester")
        .annotate(**_counts())
        .order_by("id")
    )
    free = free_seats(tenant_id=actor.tenant_id, product_ids={row.product_id for row in rows})
    return [Row(row, row.n_people, row.n_waiting, free.get(row.product_id, 0)) for row in rows]


def _counts() -> dict[str, Count]:
    return {
        "n_people": Count("people"),
        "n_waiting": Count("people", filter=Q(people__state=RequestedPerson.State.WAITING)),
    }


def waiting_count(actor: Actor) -> int:
    """How many requests wait, counted no further than the limit of counts. One query."""
    rows = LicenseRequest.objects.visible_to(actor).open().order_by()
    return int(rows[: COUNT_LIMIT + 1].count())


def own_page(actor: Actor, *, cursor: str = "") -> Page[LicenseRequest]:
    """What the person asked, or what was asked for them, the latest first, with the people. Two queries."""
    return paginate(
        LicenseRequest.objects.concerning(actor)
        .select_related("product", "requester")
        .prefetch_related("people__user"),
        order=("-id",),
        cursor=cursor,
        key=lambda row: (row.pk,),
    )


def visible_page(
    actor: Actor, *, show: str, product_id: int | None = None, cursor: str = ""
) -> Page[LicenseRequest]:
    """What the actor may see of the queue, with the people, the latest first. Two queries."""
    rows = LicenseRequest.objects.visible_to(actor).filter(state__in=FILTERS[show])
    if product_id is not None:
        rows = rows.filter(product_id=product_id)
    return paginate(
        rows.select_related("product", "requester").prefetch_related("people__user"),
        order=("-id",),
        cursor=cursor,
        key=lambda row: (row.pk,),
    )


def request_for(actor: Actor, key: uuid.UUID) -> LicenseRequest:
    """One request of the queue with its product and requester. One query.

    :raises NotVisible: there is none for the actor.
    """
    found: LicenseRequest | None = (
        LicenseRequest.objects.visible_to(actor)
        .select_related("product", "requester")
        .filter(key=key)
        .first()
    )
    if found is None:
        raise NotVisible
    return found


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a request; `holds`: has a license of the product now."""

    row: RequestedPerson
    holds: bool

    @property
    def can_be_given(self) -> bool:
        return self.row.state == RequestedPerson.State.WAITING and self.row.user.is_active


def people_of(request: LicenseRequest) -> list[Person]:
    """By name. Two queries."""
    rows = list(request.people.select_related("user").order_by("user__sort_name", "user_id"))
    holders = holders_of(request.product_id, [row.user_id for row in rows])
    return [Person(row, row.user_id in holders) for row in rows]


def holders_of(product_id: int, user_ids: Collection[int]) -> set[int]:
    """Who of some people has a license of the product that gives access. One query."""
    rows = Assignment.objects.live().filter(
        user_id__in=user_ids, product_id=product_id, subscription__state__in=GIVES_ACCESS
    )
    return set(rows.values_list("user_id", flat=True))


def held_and_asked(user_id: int, product: Product) -> Licenses:
    """Whether the person has a license of the product, and since when one was asked for. Two queries."""
    waiting = RequestedPerson.objects.filter(
        user_id=user_id,
        product_id=product.pk,
        kind=LicenseRequest.Kind.LICENSE,
        state=RequestedPerson.State.WAITING,
    )
    asked_at = waiting.values_list("request__asked_at", flat=True).first()
    return Licenses(holds=bool(holders_of(product.pk, [user_id])), asked_at=asked_at)


@dataclass(frozen=True, slots=True)
class Ways:
    """By what a request can be granted, and by what the actor may: the page offers those alone.

    `gives`: with free licenses. `spends`: the requester buys by card, once, up to `sum_minor`. `allows`: the
    organization's policy stops the product, and would no longer.
    """

    free: int
    gives: bool
    spends: bool
    allows: bool
    sum_minor: int | None


def ways_for(actor: Actor, request: LicenseRequest, *, waiting: int, at: datetime) -> Ways:
    """Ten queries at most."""
    free = free_seats(tenant_id=request.tenant_id, product_ids=[request.product_id]).get(
        request.product_id, 0
    )
    gives = actor.may(Capability.GIVE_FREE_SEAT) and request.is_open and request.takes_free_licenses
    spends = allows = False
    sum_minor = permit_sum(request, waiting)
    if request.is_open and actor.may(Capability.ANSWER_WITH_MONEY):
        reasons = _reasons(request.requester, request.product, at)
        allows = bool(reasons & POLICY_REASONS)
        is_limited = (
            request.kind == LicenseRequest.Kind.SPENDING or limits_of(actor=actor).threshold is not None
        )
        spends = sum_minor is not None and is_limited and not reasons
    return Ways(free, gives, spends, allows, sum_minor)


def permit_sum(request: LicenseRequest, waiting: int) -> int | None:
    """What an approval covers: the whole purchase, or the licenses of those who still wait."""
    if request.amount_minor is None or request.kind == LicenseRequest.Kind.SPENDING:
        return request.amount_minor
    return request.amount_minor // request.seats * waiting


def _reasons(user: User, product: Product, at: datetime) -> set[str]:
    """Why the person may not buy the product, whatever it costs."""
    buyer = build_actor(user, acting_tenant_id=user.tenant_id, at=at)
    assert buyer is not None, "everybody may act at home"
    return set(eligibility_for(actor=buyer, product=product, at=at).codes)


def requests_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Which of these requests the person sees in the queue. One query."""
    rows = LicenseRequest.objects.visible_to(actor).filter(key__in=keys)
    return {str(key) for key in rows.values_list("key", flat=True)}
