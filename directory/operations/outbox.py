"""Sending the mails of the outbox (product §15; F-27), each at most once.

A mail is marked sent before it goes out and marked back when that fails. A process that dies in between, or a server
that takes the mail and then says nothing, leaves `sent_at` empty: such a mail may have gone out, so it is not sent
again by itself, and the vendor's staff have a list of them (`staff_waiting_mails`). The Message-ID is made of the
event, so it is the same on every try.
"""

import hashlib
import logging
import time
from datetime import datetime, timedelta
from email.utils import format_datetime
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F
from django.template.loader import render_to_string
from django.utils.translation import override

from config.kit.faults import reached
from config.kit.tenancy import atomic, use_login
from directory.models import OutgoingMail, User
from directory.operations.languages import language_of
from directory.operations.mail import AttachmentFailed, attachments_of
from directory.operations.preferences import switch_off_link
from directory.operations.rendering import DOES_NOT_RENDER, context_of, subject_of

log = logging.getLogger(__name__)

State = OutgoingMail.State
MOST_TRIES = 10
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
BATCH = 200
# How long one task goes on; less than a worker lets it run, by more than a single mail takes.
RUN_SECONDS = 60.0
# A mail that was taken so long ago is under way no more. Longer than a worker lets a task run.
UNDER_WAY = timedelta(minutes=10)
NO_ANSWER = "The mail server did not answer; the mail may have gone out."

# What a mail that cannot be sent raises: the server's refusal, no connection, or a row that does not render.
_FAILURES = (SMTPException, OSError, AttachmentFailed, *DOES_NOT_RENDER)


class _ServerAway(Exception):
    """The mail server is away or silent: the other mails wait for the next round, and spend no try."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def send_due_mails(*, at: datetime, limit: int = BATCH, seconds: float = RUN_SECONDS) -> int:
    """Send what is due, oldest first; how many went out. By the worker's login, any number side by side.

    At most `limit`, none begun after so many `seconds` of real time. A mail that fails waits longer each time and is
    dead after ten tries; it never holds up another. A server that does not answer ends the round.
    """
    sent = 0
    ends_at = time.monotonic() + seconds
    with use_login("worker"), _open_connection() as connection:
        for _ in range(limit):
            if time.monotonic() >= ends_at:
                break
            reached("R8:before")
            mail = _take_next(at)
            if mail is None:
                break
            try:
                sent += _send(mail, connection, at)
            except _ServerAway:
                break
            reached("R8:after")
    return sent


def wait_after(tries: int) -> timedelta:
    """How long a mail waits after its n-th failure: 1, 2, 4 minutes and so on, six hours at most."""
    return min(FIRST_WAIT * (1 << (tries - 1)), LONGEST_WAIT)


def message_of(mail: OutgoingMail) -> EmailMultiAlternatives:
    """The mail as it goes out, in the recipient's language."""
    off = switch_off_link(mail)
    with override(language_of(mail)):
        subject = subject_of(mail)
        context = {**context_of(mail), "subject": subject, "off": off}
        text = render_to_string(f"mail/{mail.kind}.txt", context).strip() + "\n"
        html = render_to_string(f"mail/{mail.kind}.html", context)
        if off:
            text = f"{text}\n{render_to_string('mail/_off.txt', context).strip()}\n"
        attachments = attachments_of(mail)
    message = EmailMultiAlternatives(
        subject=subject,
        body=text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[mail.to_address],
        # Where an answer is taken; most kinds take none.
        reply_to=[context["reply_to"]] if context.get("reply_to") else None,
        headers={"Message-ID": _message_id(mail), "Auto-Submitted": "auto-generated", **_one_click(off)},
    )
    message.attach_alternative(html, "text/html")
    for attachment in attachments:
        message.attach(attachment.name, attachment.content, attachment.media_type)
    return message


