"""Jobs with progress: the page that can be left, the result to download, and the buttons (architecture §10)."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import NotVisible, Text
from config.kit.sheets import Cell, csv_lines
from config.kit.tenancy import tenant_atomic
from directory.models import Job, JobPart, JobRow, Tenant
from directory.operations.jobs import cancel_job, interrupt_job, resume_job

SHOWN_JOBS = 50
SHOWN_ROWS = 50
ROWS_AT_ONCE = 1000
TONES = {
    Job.State.QUEUED: "sk-badge--ring",
    Job.State.RUNNING: "sk-info",
    Job.State.INTERRUPTED: "sk-warn",
    Job.State.DONE: "sk-ok",
    Job.State.FAILED: "sk-bad",
    Job.State.CANCELED: "sk-idle",
}


@access.signed_in
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """The latest jobs that the person may see; not there for whoever can start none."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not (actor.roles or actor.is_purchaser or actor.has_customers):
        raise NotVisible
    found = list(Job.objects.visible_to(actor).order_by("-id")[:SHOWN_JOBS])
    lines = [{"job": job, "tone": TONES[Job.State(job.state)], "sentence": _sentence(job)} for job in found]
    return render_page(request, "directory/jobs.html", {"title": _("Jobs"), "lines": lines})


@access.signed_in
@require_safe
def job(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """One job: how far it is, what became of its first rows, and what can be done about it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = _visible(actor, key)
    rows = list(found.rows.filter(is_failed=True).order_by("number")[:SHOWN_ROWS])
    rows += found.rows.filter(is_failed=False).order_by("-number")[: SHOWN_ROWS - len(rows)]
    is_mine = found.actor_user_id == actor.user_id
    context = progress_of(request, found) | {
        "title": found.title,
        "crumbs": [(_("Jobs"), reverse("portal:jobs"))],
        "rows": rows,
        "shown_rows": SHOWN_ROWS,
        "may_change": is_mine or bool(actor.roles - {"global_reader"}),
        "may_resume": found.state in (Job.State.INTERRUPTED, Job.State.FAILED),
        "may_end": found.state not in Job.ENDED,
    }
    return render_page(request, "directory/job.html", context)


@access.signed_in
@require_safe
def job_progress(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The bar alone, asked for every other second; once the job has ended the page is loaded anew."""
    found = _visible(request.actor, key)  # type: ignore[attr-defined]
    response = render(request, "directory/_job_progress.html", progress_of(request, found))
    if not found.is_live:
        response["HX-Refresh"] = "true"
    return response


def progress_of(request: HttpRequest, found: Job) -> dict[str, Any]:
    """What `directory/_job_progress.html` reads; also for pages of what the job does."""
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    counted = found.done + found.failed
    return {
        "job": found,
        "counted": counted,
        "tone": TONES[Job.State(found.state)],
        "sentence": _sentence(found),
        "left": _time_left(found, counted, now()),
        "zone": tenant.time_zone,
    }


def _sentence(found: Job) -> str:
    counted = found.done + found.failed
    if found.total is None:
        text = ngettext("%(done)s done", "%(done)s done", counted) % {"done": f"{counted:,}"}
    else:
        text = _("%(done)s of %(total)s done") % {"done": f"{counted:,}", "total": f"{found.total:,}"}
    if found.failed:
        failed = ngettext("%(count)s failed", "%(count)s failed", found.failed)
        text = f"{text}, {failed % {'count': f'{found.failed:,}'}}"
    return text


def _time_left(found: Job, counted: int, at: datetime) -> Text:
    """By the pace so far; empty until there is one."""
    if found.state != Job.State.RUNNING or not counted or not found.total or found.started_at is None:
        return ""
    seconds = (at - found.started_at).total_seconds() * (found.total - counted) / counted
    if seconds < 60:
        rounded = max(5, round(seconds / 5) * 5)
        return _("About %(count)s seconds left.") % {"count": rounded}
    minutes = round(seconds / 60)
    return ngettext("About %(count)s minute left.", "About %(count)s minutes left.", minutes) % {
        "count": minutes
    }


def _visible(actor: Actor, key: uuid.UUID) -> Job:
    found: Job | None = Job.objects.visible_to(actor).filter(key=key).first()
    if found is None:
        raise NotVisible
    return found


# --- The result --------------------------------------------------------------------------------------------


@access.signed_in(owns_transaction=True)
@require_safe
def job_rows(request: HttpRequest, key: uuid.UUID) -> StreamingHttpResponse:
    """What became of each row so far, as CSV."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        found = _visible(actor, key)
    head = [_("Number"), _("What"), _("Failed"), _("Result"), _("Message")]
    lines = csv_lines(head, _row_cells(actor, found))
    return _file(lines, "text/csv; charset=utf-8", f"{found.kind.replace('_', '-')}-{found.pk}.csv")


def _row_cells(actor: Actor, found: Job) -> Iterator[list[Cell]]:
    """A thousand rows a query, each in a short transaction of its own."""
    last = 0
    while True:
        with tenant_atomic(actor):
            rows = list(JobRow.objects.filter(job=found, number__gt=last).order_by("number")[:ROWS_AT_ONCE])
        for row in rows:
            yield [row.number, row.subject, "yes" if row.is_failed else "no", row.code, row.message]
        if len(rows) < ROWS_AT_ONCE:
            return
        last = rows[-1].number


@access.signed_in(owns_transaction=True)
@require_safe
def job_file(request: HttpRequest, key: uuid.UUID) -> StreamingHttpResponse:
    """The result file, a piece at a time."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        found = _visible(actor, key)
    if not found.has_file:
        raise NotVisible
    return _file(_parts(actor, found), found.file_type, found.file_name, size=found.file_bytes)


def _parts(actor: Actor, found: Job) -> Iterator[bytes]:
    """Each piece in a short transaction of its own."""
    number = -1
    while True:
        with tenant_atomic(actor):
            part = JobPart.objects.filter(job=found, number__gt=number).order_by("number").first()
        if part is None:
            return
        yield bytes(part.content)
        number = part.number


def _file(content: Iterable[Any], media_type: str, name: str, *, size: int = 0) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    if size:
        response["Content-Length"] = str(size)
    return response


# --- The buttons -------------------------------------------------------------------------------------------


@access.signed_in
@require_POST
def cancel(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """End the job for good; what was done stays done."""
    return _changed(request, key, cancel_job, _("Canceled. What was done before stays done."))


@access.signed_in
@require_POST
def interrupt(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Pause the job."""
    return _changed(request, key, interrupt_job, _("Paused. Nothing is lost: it goes on where it stopped."))


@access.signed_in
@require_POST
def resume(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Let the job go on."""
    return _changed(request, key, resume_job, _("The job goes on where it stopped."))


def _changed(request: HttpRequest, key: uuid.UUID, change: Callable[..., Job], said: str) -> HttpResponse:
    change(actor=request.actor, key=key, at=now())  # type: ignore[attr-defined]
    messages.success(request, said)
    return HttpResponseRedirect(reverse("portal:job", args=[key]), status=HTTPStatus.SEE_OTHER)
