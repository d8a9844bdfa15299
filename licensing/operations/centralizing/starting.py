"""Starting a run: as the dry run said, or not at all (product §10)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import Subscription
from commerce.queries.takeovers import TakeOverPlan, TakeOverSeen, plan_take_over
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.money import format_money
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import Job
from directory.operations.audit import record
from directory.operations.jobs import start_job
from directory.permissions import Capability
from licensing.models import Centralization, CentralizedPurchase
from licensing.queries.centralizing import MOST_PURCHASES, Plan, chosen_purchases, plan_of, targets_of

State = Centralization.State
Ending = Centralization.Ending
KIND = "centralize"


class PlanChanged(Conflict):
    """The run would do something else now than the dry run said; `plan` is what."""

    code = "plan_changed"
    message = gettext_lazy(
        "What centralizing does has changed since you opened the page. Nothing was changed. Look again."
    )

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        super().__init__()


class CannotRun(Conflict):
    """Somebody would lose access, or nobody would pay; `plan` says why."""

    code = "cannot_centralize"
    message = gettext_lazy("This cannot run as it is. Nothing was changed.")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        super().__init__()


class RunsAlready(Conflict):
    """One of the purchases is in another run that is not over."""

    code = "centralized_already"
    message = gettext_lazy("One of these purchases is being centralized already. Nothing was changed.")


class RunOver(Conflict):
    """The run has moved on since the page was shown."""

    code = "centralization_over"
    message = gettext_lazy("This has moved on since you opened the page. Nothing was changed.")


class TakesOverOtherwise(Conflict):
    """Taking a purchase over would do something else now than was shown; its `problem` says what, for another try."""

    code = "takes_over_otherwise"
    message = gettext_lazy(
        "What taking over does has changed since it was shown. Look at the purchases, then try again."
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What the dry run showed; the run does that or is not started. Per purchase: key, version, people, money, bills."""

    needed: int
    ends_now: bool
    purchases: tuple[tuple[Any, ...], ...]

    @property
    def gives_back(self) -> bool:
        """Whether money goes back to a card."""
        return any(refund for _key, _version, _people, refund, *_rest in self.purchases)


def seen_of(plan: Plan, *, ends_now: bool) -> Seen:
    """What a page of this plan shows."""
    shown = (
        (
            str(each.subscription.key),
            each.subscription.version,
            sum(each.counts.values()),
            each.money.refund_minor,
            each.money.credited_minor,
            each.money.still_minor,
            each.take_over.moved_minor if each.take_over else 0,
        )
        for each in plan.purchases
    )
    return Seen(plan.needed, ends_now, tuple(shown))


def start_centralizing(
    *,
    actor: Actor,
    purchase_keys: Sequence[uuid.UUID],
    target_key: uuid.UUID,
    ending: str,
    ends_now: bool,
    seen: Seen,
    at: datetime,
) -> Centralization:
    """Begin a run and its job, as the dry run showed it. `ends_now`: what gives no refund ends with the money.

    :raises NotVisible: a purchase or target that is not there for this person.
    :raises NotAllowed: seen, and not theirs to centralize. :raises Malformed: no or too many purchases, of several
        products, or a target of another.
    :raises PlanChanged: it would do something else than was shown.
    :raises CannotRun: too few free licenses, a guest who would lose access, nobody to ask or to pay.
    :raises RunsAlready: a purchase is in a run that is not over. :raises TooManyJobs: as `start_job`.
    """
    with tenant_atomic(actor):
        actor.require(Capability.TAKE_OVER, is_own=False, is_org=True, sees=Capability.SEE_PURCHASES)
        purchases, target = choice_of(actor, purchase_keys, target_key)
        # The target last, as the job does.
        for ids in ([row.pk for row in purchases], [target.pk]):
            locked = Subscription.objects.filter(pk__in=ids).select_for_update(no_key=True)
            list(locked.order_by("pk").only("pk"))
        purchases, target = choice_of(actor, purchase_keys, target_key)
        plan = plan_of(purchases=purchases, target=target, ending=ending, at=at)
        if seen_of(plan, ends_now=ends_now) != seen:
            raise PlanChanged(plan)
        if not plan.can_run:
            raise CannotRun(plan)
        run = Centralization.objects.create(
            tenant_id=actor.tenant_id,
            target=target,
            ending=ending,
            ends_now=ends_now,
            refund_at=at,
            tried_at=at,
            started_by_id=actor.user_id,
            started_by=actor.label[:200],
        )
        try:
            with atomic():
                CentralizedPurchase.objects.bulk_create(
                    CentralizedPurchase(
                        tenant_id=actor.tenant_id,
                        centralization=run,
                        subscription=each.subscription,
                        version=each.subscription.version,
                        refund_minor=each.money.refund_minor,
                        seen=_facts(each.take_over.seen) if each.take_over else {},
                    )
                    for each in plan.purchases
                )
        except IntegrityError as error:
            raise RunsAlready from error
        run.job_key = _queue(actor, run, total=plan.people + len(plan.purchases), at=at).key
        run.save(update_fields=["job_key"])
        record(
            actor,
            "licensing.centralization.started",
            at=at,
            target_type="centralization",
            target_id=run.key,
            target_label=target.product.name,
            after={
                "target": str(target.key),
                "purchases": [str(row.key) for row in purchases],
                "people": plan.people,
                "ending": ending,
                "ends_now": ends_now,
                "refund_minor": plan.refund_minor,
            },
        )
        return run


