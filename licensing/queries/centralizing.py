"""What moving the users of purchases to a central subscription would do: to each person, and in money (product §10)."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from commerce.models import Subscription
from commerce.models.subscriptions import SubscriptionQuerySet
from commerce.operations.cancellations import AlreadyStopped, NothingToCancel, quote_cancellation
from commerce.queries import details
from commerce.queries.cancel_requests import Obstacle, obstacle_to_asking
from commerce.queries.cancellations import Ending as CancelEnding
from commerce.queries.takeovers import TakeOverPlan, plan_take_over
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import connection
from directory.permissions import Capability
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase

State = Subscription.State
Ending = Centralization.Ending
Outcome = CentralizedPerson.Outcome
MOST_PURCHASES = 50
MOST_SHOWN = 100
# Whose users can be moved; a Disabled one gives no access, so that nothing is left to end.
MOVABLE = (State.ACTIVE, State.EXPIRED, State.DISABLED)


def movable(actor: Actor) -> SubscriptionQuerySet:
    """The self-service purchases that the actor may centralize, by purchaser, with what their lines say."""
    scopes = actor.scopes(Capability.TAKE_OVER)
    rows = Subscription.objects.visible_to(actor).filter(
        channel=Subscription.Channel.SELF_SERVICE, state__in=MOVABLE
    )
    rows = rows if "all" in scopes else rows.none()
    return rows.select_related("product", "plan", "purchaser", "owner_user").order_by("purchaser_sort", "id")


def in_runs() -> QuerySet[Any, Any]:
    """The purchases that are in a run now, as a subquery: another run would be refused."""
    rows = CentralizedPurchase.objects.filter(
        state__in=[CentralizedPurchase.State.WAITING, CentralizedPurchase.State.TAKEN_OVER]
    )
    return rows.values("subscription_id")


def chosen_purchases(actor: Actor, keys: Sequence[uuid.UUID]) -> list[Subscription]:
    """The purchases of those keys, by purchaser. One query.

    :raises NotVisible: one of them is not there, or nothing that this person may centralize.
    """
    found = list(movable(actor).filter(key__in=keys[: MOST_PURCHASES + 1]))
    if len(found) != len(set(keys)):
        raise NotVisible
    return found


def targets_of(actor: Actor, product_id: int) -> list[Subscription]:
    """The active central subscriptions of a product, those with most free licenses first. One query."""
    rows = Subscription.objects.visible_to(actor).filter(
        product_id=product_id,
        channel=Subscription.Channel.CENTRAL,
        owner_kind=Subscription.Owner.ORGANIZATION,
        state=State.ACTIVE,
    )
    found = list(rows.select_related("product", "plan").order_by("-term_end", "id")[:MOST_PURCHASES])
    return sorted(found, key=lambda row: -row.assignable)


class Person(NamedTuple):
    """One holder of one purchase, and what would become of them."""

    subscription_id: int
    user_id: int
    name: str
    email: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Money:
    """What ending one purchase gives back and costs, in minor units with tax.

    `refund_minor` goes back to the card that paid, `credited_minor` is not to be paid any more. Without a refund it
    runs out at `ends_at`, while `still_minor` is still billed to the organization; it can end at once only where that
    is nothing. `monthly_minor` is its price a month, without tax. `is_running`: it gives access now.
    """

    ends_at_once: bool
    refund_minor: int
    credited_minor: int
    still_minor: int
    ends_at: datetime | None
    monthly_minor: int
    is_running: bool

    @property
    def can_end_now(self) -> bool:
        return self.is_running and not self.ends_at_once and not self.still_minor


@dataclass(frozen=True, slots=True)
class PurchasePlan:
    """One purchase of the run: how many of its people, its money, and what stands in the way of ending it."""

    subscription: Subscription
    money: Money
    take_over: TakeOverPlan | None
    obstacle: Obstacle | None
    counts: dict[str, int]

    @property
    def needs_card(self) -> bool:
        """Whether nobody would pay it once it is the organization's."""
        return self.take_over is not None and not self.take_over.is_payable


