"""Support cases: their list, and what the vendor's staff cancel for organizations whose purchaser has left (product §11,
§14). Conversations are in `operator_talk`.

What is carried out is the signed preview of the page, or nothing: the sums are counted anew under the lock.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from commerce.models import SupportCase
from commerce.operations.cancellations import CancellationQuote, Seen
from commerce.operations.cases import (
    LONGEST,
    PurchaserIsHere,
    carry_out_case,
    decline_case,
    open_case,
    quote_case,
)
from commerce.queries.cases import file_of
from commerce.queries.staff_lists import CASES, CaseRow
from commerce.views.canceling import button_of, figures_of
from commerce.views.case_parts import TONES as CUSTOMERS_TONES
from commerce.views.case_parts import download
from commerce.views.operator_talk import STATES, talk
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.listings import oldest
from config.kit.operator import Look, look_at_waiting, render_operator_page
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from config.kit.worklists import Column, Shown, WorkList, page_of
from directory.sessions import require_fresh
from directory.staff import StaffCapability

SALT = "commerce.case"
# What the page said when nothing is left to cancel.
NOTHING = Seen("", 0, 0, 0)
State = SupportCase.State
# Here an open one waits for the reader.
TONES = CUSTOMERS_TONES | {State.OPEN: "sk-warn", State.WAITING: "sk-info"}
ALL = ""


# --- The list ----------------------------------------------------------------------------------------------


def _whose(row: CaseRow, zone: str) -> Shown:
    return Shown(row.organization, address=reverse("operator:case", args=[row.id]))


def _asked(row: CaseRow, zone: str) -> Shown:
    return Shown(
        row.subject or row.product, f"{row.kind_label}, {row.product}" if row.subject else row.kind_label
    )


def _support(row: CaseRow, zone: str) -> Shown:
    return Shown(_("Premier") if row.is_premier else _("Standard"), tone="sk-warn" if row.is_premier else "")


def _waits(row: CaseRow, zone: str) -> Shown:
    """For how long it has waited for us; of others since when it is as it is."""
    if row.state != State.OPEN:
        return Shown(moment(row.waits_since, zone))
    return Shown(timesince(row.waits_since, now(), depth=1), moment(row.waits_since, zone))


def _state(row: CaseRow, zone: str) -> Shown:
    state = State(row.state)
    return Shown(STATES[state], row.assigned_to, TONES[state])


CASE_LIST = WorkList(
    title=gettext_lazy("Cases"),
    about=gettext_lazy(
        "What organizations and their purchasers ask support: questions, bills, and to cancel what somebody who left "
        "still owns. The oldest case comes first."
    ),
    nothing=gettext_lazy("No organization waits for an answer."),
    sees=StaffCapability.OPERATE_CASES,
    listing=CASES,
    filters=lambda chosen, at: (chosen.state, chosen.words),
    columns=(
        Column(gettext_lazy("Organization"), _whose),
        Column(gettext_lazy("What is asked"), _asked),
        Column(gettext_lazy("Support"), _support),
        Column(gettext_lazy("Waits"), _waits),
        Column(gettext_lazy("State"), _state),
    ),
    states=(*STATES.items(), (ALL, gettext_lazy("All cases"))),
)
cases = page_of(CASE_LIST)


# --- One case ----------------------------------------------------------------------------------------------


@access.requires(sees=StaffCapability.OPERATE_CASES, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def case(request: HttpRequest, case_id: int) -> HttpResponse:
    """GET: what is asked, and what canceling would do now. POST: do that, or decline. A conversation has its own page.

    A refund is asked for after the commit, of who signed in within five minutes.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    found = open_case(staff=actor, case_id=case_id)
    if found.is_conversation:
        return talk(request, actor, found)
    if request.method != "POST":
        return _page(request, actor, found, at)
    answer = request.POST.get("answer", "").replace("\0", "")
    try:
        if request.POST.get("action") == "decline":
            decline_case(case=found, staff=actor, answer=answer, at=at)
        else:
            seen = _signed(request.POST.get("quote", ""), found)
            if seen.refund_minor:
                require_fresh(request)
            carry_out_case(case=found, staff=actor, answer=answer, seen=seen, at=at)
    except (Conflict, Malformed) as refused:
        return _page(request, actor, open_case(staff=actor, case_id=case_id), at, refused=refused)
    told = _("Answered. The admins of %(organization)s get a mail with what was done.")
    messages.success(request, told % {"organization": found.tenant.name})
    return HttpResponseRedirect(reverse("operator:case", args=[case_id]), status=HTTPStatus.SEE_OTHER)


@access.requires(sees=StaffCapability.OPERATE_CASES, owns_transaction=True)
@require_safe
def case_file(request: HttpRequest, case_id: int, file: uuid.UUID) -> HttpResponse:
    """A file of a message, to keep."""
    found = open_case(staff=request.actor, case_id=case_id)  # type: ignore[attr-defined]
    with tenant_atomic(found.tenant_id):
        return download(file_of(found, file))


def _sign(found: SupportCase, quote: CancellationQuote | None) -> str:
    seen = quote.seen if quote else NOTHING
    facts = [str(seen.ending), seen.refund_minor, seen.credited_minor, seen.still_minor]
    return signing.dumps([str(found.key), *facts], salt=SALT)


def _signed(text: str, found: SupportCase) -> Seen:
    """What the page said that canceling does. :raises Malformed: it is not one of ours, or of another case."""
    try:
        key, *facts = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        key = ""
    if key != str(found.key):
        raise Malformed(_("Nothing was changed. Look at what happens, and decide again."))
    return Seen(*facts)


def _page(
    request: HttpRequest,
    actor: Actor,
    found: SupportCase,
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    subscription = found.subscription
    context: dict[str, Any] = {
        "title": _("%(product)s of %(organization)s")
        % {"product": subscription.product.name, "organization": found.tenant.name},
        "crumbs": [(_("Cases"), reverse("operator:cases"))],
        "case": found,
        "subscription": subscription,
        "tone": TONES[State(found.state)],
        "is_open": found.state == State.OPEN,
        "problem": refused,
        "is_past": isinstance(refused, Conflict),
        "field": getattr(refused, "field", ""),
        "answer": request.POST.get("answer", "")[:LONGEST],
        "longest": LONGEST,
    }
    if found.state == State.OPEN:
        context |= _preview(found, at)
    with tenant_atomic(actor):
        status = refused.status if refused else HTTPStatus.OK
        return render_operator_page(request, "commerce/operator_case.html", context, status=status)


def _preview(found: SupportCase, at: datetime) -> dict[str, Any]:
    """What canceling would do now, or why it is not for support to do."""
    subscription = found.subscription
    with tenant_atomic(found.tenant_id):
        try:
            quote = quote_case(case=found, at=at)
        except PurchaserIsHere as here:
            return {"cannot": here}
        if quote is None:
            return {"signed": _sign(found, None), "button": _("Answer: it ends by itself")}
        return {
            "signed": _sign(found, quote),
            "figures": figures_of(subscription, quote, at),
            "button": button_of(subscription, quote),
        }


# --- The first page ----------------------------------------------------------------------------------------


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """Cases that wait for an answer."""
    yield from look_at_waiting(
        _("Organizations ask support for something"),
        (row.waits_since for row in oldest(CASES, State.OPEN, "")),
        address=reverse("operator:cases"),
        at=at,
    )