def choice_of(
    actor: Actor, purchase_keys: Sequence[uuid.UUID], target_key: uuid.UUID
) -> tuple[list[Subscription], Subscription]:
    """The purchases and the central subscription that were chosen. Two queries.

    :raises NotVisible: one of them is not there for this person. :raises Malformed: none, too many, or of several products.
    """
    if not 1 <= len(set(purchase_keys)) <= MOST_PURCHASES:
        text = _("Choose 1 to %(most)d purchases. Nothing was changed.")
        raise Malformed(text % {"most": MOST_PURCHASES}, field="purchase")
    purchases = chosen_purchases(actor, purchase_keys)
    products = {row.product_id for row in purchases}
    if len(products) > 1:
        raise Malformed(_("Choose purchases of one product. Nothing was changed."), field="purchase")
    target = next((row for row in targets_of(actor, products.pop()) if row.key == target_key), None)
    if target is None:
        raise NotVisible
    return purchases, target


def _facts(seen: TakeOverSeen) -> dict[str, Any]:
    return {
        "payment_days": seen.payment_days,
        "card_id": seen.card_id,
        "moved": [list(m) for m in seen.moved],
    }


def _queue(actor: Actor, run: Centralization, *, total: int | None, at: datetime) -> Job:
    name = run.target.product.name
    return start_job(
        actor=actor,
        kind=KIND,
        title=_("Centralizing %(product)s") % {"product": name},
        parameters={"centralization": run.pk},
        at=at,
        total=total,
        back=reverse("portal:centralization", args=[run.key]),
    )


def lock_run(actor: Actor, key: uuid.UUID) -> Centralization:
    """A run that the actor may work on, locked. :raises NotVisible: not there. :raises NotAllowed: a reader's."""
    actor.require(Capability.TAKE_OVER, is_own=False, is_org=True, sees=Capability.SEE_PURCHASES)
    rows = Centralization.objects.visible_to(actor).filter(key=key)
    run: Centralization | None = (
        rows.select_for_update(of=("self",)).select_related("target__product").first()
    )
    if run is None:
        raise NotVisible
    return run


def is_job_live(run: Centralization) -> bool:
    """Whether a job of the run waits, works or is paused: then it is that job which goes on. One query."""
    if run.job_key is None:
        return False
    rows = Job.objects.filter(tenant_id=run.tenant_id, key=run.job_key)
    return bool(rows.exclude(state__in=Job.ENDED).exists())


def go_on(*, actor: Actor, key: uuid.UUID, at: datetime) -> Centralization:
    """Try again what could not be done, or was left when the job ended; in the name of whoever asks now.

    :raises NotVisible, NotAllowed: not there, or a reader's. :raises RunOver: nothing is left to do, or a job does it.
    :raises TakesOverOtherwise: bills, card or agreement changed; the purchases say what would happen now, and asked
        again it does. Nothing else was changed.
    """
    with tenant_atomic(actor):
        run = lock_run(actor, key)
        rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
        blocked = rows.filter(state=CentralizedPurchase.State.BLOCKED)
        if is_job_live(run) or run.state not in (State.RUNNING, State.WAITING):
            raise RunOver
        if run.state == State.WAITING and not blocked.exists():
            raise RunOver
        is_other = _show_anew(blocked)
        if not is_other:
            _resume(actor, run, blocked, rows.count(), at)
    if is_other:
        raise TakesOverOtherwise
    return run


def _show_anew(blocked: QuerySet[CentralizedPurchase]) -> bool:
    """Write down what taking each over would do now, for the page; whether that is something else than was shown."""
    is_other = False
    for each in blocked.select_related("subscription"):
        plan = plan_take_over(each.subscription)
        facts = _facts(plan.seen)
        if each.seen and each.seen != facts and plan.is_payable:
            each.seen, each.problem = facts, _offer(plan)
            each.save(update_fields=["seen", "problem"])
            is_other = True
    return is_other


def _offer(plan: TakeOverPlan) -> str:
    moved = format_money(plan.moved_minor, plan.bills[0].currency) if plan.bills else _("none")
    if plan.agreement is not None:
        told = _(
            "Taken over, it is paid on account, due in %(days)d days; open bills that move: %(moved)s. Try again to do that."
        )
        return told % {"days": plan.agreement.payment_days, "moved": moved}
    told = _(
        "Taken over, it is paid by the card %(card)s; open bills that move: %(moved)s. Try again to do that."
    )
    return told % {"card": plan.card, "moved": moved}


def _resume(
    actor: Actor, run: Centralization, blocked: QuerySet[CentralizedPurchase], count: int, at: datetime
) -> None:
    try:
        with atomic():
            for each in blocked.select_related("subscription"):
                each.state, each.problem = CentralizedPurchase.State.WAITING, ""
                each.version = each.subscription.version
                each.save(update_fields=["state", "problem", "version"])
    except IntegrityError as error:
        raise RunsAlready from error
    run.state, run.tried_at = State.RUNNING, at
    run.job_key = _queue(actor, run, total=None, at=at).key
    run.save(update_fields=["state", "tried_at", "job_key"])
    record(
        actor,
        "licensing.centralization.resumed",
        at=at,
        target_type="centralization",
        target_id=run.key,
        target_label=run.target.product.name,
        after={"purchases": count},
    )