@dataclass(frozen=True, slots=True)
class Plan:
    """The dry run. `needed` licenses of the target's `free` ones; `people` are the holders of all purchases."""

    target: Subscription
    ending: str
    purchases: tuple[PurchasePlan, ...]
    needed: int
    free: int
    counts: dict[str, int]

    @property
    def people(self) -> int:
        return sum(self.counts.values())

    @property
    def missing(self) -> int:
        return max(self.needed - self.free, 0)

    @property
    def refund_minor(self) -> int:
        return (
            sum(each.money.refund_minor for each in self.purchases) if self.ending == Ending.TAKE_OVER else 0
        )

    @property
    def stranded(self) -> int:
        """Guests who may not hold the central license, and would lose access."""
        return self.counts.get(Outcome.GUEST, 0)

    @property
    def unaskable(self) -> tuple[PurchasePlan, ...]:
        if self.ending != Ending.ASK:
            return ()
        return tuple(each for each in self.purchases if each.obstacle and each.money.is_running)

    @property
    def unpayable(self) -> tuple[PurchasePlan, ...]:
        if self.ending != Ending.TAKE_OVER:
            return ()
        return tuple(each for each in self.purchases if each.needs_card)

    @property
    def can_run(self) -> bool:
        return not (self.missing or self.stranded or self.unaskable or self.unpayable)


def plan_of(*, purchases: Sequence[Subscription], target: Subscription, ending: str, at: datetime) -> Plan:
    """What the run would do now. A few queries a purchase, one for all people; locks nothing."""
    ids = [row.pk for row in purchases]
    counts = _counts(target, ids)
    by_purchase = {pk: {o: n for (p, o), n in counts.items() if p == pk} for pk in ids}
    total: dict[str, int] = {}
    for (_pk, outcome), count in counts.items():
        total[outcome] = total.get(outcome, 0) + count
    return Plan(
        target=target,
        ending=ending,
        purchases=tuple(
            PurchasePlan(
                subscription=row,
                money=money_of(row, at),
                take_over=None
                if row.is_organizations or row.state == State.DISABLED
                else plan_take_over(row),
                obstacle=obstacle_to_asking(row),
                counts=by_purchase[row.pk],
            )
            for row in purchases
        ),
        needed=_needed(target, ids),
        free=target.assignable,
        counts=total,
    )


def money_of(subscription: Subscription, at: datetime) -> Money:
    """What ending it would give back and cost at an instant."""
    monthly = subscription.period_price_minor // subscription.billing_months
    is_running = subscription.state in (State.ACTIVE, State.EXPIRED)
    try:
        quote = quote_cancellation(subscription=subscription, at=at)
    except (NothingToCancel, AlreadyStopped):
        still = details.still_to_be_charged(subscription) if subscription.state == State.ACTIVE else 0
        return Money(False, 0, 0, still, subscription.due_at, monthly, is_running)
    if quote.ending == CancelEnding.AT_ONCE:
        return Money(True, quote.refund_minor, quote.credited_minor, 0, None, monthly, is_running)
    return Money(False, 0, 0, quote.plan.still_minor, subscription.term_end, monthly, is_running)


# Whether the holder of the license `a` of a purchase has a central one of that product beside it.
HAS_CENTRAL = """EXISTS (
    SELECT FROM licensing_assignment h JOIN commerce_subscription t ON t.id = h.subscription_id
     WHERE h.user_id = a.user_id AND h.product_id = a.product_id AND h.ended_at IS NULL
       AND t.channel = 'central' AND t.state IN ('active', 'expired'))"""
# What becomes of that holder, the user `u`, if the run comes to them now; of the product `p`. For whom it is switched
# off it gives no access, so that they lose none, guests or not.
OUTCOME = f"""CASE
    WHEN {HAS_CENTRAL} THEN 'held'
    WHEN u.status <> 'active' THEN 'disabled'
    WHEN EXISTS (SELECT FROM policies_datapolicy off WHERE off.tenant_id = a.tenant_id AND NOT off.service_on)
         AND NOT policies_service_is_on(a.tenant_id, a.product_id, a.user_id) THEN 'service_off'
    WHEN u.kind = 'guest' AND NOT p.guests_may_hold THEN 'guest'
    ELSE 'moved' END"""
