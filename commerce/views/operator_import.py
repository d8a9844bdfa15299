"""Importing a catalogue file at the vendor's site: upload, dry run, confirm (docs/operator-catalogue.md)."""

from datetime import date, datetime
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from commerce.catalogue_files import HEADS, MOST_BYTES, Unreadable
from commerce.operations.catalogue_import import ImportMoved, ImportPlan, plan_import, run_import
from commerce.views.operator_prices import midnight
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed, Text
from config.kit.operator import render_operator_page
from directory.staff import StaffCapability

SALT = "commerce.catalogue-import"
# So long a dry run may be confirmed, in seconds.
GOOD_FOR = 24 * 3600
# So many lines of each kind a page shows; what is refused is shown whole.
MOST_SHOWN = 200
WORDS: dict[str, tuple[Text, str]] = {
    "added": (gettext_lazy("Added"), "sk-ok"),
    "changed": (gettext_lazy("Changed"), "sk-warn"),
    "refused": (gettext_lazy("Refused"), "sk-bad"),
    "same": (gettext_lazy("As it is"), ""),
}


class FileForm(forms.Form):
    """A file, and the day on which the prices in it begin."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        widget=forms.FileInput({"class": "sk-input", "accept": ".csv,text/csv"}),
        help_text=gettext_lazy(
            "Products or prices, UTF-8, at most 1 MB and 5,000 lines. The first line says which."
        ),
    )
    begins_on = forms.DateField(
        label=gettext_lazy("The prices begin on"),
        required=False,
        widget=forms.DateInput({"class": "sk-input", "type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        help_text=gettext_lazy(
            "For prices only: at midnight of your own time zone, tomorrow at the earliest."
        ),
    )


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def catalogue_import(request: HttpRequest) -> HttpResponse:
    """The form. POST: the dry run of a file, or the import that its button confirms."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return _form_page(request, FileForm())
    if "signed" in request.POST:
        return _confirm(request, actor)
    form = FileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _form_page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    upload = form.cleaned_data["file"]
    return _dry_run(request, actor, form, upload.read(MOST_BYTES + 1), form.cleaned_data["begins_on"])


def _dry_run(
    request: HttpRequest, actor: Actor, form: FileForm, content: bytes, begins_on: date | None
) -> HttpResponse:
    begins_at = midnight(request, begins_on) if begins_on else None
    try:
        plan = plan_import(staff=actor, content=content, begins_at=begins_at, at=now())
    except Unreadable as unreadable:
        form.add_error("file", str(unreadable))
    except Malformed as refused:
        form.add_error(refused.field, str(refused))
    else:
        return _plan_page(request, plan, content, begins_at)
    return _form_page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


def _confirm(request: HttpRequest, actor: Actor) -> HttpResponse:
    try:
        text, begins, seen = signing.loads(request.POST["signed"], salt=SALT, max_age=GOOD_FOR)
    except signing.BadSignature:
        form = FileForm()
        return _form_page(
            request,
            form,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            problem=_("Nothing was imported. Upload the file again and look at what it does."),
        )
    content, at = text.encode(), now()
    begins_at = datetime.fromisoformat(begins) if begins else None
    try:
        plan = run_import(staff=actor, content=content, begins_at=begins_at, seen=seen, at=at)
    except ImportMoved as moved:
        now_planned = plan_import(staff=actor, content=content, begins_at=begins_at, at=at)
        return _plan_page(request, now_planned, content, begins_at, problem=str(moved))
    except Malformed as refused:
        # The day on which the prices were to begin has come meanwhile.
        form = FileForm()
        problem = f"{_('Nothing was imported.')} {refused}"
        return _form_page(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY, problem=problem)
    counts = plan.counts
    told = _("Imported: %(added)d added, %(changed)d changed, %(same)d as before, %(refused)d left out.") % {
        name: counts[name] for name in ("added", "changed", "same", "refused")
    }
    messages.success(request, told)
    return HttpResponseRedirect(reverse("operator:catalogue"), status=HTTPStatus.SEE_OTHER)


def _form_page(
    request: HttpRequest, form: FileForm, *, status: int = HTTPStatus.OK, problem: str = ""
) -> HttpResponse:
    context = {
        "title": _("Import a file"),
        "crumbs": [(_("Catalogue"), reverse("operator:catalogue"))],
        "form": form,
        "heads": [(_("Products"), ",".join(HEADS["products"])), (_("Prices"), ",".join(HEADS["prices"]))],
        "problem": problem or (_("Nothing was imported.") if form.errors else ""),
    }
    return render_operator_page(request, "commerce/operator_import.html", context, status=status)


def _plan_page(
    request: HttpRequest, plan: ImportPlan, content: bytes, begins_at: datetime | None, *, problem: str = ""
) -> HttpResponse:
    counts = plan.counts
    value = [content.decode("utf-8-sig"), begins_at.isoformat() if begins_at else "", plan.digest]
    context = {
        "title": _("What the import does"),
        "crumbs": [
            (_("Catalogue"), reverse("operator:catalogue")),
            (_("Import a file"), reverse("operator:catalogue-import")),
        ],
        "plan": plan,
        "begins_at": begins_at,
        "groups": [
            _group(plan, what, counts[what])
            for what in ("refused", "added", "changed", "same")
            if counts[what]
        ],
        "signed": signing.dumps(value, salt=SALT, compress=True),
        "button": ngettext("Import %d line", "Import %d lines", plan.changes) % plan.changes,
        "problem": problem,
    }
    status = HTTPStatus.CONFLICT if problem else HTTPStatus.OK
    return render_operator_page(request, "commerce/operator_import_plan.html", context, status=status)


def _group(plan: ImportPlan, what: Any, count: int) -> dict[str, Any]:
    label, tone = WORDS[what]
    rows = [outcome for outcome in plan.outcomes if outcome.what == what]
    shown = rows if what == "refused" else rows[:MOST_SHOWN]
    return {
        "what": what,
        "label": label,
        "tone": tone,
        "count": count,
        "rows": shown,
        "more": count - len(shown),
    }
