"""A conversation with support at the vendor's site: answer, take it on, give an incident back (product §14)."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import PremierIncidents, SupportCase
from commerce.operations import case_talk
from commerce.operations.cases import open_case
from commerce.views.case_parts import TONES, form_context, shown, written_of
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.operator import render_operator_page
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic

State = SupportCase.State
# As the staff read them; the model's own words are the customer's.
STATES = {
    State.OPEN: gettext_lazy("Waits for us"),
    State.WAITING: gettext_lazy("Waits for the customer"),
    State.ANSWERED: gettext_lazy("Answered"),
    State.SOLVED: gettext_lazy("Solved"),
    State.CLOSED: gettext_lazy("Closed"),
    State.DONE: gettext_lazy("Carried out"),
    State.DECLINED: gettext_lazy("Declined"),
}
AFTER_ANSWER = (
    (State.ANSWERED, gettext_lazy("It is answered")),
    (State.WAITING, gettext_lazy("The customer has to say more")),
    (State.SOLVED, gettext_lazy("It is solved")),
)


def talk(request: HttpRequest, actor: Actor, found: SupportCase) -> HttpResponse:
    """GET: the conversation. POST: one deed. Opens its own transactions."""
    if request.method != "POST":
        return _page(request, actor, found)
    try:
        told = _deed(request, actor, found, now())
    except (Conflict, Malformed, TooManyTries) as refused:
        return _page(request, actor, open_case(staff=actor, case_id=found.pk), refused=refused)
    messages.success(request, told)
    address = reverse("operator:case", args=[found.pk])
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _deed(request: HttpRequest, actor: Actor, found: SupportCase, at: datetime) -> str:
    """What was done, in words. :raises Malformed: no such deed."""
    match request.POST.get("action", ""):
        case "answer":
            case_talk.answer_case(
                case=found,
                staff=actor,
                written=written_of(request, actor),
                state=request.POST.get("state", ""),
                at=at,
            )
            return _("Sent to the customer, by mail as well.")
        case "take":
            case_talk.assign_case(case=found, staff=actor, is_mine=True, at=at)
            return _("The case is yours.")
        case "release":
            case_talk.assign_case(case=found, staff=actor, is_mine=False, at=at)
            return _("The case is nobody's now.")
        case "give_back":
            reason = request.POST.get("reason", "")
            case_talk.give_incident_back(case=found, staff=actor, reason=reason, at=at)
            return _("The premier incident was given back.")
    raise Malformed(_("Choose what to do. Nothing was changed."))


def _page(
    request: HttpRequest, actor: Actor, found: SupportCase, *, refused: DomainError | None = None
) -> HttpResponse:
    with tenant_atomic(found.tenant_id):
        conversation = shown(found)
        premier = PremierIncidents.objects.filter(agreement_id=found.agreement_id or 0).first()
    is_reason = getattr(refused, "field", "") == "reason"
    context: dict[str, Any] = {
        "title": found.subject,
        "crumbs": [(_("Cases"), reverse("operator:cases"))],
        "case": found,
        "subscription": found.subscription,
        "tone": "sk-warn" if found.state == State.OPEN else TONES[State(found.state)],
        "state": STATES[State(found.state)],
        "talk": conversation,
        "premier": premier,
        "is_mine": found.assigned_to_id is not None and found.assigned_to_id == actor.user_id,
        "may_answer": not found.is_over,
        "next_states": AFTER_ANSWER,
        "next_state": request.POST.get("state", State.ANSWERED.value),
        "reason": request.POST.get("reason", "")[:500],
        "is_reason": is_reason,
        "is_past": isinstance(refused, Conflict),
        **form_context(request, refused),
    }
    with tenant_atomic(actor):
        status = refused.status if refused else HTTPStatus.OK
        return render_operator_page(request, "commerce/operator_talk.html", context, status=status)