_PEOPLE = f"""
    SELECT a.subscription_id, a.user_id, u.name, u.email, u.sort_name, {OUTCOME} AS outcome
      FROM licensing_assignment a
      JOIN directory_user u ON u.id = a.user_id
      JOIN commerce_product p ON p.id = a.product_id
     WHERE a.tenant_id = %(tenant)s AND a.subscription_id = ANY (%(ids)s) AND a.ended_at IS NULL
"""  # noqa: S608


def _counts(target: Subscription, ids: Sequence[int]) -> dict[tuple[int, str], int]:
    with connection().cursor() as cursor:
        cursor.execute(
            f"SELECT subscription_id, outcome, count(*) FROM ({_PEOPLE}) people GROUP BY 1, 2",  # noqa: S608
            {"tenant": target.tenant_id, "ids": list(ids)},
        )
        return {(subscription_id, outcome): n for subscription_id, outcome, n in cursor.fetchall()}


def _needed(target: Subscription, ids: Sequence[int]) -> int:
    """How many central licenses it takes: who holds two of the purchases needs one."""
    with connection().cursor() as cursor:
        cursor.execute(
            f"SELECT count(DISTINCT user_id) FROM ({_PEOPLE}) people WHERE outcome = 'moved'",  # noqa: S608
            {"tenant": target.tenant_id, "ids": list(ids)},
        )
        return int(cursor.fetchone()[0])


def people_of(
    target: Subscription,
    ids: Sequence[int],
    *,
    after: tuple[str, int, int] = ("", 0, 0),
    limit: int = MOST_SHOWN,
    only_exceptions: bool = False,
) -> tuple[list[Person], tuple[str, int, int] | None]:
    """A page of the holders, by name, with what would become of each; and where the next page begins. One query."""
    with connection().cursor() as cursor:
        cursor.execute(
            f"""
            SELECT subscription_id, user_id, name, email, outcome, sort_name FROM ({_PEOPLE}) people
             WHERE (sort_name, user_id, subscription_id) > (%(name)s, %(user)s, %(subscription)s)
               AND (outcome <> 'moved' OR NOT %(exceptions)s)
             ORDER BY sort_name, user_id, subscription_id LIMIT %(limit)s
            """,  # noqa: S608
            {
                "tenant": target.tenant_id,
                "ids": list(ids),
                "name": after[0],
                "user": after[1],
                "subscription": after[2],
                "exceptions": only_exceptions,
                "limit": limit + 1,
            },
        )
        rows = cursor.fetchall()
    people = [Person(*row[:5]) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return people, (last[5], last[1], last[0]) if last else None


def centralization_for(actor: Actor, key: uuid.UUID) -> Centralization:
    """One run with its target. One query.

    :raises NotVisible: missing, or not for this person.
    """
    rows = Centralization.objects.visible_to(actor).select_related("target__product", "target__plan")
    found: Centralization | None = rows.filter(key=key).first()
    if found is None:
        raise NotVisible
    return found


def purchases_of(run: Centralization) -> list[CentralizedPurchase]:
    """The purchases of a run, in the order in which it takes them. One query."""
    rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    return list(rows.select_related("subscription__product", "subscription__purchaser").order_by("id"))


def latest_runs(actor: Actor, limit: int = 10) -> list[Centralization]:
    """The runs of the organization, the latest first. One query."""
    rows = Centralization.objects.visible_to(actor).select_related("target__product").order_by("-id")
    return list(rows[:limit])


def runs_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Which of these runs the person sees. One query."""
    rows = Centralization.objects.visible_to(actor).filter(key__in=keys)
    return {str(key) for key in rows.values_list("key", flat=True)}


def is_undoable(run: Centralization, at: datetime, *, is_job_over: bool) -> bool:
    """Whether it can be undone: moved, or left in the middle, and neither money nor anything that runs out has gone."""
    match run.state:
        case Centralization.State.WAITING:
            is_in_time = run.undo_until is not None and at < run.undo_until
        case Centralization.State.RUNNING:
            is_in_time = is_job_over
        case _:
            return False
    # By the rows and not the clock alone: two machines may differ about the moment.
    ended = CentralizedPurchase.objects.filter(
        centralization_id=run.pk, state=CentralizedPurchase.State.ENDED
    )
    return is_in_time and not ended.exists()
