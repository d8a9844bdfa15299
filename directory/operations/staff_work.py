"""What the vendor's staff set going again: mails that were given up, jobs that stopped (docs/adr/0034).

Each is found in its list, which says whose it is, and changed as the app in that organization's rows. Twice is once.
"""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.tenancy import tenant_atomic
from directory.models import Job, OutgoingMail, User
from directory.operations.jobs import TASK, UnknownKind, kind_of
from directory.operations.staff_deeds import NotWaiting, note, what_waits
from directory.queries.staff_work import STOPPED, STOPPED_JOBS, WAITING_MAILS, StoppedJob, WaitingMail

_SENDING = "directory.send_due_mails"


class ReaderLeft(Conflict):
    """Nobody is told anything after leaving."""

    code = "reader_left"
    message = _("Its reader has left the organization meanwhile. Nothing is sent.")


class NoSuchWork(Conflict):
    """The kind of job is not known here any more."""

    code = "no_such_work"
    message = _("This kind of job cannot go on: it is not known here any more. Nothing was changed.")


def send_again(*, staff: Actor, mail_id: int, at: datetime) -> WaitingMail:
    """Put a mail that was given up, or may have gone out, back into the queue with all its tries; never twice at once.

    :raises NotVisible: not of the staff. :raises NotWaiting: it is neither any more, or is being sent at this moment.
    :raises ReaderLeft: nobody is there to read it.
    """
    with what_waits(staff, WAITING_MAILS, mail_id, STOPPED, "", rings=_SENDING) as found:
        with tenant_atomic(found.tenant_id):
            mail = OutgoingMail.objects.select_for_update().get(pk=mail_id)
            if not _has_stopped(mail, at):
                raise NotWaiting
            if not _is_read(mail):
                raise ReaderLeft
            mail.state, mail.tries, mail.next_try_at = OutgoingMail.State.QUEUED, 0, at
            mail.save(update_fields=["state", "tries", "next_try_at"])
        note(
            staff,
            "directory.mail.sent_again",
            at=at,
            organization=found.tenant_id,
            target_type="mail",
            target_id=found.id,
            target_label=found.kind,
            before={"state": found.state},
        )
    return found


def _has_stopped(mail: OutgoingMail, at: datetime) -> bool:
    if mail.state == OutgoingMail.State.SENT:
        return mail.sent_at is None and mail.next_try_at <= at
    return bool(mail.state == OutgoingMail.State.DEAD)


def _is_read(mail: OutgoingMail) -> bool:
    reader = mail.to_user_id
    return reader is None or User.objects.filter(pk=reader, status=User.Status.ACTIVE).exists()


def may_go_on(job: StoppedJob) -> bool:
    """Whether this installation knows how the job goes on."""
    try:
        kind_of(job.kind)
    except UnknownKind:
        return False
    return True


def go_on_with_job(*, staff: Actor, job_id: int, at: datetime) -> StoppedJob:
    """Let a stopped job go on from where it stopped, in the name and with the rights of whoever started it.

    :raises NotVisible: not of the staff. :raises NotWaiting: it goes on already. :raises NoSuchWork: its kind is not known.
    """
    with what_waits(staff, STOPPED_JOBS, job_id, "", rings=TASK) as found:
        if not may_go_on(found):
            raise NoSuchWork
        with tenant_atomic(found.tenant_id):
            going = Job.objects.filter(pk=job_id, state=Job.State.FAILED).update(
                state=Job.State.QUEUED,
                reason="",
                finished_at=None,
                leased_until=None,
                next_try_at=None,
                tries=0,
            )
        if not going:
            raise NotWaiting
        note(
            staff,
            "directory.job.resumed",
            at=at,
            organization=found.tenant_id,
            target_type="job",
            target_id=found.key,
            target_label=found.kind,
            before={"reason": found.reason},
        )
    return found