def _one_click(off: str) -> dict[str, str]:
    """What lets a mail program offer to switch off these mails (RFC 8058)."""
    if not off:
        return {}
    return {"List-Unsubscribe": f"<{off}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _take_next(at: datetime) -> OutgoingMail | None:
    """The next due mail, already marked as sent and counted; another process takes the one after it.

    One to somebody who has left meanwhile is passed over for good.
    """
    while True:
        with atomic():
            mail: OutgoingMail | None = (
                OutgoingMail.objects.filter(state=State.QUEUED, next_try_at__lte=at)
                .order_by("next_try_at", "id")
                .select_for_update(skip_locked=True)
                .first()
            )
            if mail is None:
                return None
            if not _has_left(mail):
                OutgoingMail.objects.filter(pk=mail.pk).update(
                    state=State.SENT, sent_at=None, tries=F("tries") + 1, next_try_at=at + UNDER_WAY
                )
                mail.tries += 1
                return mail
            OutgoingMail.objects.filter(pk=mail.pk).update(state=State.LEFT)


def _has_left(mail: OutgoingMail) -> bool:
    """Whether the reader was disabled or deleted since the mail was queued: nothing is sent to them (product §11)."""
    if mail.to_user_id is None:
        return False
    has_left: bool = User.objects.filter(pk=mail.to_user_id).exclude(status=User.Status.ACTIVE).exists()
    return has_left


def _send(mail: OutgoingMail, connection: BaseEmailBackend, at: datetime) -> int:
    """How many went out. :raises _ServerAway: nobody takes mails, or nothing was said once this one was under way."""
    goes_out = False
    try:
        message = message_of(mail)
        message.extra_headers["Date"] = format_datetime(at)
        _reach(connection)
        goes_out = True
        connection.send_messages([message])
    except _ServerAway as away:
        _put_back(mail, away.error, at)
        raise
    except _FAILURES as error:
        if goes_out and _has_timed_out(error):
            log.error("Mail %s (%s) may have gone out: the mail server did not answer", mail.pk, mail.kind)
            with atomic():
                OutgoingMail.objects.filter(pk=mail.pk).update(last_error=NO_ANSWER)
            raise _ServerAway(error) from error
        _put_back(mail, error, at)
        connection.close()
        return 0
    except BaseException:
        # The worker is told to stop. What had not begun to go out is as if it had never been taken.
        if not goes_out:
            _leave(mail, at)
        raise
    with atomic():
        OutgoingMail.objects.filter(pk=mail.pk).update(sent_at=at, last_error="")
    return 1


def _reach(connection: BaseEmailBackend) -> None:
    """:raises _ServerAway: no connection that takes mails."""
    try:
        connection.open()
    except OSError as error:
        raise _ServerAway(error) from error


def _has_timed_out(error: BaseException) -> bool:
    """smtplib says of an answer that did not come in time that the server is gone, and why in the context."""
    return isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError)


def _leave(mail: OutgoingMail, at: datetime) -> None:
    with atomic():
        OutgoingMail.objects.filter(pk=mail.pk).update(
            state=State.QUEUED, tries=F("tries") - 1, next_try_at=at
        )


def _put_back(mail: OutgoingMail, error: Exception, at: datetime) -> None:
    is_dead = mail.tries >= MOST_TRIES
    if is_dead:
        log.error("Mail %s (%s) is given up after %s tries", mail.pk, mail.kind, mail.tries)
    with atomic():
        OutgoingMail.objects.filter(pk=mail.pk).update(
            state=State.DEAD if is_dead else State.QUEUED,
            next_try_at=at + wait_after(mail.tries),
            last_error=f"{type(error).__name__}: {error}"[:2000],
        )


def _open_connection() -> Any:
    """The configured backend; it opens at the first mail."""
    return _Lazily(get_connection())


class _Lazily:
    """Closes the backend at the end, without opening it at the start as the backend's own `with` does."""

    def __init__(self, backend: BaseEmailBackend) -> None:
        self.backend = backend

    def __enter__(self) -> BaseEmailBackend:
        return self.backend

    def __exit__(self, *_: object) -> None:
        self.backend.close()


def _message_id(mail: OutgoingMail) -> str:
    digest = hashlib.sha256(mail.event_key.encode()).hexdigest()[:32]
    return f"<{digest}@{urlsplit(settings.PUBLIC_URL).hostname}>"
