"""Support in the admin center: the list of cases, opening one, and the conversation (product §14; docs/support.md)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from commerce.models import Subscription, SupportCase
from commerce.operations import case_talk
from commerce.operations.case_addresses import reply_address
from commerce.queries import cases as queries
from commerce.queries import details
from commerce.views.case_parts import TONES, download, form_context, shown, written_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed, NotVisible
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability

State = SupportCase.State
Kind = SupportCase.Kind
SEE_OTHER = HTTPStatus.SEE_OTHER
REFUSALS = (Conflict, Malformed, TooManyTries)
PREMIER = "premier"


# --- The list ------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_CASES)
@require_safe
def support(request: HttpRequest) -> HttpResponse:
    """The person's own cases, and the organization's for its admins."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    show, kind = request.GET.get("show", "current"), request.GET.get("kind", "")
    if show not in queries.SHOWN or (kind and kind not in Kind.values):
        raise Malformed(_("This page address is not valid."))
    page = queries.cases_page(actor, show=show, kind=kind, cursor=request.GET.get("page", ""))
    chips = {"current": _("Current"), "over": _("Solved and closed"), "all": _("All")}
    kept = {"kind": kind} if kind else {}
    context = {
        "title": _("Support"),
        "crumbs": [],
        "rows": [(row, TONES[State(row.state)]) for row in page.rows],
        "chips": [
            (label, f"?{urlencode({'show': code} | kept)}", code == show) for code, label in chips.items()
        ],
        "show": show,
        "kind": kind,
        "kinds": Kind.choices,
        "next": f"?{urlencode({'show': show, **kept, 'page': page.next})}" if page.next else "",
        "back": f"?{urlencode({'show': show, **kept, 'page': page.back})}" if page.back else "",
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
        "sees_org": "org" in actor.scopes(Capability.SEE_CASES),
        "may_open": actor.may(Capability.OPEN_CASES),
    }
    return render_page(request, "commerce/support.html", context)


# --- Opening one ---------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_CASES, may=Capability.OPEN_CASES)
@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    """Which purchase it is about: that decides which support applies."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    words = request.GET.get("q", "").replace("\0", "")[:200]
    found, has_more = queries.to_ask_about(actor, words)
    context = {
        "title": _("Ask support"),
        "crumbs": [(_("Support"), reverse("portal:support"))],
        "words": words,
        "purchases": [(row, details.status_of(row)) for row in found],
        "has_more": has_more,
    }
    return render_page(request, "commerce/support_choose.html", context)


@access.requires(sees=Capability.SEE_PURCHASES)
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: which support applies, and the form. POST: open the case."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return _ask_page(request, actor, key)
    try:
        case = case_talk.open_conversation(
            actor=actor,
            key=key,
            kind=request.POST.get("kind", ""),
            subject=request.POST.get("subject", ""),
            written=written_of(request, actor),
            is_premier=request.POST.get("support") == PREMIER,
            at=now(),
        )
    except REFUSALS as refused:
        return _ask_page(request, actor, key, refused=refused)
    messages.success(request, _("Your case is with support. The answer comes here and by mail."))
    return HttpResponseRedirect(reverse("portal:support-case", args=[case.key]), status=SEE_OTHER)


def _ask_page(
    request: HttpRequest, actor: Actor, key: uuid.UUID, *, refused: DomainError | None = None
) -> HttpResponse:
    subscription = details.purchase(actor, key)
    case_talk.require_may_open(actor, subscription)
    premier = case_talk.premier_of(subscription)
    context: dict[str, Any] = {
        "title": _("Ask support about %(product)s") % {"product": subscription.product.name},
        "crumbs": [
            (_("Support"), reverse("portal:support")),
            (_("Ask support"), reverse("portal:support-new")),
        ],
        "subscription": subscription,
        "is_central": subscription.channel == Subscription.Channel.CENTRAL,
        "premier": premier,
        "left": _left(premier.left, premier.granted) if premier else "",
        "support": request.POST.get("support", ""),
        "kinds": [(kind.value, kind.label) for kind in case_talk.KINDS],
        "kind": request.POST.get("kind", ""),
        "subject": request.POST.get("subject", "")[: case_talk.LONGEST_SUBJECT],
        "longest_subject": case_talk.LONGEST_SUBJECT,
        "address": reverse("portal:subscription", args=[key]),
        **form_context(request, refused),
    }
    return render_page(
        request, "commerce/support_ask.html", context, status=refused.status if refused else HTTPStatus.OK
    )


def _left(left: int, granted: int) -> str:
    text = ngettext(
        "%(left)d of %(granted)d incident left", "%(left)d of %(granted)d incidents left", granted
    )
    return text % {"left": left, "granted": granted}


# --- One case ------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_CASES)
@require_http_methods(["GET", "HEAD", "POST"])
def case(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what was written. POST: write, or say that it is solved."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return _case_page(request, actor, key)
    try:
        case_talk.require_may_write(actor, queries.case_for(actor, key))
        told = _deed(request, actor, key, now())
    except REFUSALS as refused:
        return _case_page(request, actor, key, refused=refused)
    messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:support-case", args=[key]), status=SEE_OTHER)


def _deed(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> str:
    """What was done, in words."""
    if request.POST.get("action") == "solve":
        case_talk.solve(actor=actor, key=key, at=at)
        return _("Solved. Write here within 14 days if it is not.")
    case_talk.write_in(actor=actor, key=key, written=written_of(request, actor), at=at)
    return _("Sent to support.")


def _case_page(
    request: HttpRequest, actor: Actor, key: uuid.UUID, *, refused: DomainError | None = None
) -> HttpResponse:
    found = queries.case_for(actor, key)
    zone = request.tenant.time_zone  # type: ignore[attr-defined]
    context: dict[str, Any] = {
        "title": found.subject or found.get_kind_display(),
        "crumbs": [(_("Support"), reverse("portal:support"))],
        "case": found,
        "product": found.subscription.product,
        "purchase_address": _purchase_address(actor, found),
        "tone": TONES[State(found.state)],
        "talk": shown(found) if found.is_conversation else [],
        "zone": zone,
        "may_write": _may_write(actor, found) and not found.is_over,
        "closes_at": found.moved_at + case_talk.QUIET if found.moved_at and _is_quiet(found) else None,
        "is_by_mail": bool(reply_address(found.key)) and found.is_own_of(actor),
        **form_context(request, refused),
    }
    status = refused.status if refused else HTTPStatus.OK
    return render_page(request, "commerce/support_case.html", context, status=status)


def _is_quiet(found: SupportCase) -> bool:
    return found.state in (State.WAITING, State.ANSWERED, State.SOLVED)


def _may_write(actor: Actor, found: SupportCase) -> bool:
    try:
        case_talk.require_may_write(actor, found)
    except (NotVisible, NotAllowed):
        return False
    return True


def _purchase_address(actor: Actor, found: SupportCase) -> str:
    """Where the purchase is, for who sees it still."""
    rows = Subscription.objects.visible_to(actor).filter(pk=found.subscription_id)
    return reverse("portal:subscription", args=[found.subscription.key]) if rows.exists() else ""


@access.requires(sees=Capability.SEE_CASES, owns_transaction=True)
@require_safe
def case_file(request: HttpRequest, key: uuid.UUID, file: uuid.UUID) -> HttpResponse:
    """A file of a message, to keep."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        return download(queries.file_of(queries.case_for(actor, key), file))
