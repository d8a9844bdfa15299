"""A self-service purchase with many users, and a central subscription of the same product with room for them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Job, Tenant, User
from directory.models.people import fold
from directory.operations.jobs import run_jobs
from licensing.models import Assignment, Centralization, CentralizedPerson, CentralizedPurchase
from licensing.operations.assignments import BATCH_LIMIT, assign_licenses
from licensing.operations.centralizing import seen_of, start_centralizing
from licensing.operations.centralizing.starting import choice_of
from licensing.queries.centralizing import Plan, plan_of
from tests.factories import AT, actor_of, make_central_subscription, make_self_service_subscription

DAY = timedelta(days=1)


def make_people(tenant: Tenant, count: int, *, first: int = 1, **fields: Any) -> list[User]:
    """Active members, written at once."""
    rows = [
        User(
            tenant=tenant,
            name=f"User {number:05d}",
            sort_name=fold(f"User {number:05d}"),
            email=f"user-{number}@tenant-{tenant.pk}.example",
            issuer=f"https://issuer-{tenant.pk}.example",
            subject=f"crowd-{number}",
            created_at=AT,
            **fields,
        )
        for number in range(first, first + count)
    ]
    with tenant_atomic(tenant.pk):
        return list(User.objects.bulk_create(rows))


def buy_for(
    buyer: User, holders: Sequence[User], *, quantity: int | None = None, at: datetime = AT
) -> Subscription:
    """A purchase by card, whose buyer has the first license and gave one to each of `holders`."""
    bought = make_self_service_subscription(buyer, quantity=quantity or len(holders) + 1, at=at)
    give(buyer, bought, holders, at=at)
    return fresh(bought)


def give(buyer: User, bought: Subscription, holders: Sequence[User], *, at: datetime = AT) -> None:
    """Licenses of one's own purchase, as the purchaser gives them."""
    with tenant_atomic(buyer.tenant_id):
        actor = actor_of(User.objects.get(pk=buyer.pk), at=at)
    for first in range(0, len(holders), BATCH_LIMIT):
        part = [person.pk for person in holders[first : first + BATCH_LIMIT]]
        assign_licenses(actor=actor, subscription_key=bought.key, user_ids=part, at=at, confirmed=True)


def central_of(admin: User, *, quantity: int = 25, at: datetime = AT) -> Subscription:
    return make_central_subscription(admin, quantity=quantity, at=at)


def fresh[T: (Subscription, Centralization, CentralizedPurchase, Job, User)](row: T) -> T:
    with tenant_atomic(row.tenant_id):
        return type(row).objects.get(pk=row.pk)


def dry_run(
    admin: User,
    purchases: Sequence[Subscription],
    target: Subscription,
    *,
    ending: str = "take_over",
    at: datetime,
) -> Plan:
    actor = actor_of(admin)
    with tenant_atomic(actor):
        found, goal = choice_of(actor, [row.key for row in purchases], target.key)
        return plan_of(purchases=found, target=goal, ending=ending, at=at)


def start(
    admin: User,
    purchases: Sequence[Subscription],
    target: Subscription,
    *,
    ending: str = "take_over",
    ends_now: bool = False,
    at: datetime = AT + DAY,
) -> Centralization:
    """Begin as the dry run of that moment shows it."""
    plan = dry_run(admin, purchases, target, ending=ending, at=at)
    return start_centralizing(
        actor=actor_of(admin),
        purchase_keys=[row.key for row in purchases],
        target_key=target.key,
        ending=ending,
        ends_now=ends_now,
        seen=seen_of(plan, ends_now=ends_now),
        at=at,
    )


def work(at: datetime = AT + DAY) -> None:
    """Let a worker do every job that waits."""
    run_jobs(clock=lambda: at)


def outcomes(run: Centralization) -> dict[str, int]:
    """How many people came to which end."""
    with tenant_atomic(run.tenant_id):
        found: dict[str, int] = {}
        rows = CentralizedPerson.objects.filter(purchase__centralization=run)
        for outcome in rows.values_list("outcome", flat=True):
            found[outcome] = found.get(outcome, 0) + 1
        return found


def endings(run: Centralization) -> list[str]:
    with tenant_atomic(run.tenant_id):
        rows = CentralizedPurchase.objects.filter(centralization=run).order_by("id")
        return list(rows.values_list("state", flat=True))


def holders(subscription: Subscription) -> set[int]:
    """Who holds a live license of it."""
    with tenant_atomic(subscription.tenant_id):
        rows = Assignment.objects.live().filter(subscription=subscription)
        return set(rows.values_list("user_id", flat=True))


_STATE = (
    *("owner_kind", "owner_user_id", "purchaser_id", "agreement_id", "card_id", "bill_to_id", "channel"),
    *("quantity", "assigned", "next_quantity", "next_plan_id", "state", "recurring_billing", "due_at"),
    *("period_start", "period_end", "term_end", "payment_failed_at", "disabled_reason"),
)


def picture() -> dict[str, Any]:
    """Who holds what and whose everything is, of all tenants: what undoing gives back."""
    with use_login("worker"):
        return {
            "subscriptions": list(Subscription.objects.order_by("id").values_list("id", *_STATE)),
            "licenses": list(
                Assignment.objects.live()
                .order_by("subscription_id", "user_id")
                .values_list("subscription_id", "user_id", "product_id")
            ),
        }


def without_access(people: Sequence[int], tenant_id: int, product_id: int) -> list[int]:
    """Who of these may not use the product now, as a product asks; one snapshot."""
    with tenant_atomic(tenant_id):
        held = set(
            Assignment.objects.live()
            .filter(user_id__in=people, product_id=product_id, subscription__state__in=("active", "expired"))
            .values_list("user_id", flat=True)
        )
    return [user_id for user_id in people if user_id not in held]


type Poll = Callable[[], list[int]]
