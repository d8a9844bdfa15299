"""Billing of the whole installation at the vendor's site: how it stands, pause, resume (product §2, §16)."""

from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from commerce.forms import LineField
from commerce.models import BillingControl
from commerce.operations.billing_control import NotReconciled
from commerce.operations.billing_pauses import (
    LONGEST_REASON,
    BillingMoved,
    is_copy,
    pause_billing,
    resume_billing,
)
from commerce.views.operator_forms import text
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import instant_of, now
from config.kit.errors import DomainError, Malformed, NotVisible
from config.kit.operator import Look, render_operator_page
from directory.staff import StaffCapability


class PauseForm(forms.Form):
    """Why billing is to stop."""

    reason = LineField(
        label=gettext_lazy("Why"),
        max_length=LONGEST_REASON,
        widget=text(LONGEST_REASON),
        help_text=gettext_lazy("Shown to whoever asks why nothing is billed."),
    )


@access.requires(sees=StaffCapability.OPERATE_TENANTS)
@require_http_methods(["GET", "HEAD", "POST"])
def billing(request: HttpRequest) -> HttpResponse:
    """How billing stands. POST: pause it with a reason, or let it go on."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form, problem, status = PauseForm(), "", int(HTTPStatus.OK)
    if request.method == "POST":
        if request.POST.get("action") != "resume":
            form = PauseForm(request.POST)
        try:
            said = _do(request, actor, form)
        except NotVisible:
            raise
        except DomainError as refused:
            status, problem = refused.status, str(refused)
            if isinstance(refused, NotReconciled):
                problem = _("Say that no charge can be missing, or have them looked for first.")
        else:
            messages.success(request, said)
            return HttpResponseRedirect(reverse("operator:billing"), status=HTTPStatus.SEE_OTHER)
    control = BillingControl.objects.filter(pk=1).first()
    context = {
        "title": _("Billing"),
        "control": control,
        "is_copy": control is not None and is_copy(control),
        "form": form,
        "problem": problem,
    }
    return render_operator_page(request, "commerce/operator_billing.html", context, status=status)


def _do(request: HttpRequest, actor: Actor, form: PauseForm) -> str:
    at = now()
    match request.POST.get("action", ""):
        case "pause":
            if not form.is_valid():
                raise Malformed(_("Nothing was changed."))
            pause_billing(staff=actor, reason=form.cleaned_data["reason"], at=at)
            return _("Billing is paused: nobody is billed, charged or refunded.")
        case "resume":
            unreconciled = request.POST.get("unreconciled") == "1"
            seen = _seen(request.POST.get("seen", ""))
            resume_billing(staff=actor, seen=seen, unreconciled=unreconciled, at=at)
            return _("Billing goes on. What was due meanwhile is billed by the next sweep.")
    raise Malformed(_("Choose what to do."), field="action")


def _seen(text: str) -> datetime:
    found = instant_of(text)
    if found is None:
        raise BillingMoved
    return found


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """Billing that is paused needs a look by everybody of the staff."""
    control = BillingControl.objects.filter(pk=1).first()
    if control is not None and (control.paused_at is not None or is_copy(control)):
        address = reverse("operator:billing") if actor.may(StaffCapability.OPERATE_TENANTS) else ""
        says = control.paused_reason or _("The database is a copy.")
        yield Look(_("Billing is paused"), says, address, is_urgent=True)
