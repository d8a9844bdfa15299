"""Mails that were given up and jobs that stopped, of all organizations, for the vendor's staff (docs/operator.md)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.kit.actors import Actor
from config.kit.errors import Text
from config.kit.listings import oldest
from config.kit.operator import Look, look_at_waiting
from config.kit.templatetags.kit import moment
from config.kit.worklists import Asked, Column, Deed, Said, Shown, WorkList, page_of
from directory.models import OutgoingMail
from directory.operations.jobs import UnknownKind, kind_of
from directory.operations.staff_work import go_on_with_job, may_go_on, send_again
from directory.queries.staff_work import STOPPED_JOBS, UNSURE, WAITING_MAILS, StoppedJob, WaitingMail
from directory.staff import StaffCapability
from directory.topics import TOPICS, name_of, topic_of

# A mail that is in the queue for so long is held up by something else than its turn.
MAIL_WAITS = timedelta(hours=1)
DEAD, QUEUED = str(OutgoingMail.State.DEAD), str(OutgoingMail.State.QUEUED)


# --- Mails -------------------------------------------------------------------------------------------------


def _mail(row: WaitingMail, zone: str) -> Shown:
    return Shown(name_of(row.kind), TOPICS[topic_of(row.kind)])


def _mail_error(row: WaitingMail, zone: str) -> Shown:
    tries = ngettext("%(count)d try", "%(count)d tries", row.tries) % {"count": row.tries}
    if row.state == DEAD:
        return Shown(row.error or _("The mail server said nothing."), _("Given up after %s") % tries)
    if row.state == UNSURE:
        return Shown(
            _("It may have gone out: the mail server or the worker stopped while it was being sent.")
        )
    return Shown(row.error or _("Not tried yet."), _("%s so far") % tries if row.tries else "")


def _mail_since(row: WaitingMail, zone: str) -> Shown:
    next_try = _("Tried again %s") % moment(row.next_try_at, zone) if row.state == QUEUED else ""
    return Shown(moment(row.created_at, zone), next_try)


def _may_be_sent_again(row: WaitingMail) -> bool:
    return row.state != QUEUED


def _send_again(asked: Asked) -> Said:
    mail = send_again(staff=asked.actor, mail_id=asked.row_id, at=asked.at)
    return Said(
        _("The mail to %(organization)s is in the queue again.") % {"organization": mail.organization}
    )


MAILS = WorkList(
    title=gettext_lazy("Mails"),
    about=gettext_lazy(
        "Mails that the mail server did not take. Neither the reader nor the text is shown. Remove the cause first, "
        "such as a mail server that refuses us: each goes through all its tries again. What may have gone out already can "
        "reach its reader twice."
    ),
    nothing=gettext_lazy("Every mail was taken by the mail server."),
    sees=StaffCapability.OPERATE_WORK,
    listing=WAITING_MAILS,
    filters=lambda chosen, at: (chosen.state, chosen.words),
    columns=(
        Column(gettext_lazy("Organization"), lambda row, zone: Shown(row.organization)),
        Column(gettext_lazy("Mail"), _mail),
        Column(gettext_lazy("What the mail server said"), _mail_error),
        Column(gettext_lazy("Since"), _mail_since),
    ),
    deeds=(Deed("again", gettext_lazy("Send again"), _send_again, fits=_may_be_sent_again),),
    states=(
        (DEAD, gettext_lazy("Given up")),
        (UNSURE, gettext_lazy("May have gone out")),
        (QUEUED, gettext_lazy("In the queue")),
    ),
)
mails = page_of(MAILS)


# --- Jobs --------------------------------------------------------------------------------------------------


def _kind(job: StoppedJob) -> Text:
    try:
        return kind_of(job.kind).label
    except UnknownKind:
        return job.kind.replace("_", " ").capitalize()


def _job(row: StoppedJob, zone: str) -> Shown:
    return Shown(row.organization, _kind(row))


def _job_reason(row: StoppedJob, zone: str) -> Shown:
    cure = "" if may_go_on(row) else _("This kind of job is not known here any more, so it cannot go on.")
    return Shown(row.reason or _("No reason was noted."), cure)


def _job_done(row: StoppedJob, zone: str) -> Shown:
    done, failed = f"{row.done + row.failed:,}", ""
    if row.failed:
        count = {"count": f"{row.failed:,}"}
        failed = ngettext("%(count)s failed", "%(count)s failed", row.failed) % count
    if row.total is not None:
        done = _("%(done)s of %(total)s") % {"done": done, "total": f"{row.total:,}"}
    return Shown(done, failed)


def _go_on(asked: Asked) -> Said:
    job = go_on_with_job(staff=asked.actor, job_id=asked.row_id, at=asked.at)
    facts = {"job": _kind(job), "organization": job.organization}
    return Said(_("%(organization)s: %(job)s goes on where it stopped.") % facts)


JOBS = WorkList(
    title=gettext_lazy("Jobs"),
    about=gettext_lazy(
        "Long work of organizations that ended before it was done. It goes on from where it stopped, in the name and with the "
        "rights of whoever started it."
    ),
    nothing=gettext_lazy("No job has stopped."),
    sees=StaffCapability.OPERATE_WORK,
    listing=STOPPED_JOBS,
    filters=lambda chosen, at: (chosen.words,),
    columns=(
        Column(gettext_lazy("Organization"), _job),
        Column(gettext_lazy("Why it stopped"), _job_reason),
        Column(gettext_lazy("Done"), _job_done, is_number=True),
        Column(gettext_lazy("Since"), lambda row, zone: Shown(moment(row.finished_at, zone))),
    ),
    deeds=(Deed("again", gettext_lazy("Let it go on"), _go_on, fits=may_go_on),),
)
jobs = page_of(JOBS)


# --- The first page ----------------------------------------------------------------------------------------


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """What of these needs a look."""
    address = reverse("operator:work-mails")
    held_up = [row.created_at for row in oldest(WAITING_MAILS, QUEUED, "")]
    yield from look_at_waiting(
        _("Mails wait to be sent for over an hour"),
        (since for since in held_up if since <= at - MAIL_WAITS),
        address=f"{address}?state={QUEUED}",
        at=at,
    )
    yield from look_at_waiting(
        _("Mails were given up"),
        (row.created_at for row in oldest(WAITING_MAILS, DEAD, "")),
        address=address,
        at=at,
    )
    yield from look_at_waiting(
        _("Mails may have gone out or not"),
        (row.created_at for row in oldest(WAITING_MAILS, UNSURE, "") if row.next_try_at <= at),
        address=f"{address}?state={UNSURE}",
        at=at,
    )
    yield from look_at_waiting(
        _("Jobs stopped"),
        (row.finished_at for row in oldest(STOPPED_JOBS, "")),
        address=reverse("operator:work-jobs"),
        at=at,
    )
