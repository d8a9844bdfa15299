"""Accounts that end, purchasers who are asked to cancel, and purchases that are centralized, and undone."""

from commerce.operations.cancel_requests import ask_to_cancel, withdraw_cancel_request
from commerce.operations.renewals import remind_asked
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from directory.operations import people
from directory.operations.digests import queue_digests
from directory.operations.jobs import run_jobs
from directory.operations.leaving import delete_user
from directory.operations.names import forget_names
from licensing.models import Centralization
from licensing.operations import centralizing
from licensing.operations.leaving import free_licenses_of_leavers
from licensing.queries.centralizing import Ending, chosen_purchases, movable, plan_of, targets_of
from tests import factories
from tests.simulation.deeds import deed, some
from tests.simulation.world import Home, Nothing, World

# --- People who leave -------------------------------------------------------------------------------------


def _of_status(world: World, *statuses: str) -> tuple[Home, User]:
    """Somebody who buys and is, or is not, here any more."""
    ids = {user.pk: home for home in world.homes for user in home.people}
    with use_login("worker"):
        found = list(User.objects.filter(pk__in=ids, status__in=statuses).order_by("pk"))
    if not found:
        raise Nothing
    user = world.rng.choice(found)
    return ids[user.pk], user


@deed(1)
def disable(world: World) -> str:
    home, user = _of_status(world, "active")
    people.disable_user(actor=home.actor(home.admin, world.at), user_id=user.pk, at=world.at)
    return user.name


@deed(3)
def enable(world: World) -> str:
    home, user = _of_status(world, "disabled")
    people.enable_user(actor=home.actor(home.admin, world.at), user_id=user.pk, at=world.at)
    return user.name


@deed(0.4)
def leave_for_good(world: World) -> str:
    """An account is deleted, and somebody else comes."""
    home, user = _of_status(world, "active", "disabled")
    delete_user(actor=home.actor(home.admin, world.at), user_id=user.pk, at=world.at, real_at=factories.AT)
    place = next(number for number, each in enumerate(home.people) if each.pk == user.pk)
    home.people[place] = factories.make_user(home.tenant, name=f"{user.name} II")
    return f"{user.name}, followed by {home.people[place].name}"


@deed(2, is_sweep=True)
def free_licenses(world: World) -> str:
    return f"{free_licenses_of_leavers(at=world.at)} came back, {forget_names(at=world.at)} names forgotten"


# --- Asked to cancel --------------------------------------------------------------------------------------


@deed(2)
def ask_purchaser(world: World) -> str:
    home, row, _owner = some(world.one(owner_kind="person", channel="self-service"))
    asked = ask_to_cancel(actor=home.actor(home.admin, world.at), key=row.key, at=world.at)
    return f"S{row.pk} of {asked.purchaser.name}"


@deed(1)
def take_asking_back(world: World) -> str:
    home, row, _owner = some(world.one(owner_kind="person", channel="self-service"))
    withdraw_cancel_request(actor=home.actor(home.admin, world.at), key=row.key, at=world.at)
    return f"S{row.pk}"


@deed(2, is_sweep=True)
def remind_of_asking(world: World) -> str:
    return f"{remind_asked(at=world.at)} reminded, {queue_digests(at=world.at)} digests"


# --- Centralizing -----------------------------------------------------------------------------------------


@deed(4)
def centralize(world: World) -> str:
    """The users of some purchases of one product get central licenses, where there are as many."""
    home = world.home()
    actor = home.actor(home.admin, world.at)
    with tenant_atomic(actor):
        rows = list(movable(actor))
        targets = [each for row in rows for each in targets_of(actor, row.product_id)[:1]]
        if not targets:
            raise Nothing
        target = world.rng.choice(targets)
        keys = [row.key for row in rows if row.product_id == target.product_id]
        keys = world.rng.sample(keys, world.rng.randint(1, len(keys)))
        ending = world.rng.choice((Ending.TAKE_OVER, Ending.TAKE_OVER, Ending.ASK))
        plan = plan_of(purchases=chosen_purchases(actor, keys), target=target, ending=ending, at=world.at)
    ends_now = world.rng.random() < 0.3
    centralizing.start_centralizing(
        actor=actor,
        purchase_keys=keys,
        target_key=target.key,
        ending=ending,
        ends_now=ends_now,
        seen=centralizing.seen_of(plan, ends_now=ends_now),
        at=world.at,
    )
    bought = ", ".join(f"S{each.subscription.pk}" for each in plan.purchases)
    return f"{bought} to S{target.pk}, {plan.people} people, {ending}, back {plan.refund_minor}"


@deed(2)
def undo_centralization(world: World) -> str:
    with use_login("worker"):
        runs = list(Centralization.objects.filter(state__in=("running", "waiting")).order_by("pk"))
    if not runs:
        raise Nothing
    run = world.rng.choice(runs)
    home = world.home_of(run.tenant_id)
    centralizing.undo_centralizing(actor=home.actor(home.admin, world.at), key=run.key, at=world.at)
    return f"run {run.pk} to S{run.target_id}"


@deed(6, is_sweep=True)
def work_on_jobs(world: World) -> str:
    worked = run_jobs(clock=lambda: world.at)
    return f"{worked.chunks} chunks, {len(worked.ended)} ended"


@deed(4, is_sweep=True)
def settle_centralizations(world: World) -> str:
    return f"{centralizing.settle_due(at=world.at)} runs"
