"""Answers to support cases that come by mail (product §14; RFC 3834; docs/adr/0044).

A mail is taken when it was sent to the signed address of a case by somebody who may write in that case, and by a person.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from commerce.incoming_mail import Mail, Unreadable, read_mail
from commerce.models import CaseMessage, Subscription, SupportCase
from commerce.operations.case_addresses import case_of_address
from commerce.operations.case_talk import CaseOver, MailTaken, Written, case_link, require_may_write, write_in
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.actors import build_actor
from directory.models import User
from directory.operations.mail import queue_mail

log = logging.getLogger(__name__)

# So many mails a case takes in an hour: two programs that answer each other stop there.
MOST_AN_HOUR: Final = 20


class Outcome(StrEnum):
    """What became of a mail."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    AUTOMATIC = "automatic"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NO_CASE = "no_case"
    NOT_ALLOWED = "not_allowed"
    CLOSED = "closed"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a mail, and of which case it was, where that is known."""

    outcome: Outcome
    case: uuid.UUID | None = None


def receive_reply(raw: bytes, *, at: datetime, recipients: Sequence[str] = ()) -> Received:
    """Take a mail into the case that it was sent to; `recipients` are those that the mail server names besides.

    Whatever the mail is, it raises nothing of its own. Who may write and wrote too late is told so, once. Under the
    worker's login the case is found, under the app's in the organization it is written.
    """
    received = _receive(raw, at, recipients)
    log.info("A mail to support: %s, case %s", received.outcome.value, received.case or "unknown")
    return received


def _receive(raw: bytes, at: datetime, recipients: Sequence[str]) -> Received:
    try:
        mail = read_mail(raw)
    except Unreadable:
        return Received(Outcome.UNREADABLE)
    if mail.is_automatic:
        return Received(Outcome.AUTOMATIC)
    named = (case_of_address(each) for each in (*recipients, *mail.recipients))
    key = next((each for each in named if each is not None), None)
    case = _case_of(key)
    if case is None:
        return Received(Outcome.NO_CASE)
    with tenant_atomic(case.tenant_id):
        actor = _writer(case, mail.sender, at)
        is_known = CaseMessage.objects.filter(case=case, message_id=mail.message_id).exists()
        lately = CaseMessage.objects.filter(case=case, is_mail=True, at__gt=at - timedelta(hours=1)).count()
    if actor is None:
        return Received(Outcome.NOT_ALLOWED, case.key)
    if is_known:
        return Received(Outcome.DUPLICATE, case.key)
    if lately >= MOST_AN_HOUR:
        return Received(Outcome.TOO_MANY, case.key)
    return Received(_take(actor, case, mail, at), case.key)


def _take(actor: Actor, case: SupportCase, mail: Mail, at: datetime) -> Outcome:
    written = Written(mail.text, mail.files, message_id=mail.message_id, is_cut=mail.is_cut)
    try:
        write_in(actor=actor, key=case.key, written=written, at=at)
    except MailTaken:
        return Outcome.DUPLICATE
    except Malformed:
        return Outcome.EMPTY
    except CaseOver:
        _tell_too_late(actor, case, at)
        return Outcome.CLOSED
    return Outcome.TAKEN


def _case_of(key: uuid.UUID | None) -> SupportCase | None:
    if key is None:
        return None
    with use_login("worker"):
        case: SupportCase | None = SupportCase.objects.filter(key=key).first()
    return case


def _writer(case: SupportCase, sender: str, at: datetime) -> Actor | None:
    """Who of the organization wrote it and may; who asked comes first. None: nobody with that address may."""
    if not sender:
        return None
    people = User.objects.active().filter(tenant_id=case.tenant_id, email__iexact=sender).order_by("id")
    for person in sorted(people[:20], key=lambda person: person.pk != case.asked_by_id):
        actor = build_actor(person, acting_tenant_id=case.tenant_id, at=at, door="mail")
        if actor is None:
            continue
        try:
            require_may_write(actor, case)
        except (NotVisible, NotAllowed):
            continue
        return actor
    return None


def _tell_too_late(actor: Actor, case: SupportCase, at: datetime) -> None:
    """The case is closed: nothing that somebody wrote disappears without a word. Once a day."""
    with tenant_atomic(case.tenant_id):
        subscription = Subscription.objects.select_related("product", "vendor_entity", "tenant").get(
            pk=case.subscription_id
        )
        queue_mail(
            "case_closed",
            event_key=f"{case.key}:{at.date()}",
            to=User.objects.filter(pk=actor.user_id),
            tenant_id=case.tenant_id,
            context={
                "organization": subscription.tenant.name,
                "vendor": subscription.vendor_entity.name,
                "product": subscription.product.name,
                "subject": case.subject,
                "link": case_link(case),
            },
            at=at,
        )
