"""One run: how far it is, what became of every person and purchase, and the way back (product §10)."""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from commerce.views.subscriptions import day, money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict
from config.kit.keyset import paginate
from config.kit.templatetags.kit import moment
from directory.models import Job
from directory.permissions import Capability
from directory.views.jobs import progress_of
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase
from licensing.operations.centralizing import go_on, undo_centralizing
from licensing.operations.centralizing.starting import is_job_live
from licensing.queries.centralizing import centralization_for, is_undoable, purchases_of
from licensing.views.wording import CENTRALIZED, ENDINGS, RUN_STATES

State = Centralization.State
Purchase = CentralizedPurchase.State


@access.requires(sees=Capability.TAKE_OVER)
@require_safe
def centralization(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The bar while a job works, then the results, until when it can be undone, and what still waits."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    run = centralization_for(actor, key)
    job: Job | None = Job.objects.visible_to(actor).filter(key=run.job_key).first()
    purchases = purchases_of(run)
    people = CentralizedPerson.objects.filter(
        tenant_id=run.tenant_id, purchase__centralization=run
    ).select_related("user", "purchase__subscription")
    page = paginate(people, order=("-id",), cursor=request.GET.get("page", ""), key=lambda row: (row.pk,))
    counts = dict(people.order_by().values_list("outcome").annotate(Count("pk")))
    label, tone = RUN_STATES[run.state]
    job_is_over = job is None or job.state in Job.ENDED
    context: dict[str, Any] = {
        "title": _("Centralizing %(product)s") % {"product": run.target.product.name},
        "crumbs": [(_("Centralize"), reverse("portal:centralize"))],
        "step": 4,
        "run": run,
        "state": label,
        "run_tone": tone,
        "product": run.target.product,
        "target_address": reverse("portal:subscription", args=[run.target.key]),
        "steps": _steps(run, purchases),
        "purchases": [_purchase_line(each) for each in purchases],
        "people": [
            {
                "name": each.user.name,
                "email": each.user.email,
                "initials": each.user.initials,
                "from": each.purchase.subscription.purchaser_name,
                "outcome": (each.get_outcome_display(), CENTRALIZED[each.outcome][1]),
                "at": moment(each.at, run.target.time_zone),
            }
            for each in page.rows
        ],
        "next": f"?page={page.next}" if page.next else "",
        "back": f"?page={page.back}" if page.back else "",
        "tally": _tally(counts),
        "can_undo": is_undoable(run, at, is_job_over=job_is_over),
        "undo_goes_on": run.state == State.UNDOING and job_is_over,
        "undo_until": moment(run.undo_until, run.target.time_zone),
        "can_go_on": job_is_over
        and (
            run.state == State.RUNNING
            or (run.state == State.WAITING and any(each.state == Purchase.BLOCKED for each in purchases))
        ),
        "started": moment(run.refund_at, run.target.time_zone),
        "job": job,
        "is_live": job is not None and job.is_live,
    }
    if job is not None:
        context |= progress_of(request, job)
    return render_page(request, "licensing/centralization.html", context)


def _tally(counts: dict[str, int]) -> str:
    parts = [
        f"{CentralizedPerson.Outcome(outcome).label}: {counts[outcome]:,}"
        for outcome in CentralizedPerson.Outcome.values
        if counts.get(outcome)
    ]
    return "; ".join(parts)


def _purchase_line(each: CentralizedPurchase) -> dict[str, Any]:
    row = each.subscription
    told, tone = ENDINGS[each.state]
    note = each.problem
    if each.state == Purchase.ENDED and each.refunded_minor:
        note = _("%(refund)s went back to the card that paid") % {
            "refund": money(each.refunded_minor, row.currency)
        }
    elif each.state == Purchase.ENDED and row.state == row.State.ACTIVE:
        note = _("Runs out on %(day)s") % {"day": day(row.term_end, row.time_zone)}
    elif each.state == Purchase.TAKEN_OVER and not note and each.refund_minor:
        note = _("%(refund)s goes back with the money") % {"refund": money(each.refund_minor, row.currency)}
    return {
        "name": row.purchaser_name,
        "address": reverse("portal:subscription", args=[row.key]),
        "state": told,
        "tone": tone,
        "note": note,
    }


def _steps(run: Centralization, purchases: list[CentralizedPurchase]) -> list[tuple[str, str, str]]:
    """Mark, title and text of each step of the plan."""
    zone = run.target.time_zone
    moved = run.moved_at is not None
    is_over = run.state == State.DONE
    first = ("", "is-change")[run.state == State.RUNNING] if not moved else "is-now"
    ending = (
        _("Ask the purchasers to cancel")
        if run.ending == Centralization.Ending.ASK
        else _("Take over, stop renewals")
    )
    count = ngettext("%d purchase", "%d purchases", len(purchases)) % len(purchases)
    steps = [
        (first, _("Assign central licenses"), _("Nobody loses access at any moment.")),
        ("is-now" if moved else "", ending, count),
    ]
    if run.ending == Centralization.Ending.TAKE_OVER:
        refund = money(sum(each.refund_minor for each in purchases), run.target.currency)
        when = _("%(refund)s to cards, on %(when)s") % {"refund": refund, "when": moment(run.money_at, zone)}
        before = _("%(refund)s to cards, a day after the users") % {"refund": refund}
        css = "is-now" if is_over else ("is-change" if run.state == State.WAITING else "")
        steps.append((css, _("Money"), when if run.money_at else before))
    if run.state in (State.UNDOING, State.UNDONE):
        text = _("Holders, owners and cards are as before.") if run.state == State.UNDONE else _("Under way.")
        steps.append(("is-change" if run.state == State.UNDOING else "is-now", _("Undo"), text))
    return steps


@access.requires(sees=Capability.TAKE_OVER)
def undo(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what undoing does. POST: begin it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method == "POST":
        return _begun(request, key, undo_centralizing, _("It is being undone. Nobody loses access."))
    run = centralization_for(actor, key)
    purchases = purchases_of(run)
    given = CentralizedPerson.objects.filter(
        tenant_id=run.tenant_id, purchase__centralization=run, outcome=CentralizedPerson.Outcome.MOVED
    ).count()
    context = {
        "title": _("Undo: %(product)s") % {"product": run.target.product.name},
        "crumbs": [
            (_("Centralize"), reverse("portal:centralize")),
            (run.target.product.name, reverse("portal:centralization", args=[run.key])),
        ],
        "run": run,
        "purchases": [_purchase_line(each) for each in purchases],
        "given": given,
        "can_undo": is_undoable(run, at, is_job_over=not is_job_live(run)),
        "undo_until": moment(run.undo_until, run.target.time_zone),
        "address": reverse("portal:centralization", args=[run.key]),
    }
    return render_page(request, "licensing/centralization_undo.html", context)


@access.requires(sees=Capability.TAKE_OVER)
@require_POST
def again(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Try again what could not be done."""
    return _begun(request, key, go_on, _("It goes on with what is left."))


def _begun(request: HttpRequest, key: uuid.UUID, begin: Callable[..., Any], told: str) -> HttpResponse:
    try:
        begin(actor=request.actor, key=key, at=now())  # type: ignore[attr-defined]
    except Conflict as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:centralization", args=[key]), status=HTTPStatus.SEE_OTHER)
