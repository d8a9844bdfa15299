"""What an organization's admins do in one step: decide what may be bought, answer who asks, take purchases over."""

from typing import Any

from commerce.operations.takeovers import take_over
from commerce.queries.catalogue import subject_of
from commerce.queries.takeovers import plan_take_over
from config.kit.tenancy import tenant_atomic, use_login
from licensing.models import LicenseRequest
from licensing.operations import request_sweeps
from licensing.operations import requests as asking
from policies.models import Basis, PolicyChange, PolicyValue
from policies.operations import policies
from policies.spending import Limit
from tests import factories
from tests.simulation.deeds import Nothing, deed, some
from tests.simulation.world import SLUGS, World

# What is refused cannot be renewed, paid or brought back; most of the time things are allowed.
VALUES = (*[PolicyValue.ENABLED] * 4, PolicyValue.TRIALS_ONLY, PolicyValue.DISABLED)
LIMITS = (None, None, 5_000, 50_000, 500_000)


@deed(2)
def decide_policy(world: World) -> str:
    """One value of the purchase policy, or one limit on what people spend."""
    home = world.home()
    product = factories.product(world.rng.choice(SLUGS))
    value = world.rng.choice(VALUES)
    minor = world.rng.choice(LIMITS)
    limit = None if minor is None else Limit(minor, world.rng.choice(Basis.values))
    currency = home.tenant.currency
    change = world.rng.choice(
        (
            policies.default_for_all(value),
            policies.of_category(product.category, world.rng.choice((None, value))),
            policies.of_product(subject_of(product).keys, world.rng.choice((None, value)), name=product.name),
            policies.spend_cap(limit, currency=currency),
            policies.approval_threshold(limit, currency=currency),
        )
    )
    made = policies.change_policies(actor=home.actor(home.admin, world.at), changes=[change], at=world.at)
    return f"{home.label}: {change.target} {change.key} {change.after}, {len(made)} changed"


@deed(1)
def undo_policy(world: World) -> str:
    home = world.home()
    with tenant_atomic(home.tenant.pk):
        changes = list(PolicyChange.objects.order_by("pk"))
    if not changes:
        raise Nothing
    change = world.rng.choice(changes[-3:])
    policies.undo_change(actor=home.actor(home.admin, world.at), key=change.key, at=world.at)
    return f"{home.label}: {change.target} back to {change.before}"


@deed(3)
def ask(world: World) -> str:
    """Somebody asks for licenses, for everybody or themselves."""
    home = world.home()
    user = world.rng.choice(home.people)
    product = factories.product(world.rng.choice(SLUGS))
    people = home.people if world.rng.random() < 0.4 else [user]
    asked = asking.ask_for_licenses(
        actor=home.actor(user, world.at),
        product=product,
        user_ids=[each.pk for each in people],
        reason="For the tenders.",
        at=world.at,
    )
    return f"{user.name}: {product.slug} for {len(people)}, R{asked.request.pk}"


@deed(4)
def answer_request(world: World) -> str:
    """An admin answers, or who asked takes it back."""
    with use_login("worker"):
        requests = list(LicenseRequest.objects.open().select_related("requester").order_by("pk"))
    if not requests:
        raise Nothing
    request = world.rng.choice(requests)
    home = world.home_of(request.tenant_id)
    given: dict[str, Any] = {"actor": home.actor(home.admin, world.at), "key": request.key, "at": world.at}
    answer = world.rng.choice(("approve", "approve", "reject", "forward", "spend", "allow", "withdraw"))
    match answer:
        case "approve":
            asking.approve_request(**given)
        case "reject":
            asking.reject_request(**given, message="Not this year.")
        case "forward":
            asking.forward_request(**given)
        case "spend":
            asking.approve_spending(**given)
        case "allow":
            asking.allow_product(**given)
        case "withdraw":
            asking.withdraw_request(**given | {"actor": home.actor(request.requester, world.at)})
    return f"R{request.pk} {answer}"


@deed(2)
def take_purchase_over(world: World) -> str:
    """A purchase becomes the organization's, with its open bills."""
    home, row, _owner = some(world.one(owner_kind="person", channel="self-service"))
    with tenant_atomic(home.tenant.pk):
        plan = plan_take_over(row)
    take_over(
        actor=home.actor(home.admin, world.at), key=row.key, version=row.version, seen=plan.seen, at=world.at
    )
    return f"S{row.pk} {row.state}, {len(plan.bills)} bills of {plan.moved_minor}"


@deed(1, is_sweep=True)
def lapse_asked(world: World) -> str:
    lapsed = request_sweeps.lapse_requests(at=world.at)
    return f"{lapsed} lapsed, {request_sweeps.forget_requests(at=world.at)} forgotten"


__all__ = ["answer_request", "ask", "decide_policy", "lapse_asked", "take_purchase_over", "undo_policy"]
