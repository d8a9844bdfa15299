"""Support cases that are conversations: opened, written in, solved, closed (product §14; docs/support.md).

Which support applies is decided by how the purchase was bought: through self-service it is the vendor's standard support,
always; under an agreement it may be one of the agreement's premier incidents, while there are any.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from commerce.attachments import LeftOut, Taken, sort_out
from commerce.incoming_mail import LONGEST_TEXT
from commerce.models import CaseFile, CaseMessage, PremierIncidents, Subscription, SupportCase
from commerce.operations.case_addresses import reply_address
from commerce.operations.mail_facts import billing_admins
from commerce.queries.details import purchase
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, constraint_of
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.operations.staff_deeds import acting_in, note_at_home, require_staff
from directory.permissions import Capability
from directory.staff import StaffCapability

State = SupportCase.State
# What one asks about by oneself; the other kind has a page of its own.
KINDS: Final = (SupportCase.Kind.QUESTION, SupportCase.Kind.BILLING)
# A conversation in which nobody wrote for so long is closed; until then a message opens it again.
QUIET: Final = timedelta(days=14)
LONGEST_SUBJECT: Final = 120
# What staff may say of a case with an answer.
AFTER_ANSWER: Final = (State.ANSWERED, State.WAITING, State.SOLVED)


class CaseOver(Conflict):
    """The case is closed, or of a kind in which nobody writes."""

    code = "case_over"
    message = _("This case is closed. Nothing was sent. Open a new case and name this one.")


class NoIncidentLeft(Conflict):
    """The agreement has no premier incident left."""

    code = "no_incident_left"
    message = _(
        "No premier incident is left under the agreement. Nothing was sent. Send it as standard support."
    )


class NotPremier(Conflict):
    """No premier incident was taken for it, or it was given back before."""

    code = "not_premier"
    message = _("No premier incident counts for this case. Nothing was changed.")


class MailTaken(Conflict):
    """The mail is in the case already."""

    code = "mail_taken"
    message = _("This mail was taken before.")


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody writes: text, files, and of a mail its id and what was not kept of it."""

    text: str
    files: Sequence[tuple[str, bytes]] = ()
    message_id: str = ""
    is_cut: bool = False

    @property
    def is_mail(self) -> bool:
        return bool(self.message_id)


def require_may_open(actor: Actor, subscription: Subscription) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to ask about."""
    actor.require(
        Capability.OPEN_CASES,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def require_may_write(actor: Actor, case: SupportCase) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to write in."""
    actor.require(
        Capability.OPEN_CASES,
        is_own=case.is_own_of(actor),
        is_org=case.is_organizations,
        sees=Capability.SEE_CASES,
    )


def premier_of(subscription: Subscription) -> PremierIncidents | None:
    """The premier incidents that a case about it may take, left or not; None: the standard support alone. One query."""
    if subscription.channel != Subscription.Channel.CENTRAL or subscription.agreement_id is None:
        return None
    row: PremierIncidents | None = PremierIncidents.objects.filter(
        agreement_id=subscription.agreement_id
    ).first()
    return row


def open_conversation(
    *,
    actor: Actor,
    key: uuid.UUID,
    kind: str,
    subject: str,
    written: Written,
    is_premier: bool,
    at: datetime,
) -> SupportCase:
    """Ask the vendor's support about a purchase. A premier incident is taken here, or the case is not opened.

    :raises NotVisible, NotAllowed: no such purchase for the actor, or not theirs to ask about.
    :raises NoIncidentLeft: of a premier case. :raises Malformed: the kind, subject, text or a file, or premier support
        for what was not bought under an agreement.
    """
    subject = " ".join(subject.replace("\0", "").split())
    if kind not in KINDS:
        raise Malformed(_("Choose what it is about."), field="kind")
    if not subject or len(subject) > LONGEST_SUBJECT:
        raise Malformed(_("Write a subject of up to 120 characters."), field="subject")
    files = _require_sound(written)
    with tenant_atomic(actor):
        subscription = purchase(actor, key)
        require_may_open(actor, subscription)
        case = SupportCase(
            tenant_id=actor.tenant_id,
            kind=kind,
            subscription=subscription,
            is_organizations=subscription.is_organizations,
            subject=subject,
            asked_at=at,
            asked_by_id=None if actor.is_partner else actor.user_id,
            asked_by=actor.label,
            moved_at=at,
        )
        if is_premier:
            case.agreement_id = _take_incident(subscription)
        case.save(force_insert=True)
        _keep(case, actor, written, files, [], is_staff=False, at=at)
        after = {"kind": kind, "subject": subject, "premier": is_premier}
        _record(actor, "commerce.case.opened", case, at, after=after)
    return case


def write_in(*, actor: Actor, key: uuid.UUID, written: Written, at: datetime) -> SupportCase:
    """A message of the customer; the case waits for support again, also when it was solved.

    Of a mail the files that cannot be kept are left out and named; on the page nothing is sent before they are right.

    :raises NotVisible, NotAllowed: no such case for the actor, or not theirs to write in.
    :raises CaseOver: it is closed. :raises Malformed: the text or a file. :raises MailTaken: the mail is there already.
    """
    taken, left_out = _sorted_out(written) if written.is_mail else (_require_sound(written), [])
    with tenant_atomic(actor):
        case = _locked(actor, key)
        require_may_write(actor, case)
        if case.is_over:
            raise CaseOver
        before = case.state
        _keep(case, actor, written, taken, left_out, is_staff=False, at=at)
        case.state, case.moved_at = State.OPEN, at
        case.save(update_fields=["state", "moved_at"])
        code = "commerce.case.reopened" if before == State.SOLVED else "commerce.case.written_in"
        _record(actor, code, case, at, before={"state": before}, after={"state": case.state})
    return case


def solve(*, actor: Actor, key: uuid.UUID, at: datetime) -> SupportCase:
    """The customer says that it is solved. Solved already: nothing changes.

    :raises NotVisible, NotAllowed: no such case for the actor, or not theirs. :raises CaseOver: it is closed.
    """
    with tenant_atomic(actor):
        case = _locked(actor, key)
        require_may_write(actor, case)
        if case.is_over:
            raise CaseOver
        if case.state != State.SOLVED:
            _record(
                actor,
                "commerce.case.solved",
                case,
                at,
                before={"state": case.state},
                after={"state": State.SOLVED.value},
            )
            case.state, case.moved_at = State.SOLVED, at
            case.save(update_fields=["state", "moved_at"])
    return case


# --- The vendor's staff -------------------------------------------------------------------------------------------


def answer_case(
    *, case: SupportCase, staff: Actor, written: Written, state: str, at: datetime
) -> SupportCase:
    """A message of the vendor's staff, by mail to who asked; `state` says what is expected then.

    Who asked and is not here any more: the organization's billing and global admins, where the case is the organization's.

    :raises NotVisible: not of the staff. :raises CaseOver: it is closed. :raises Malformed: the text, a file or the state.
    """
    if state not in AFTER_ANSWER:
        raise Malformed(_("Choose what comes next."), field="state")
    files = _require_sound(written)
    actor = _support(staff, case)
    with tenant_atomic(actor):
        row = _locked_for_staff(case)
        before = row.state
        message = _keep(row, actor, written, files, [], is_staff=True, at=at)
        row.state, row.moved_at = state, at
        row.answered_at, row.answered_by_id, row.answered_by = at, actor.user_id, actor.label
        row.save(update_fields=["state", "moved_at", "answered_at", "answered_by_id", "answered_by"])
        _note(
            actor,
            staff,
            "commerce.case.answered",
            row,
            at,
            before={"state": before},
            after={"state": state, "answer": message.text[:1000]},
        )
        _tell(row, message, at)
    return row


def assign_case(*, case: SupportCase, staff: Actor, is_mine: bool, at: datetime) -> SupportCase:
    """The staff member takes the case on, from a colleague too, or gives it up. So already: nothing changes.

    :raises NotVisible: not of the staff. :raises CaseOver: it is closed.
    """
    actor = _support(staff, case)
    with tenant_atomic(actor):
        row = _locked_for_staff(case)
        wanted = (staff.user_id, staff.label) if is_mine else (None, "")
        if (row.assigned_to_id, row.assigned_to) != wanted:
            before = {"assigned_to": row.assigned_to}
            row.assigned_to_id, row.assigned_to = wanted
            row.save(update_fields=["assigned_to_id", "assigned_to"])
            after = {"assigned_to": row.assigned_to}
            _note(actor, staff, "commerce.case.assigned", row, at, before=before, after=after)
    return row


def give_incident_back(*, case: SupportCase, staff: Actor, reason: str, at: datetime) -> SupportCase:
    """The case was the vendor's own fault: its premier incident counts no more, once, also after it is closed.

    :raises NotVisible: not of the staff. :raises NotPremier: it took none, or it was given back.
    :raises Malformed: no reason, or over 500 characters.
    """
    reason = reason.replace("\0", "").strip()
    if not reason or len(reason) > 500:
        raise Malformed(_("Say in up to 500 characters what the vendor's fault was."), field="reason")
    actor = _support(staff, case)
    with tenant_atomic(actor):
        row = _locked_for_staff(case, also_closed=True)
        if row.agreement_id is None or row.given_back_at is not None:
            raise NotPremier
        row.given_back_at = at
        row.save(update_fields=["given_back_at"])
        rows = PremierIncidents.objects.filter(agreement_id=row.agreement_id, used__gt=0)
        rows.update(used=F("used") - 1)
        _note(actor, staff, "commerce.case.incident_given_back", row, at, after={"reason": reason})
    return row


# --- The sweep ----------------------------------------------------------------------------------------------------

_CLOSE_QUIET = """
WITH quiet AS (
    UPDATE commerce_supportcase c SET state = 'closed', moved_at = %(at)s
     WHERE c.id IN (SELECT id FROM commerce_supportcase
                     WHERE state IN ('waiting', 'answered', 'solved') AND moved_at <= %(before)s
                     ORDER BY moved_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING c.tenant_id, c.key, c.subject
)
INSERT INTO directory_auditentry
       (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
        target_type, target_id, target_label, before, after)
SELECT tenant_id, %(at)s, 'commerce.case.closed', NULL, tenant_id, %(label)s, '', 'job', '',
       'case', key::text, subject, NULL::jsonb, '{"state": "closed"}'::jsonb
  FROM quiet
"""


def close_quiet_cases(*, at: datetime, limit: int = 1000) -> int:
    """Close conversations in which nobody has written for 14 days and that do not wait for support; how many.

    One statement, any number side by side. Under the worker's login.
    """
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        facts: dict[str, Any] = {
            "at": at,
            "before": at - QUIET,
            "limit": limit,
            "label": Actor.system(0).label,
        }
        cursor.execute(_CLOSE_QUIET, facts)
        return int(cursor.rowcount)


# --- Rows ---------------------------------------------------------------------------------------------------------


def _locked(actor: Actor, key: uuid.UUID) -> SupportCase:
    """The case that the actor sees, locked. :raises NotVisible: there is none."""
    rows = SupportCase.objects.visible_to(actor).filter(key=key)
    row: SupportCase | None = rows.select_for_update(of=("self",)).first()
    if row is None:
        raise NotVisible
    return row


def _locked_for_staff(case: SupportCase, *, also_closed: bool = False) -> SupportCase:
    """Inside the organization's transaction. :raises CaseOver: closed, or no conversation."""
    row: SupportCase = (
        SupportCase.objects.select_for_update(of=("self",))
        .select_related("tenant", "subscription__product", "subscription__vendor_entity")
        .get(pk=case.pk)
    )
    if not row.is_conversation or (row.is_over and not also_closed):
        raise CaseOver
    return row


def _support(staff: Actor, case: SupportCase) -> Actor:
    """The vendor's staff in the case that the organization opened, without a right over anything else."""
    require_staff(staff, StaffCapability.OPERATE_CASES)
    return acting_in(staff, case.tenant_id)


def _take_incident(subscription: Subscription) -> int:
    """One premier incident of its agreement, whose row is locked from then on; the agreement's id."""
    premier = premier_of(subscription)
    if premier is None:
        raise Malformed(
            _("Premier support is for what was bought under an agreement that has it."), field="support"
        )
    taken = PremierIncidents.objects.filter(pk=premier.pk, used__lt=F("granted")).update(used=F("used") + 1)
    if not taken:
        raise NoIncidentLeft
    return int(premier.agreement_id)


def _sorted_out(written: Written) -> tuple[Sequence[Taken], Sequence[LeftOut]]:
    if not written.text.strip() and not written.files:
        raise Malformed(_("Write what it is about."), field="text")
    return sort_out(written.files)


def _require_sound(written: Written) -> Sequence[Taken]:
    """The files as they are kept. :raises Malformed: no text, too much of it, or a file that is not taken."""
    text = written.text.strip()
    if not text:
        raise Malformed(_("Write what it is about."), field="text")
    if len(text) > LONGEST_TEXT or "\0" in text:
        raise Malformed(_("Write up to 20,000 characters."), field="text")
    taken, left_out = sort_out(written.files)
    if left_out:
        raise FileRefused(left_out[0])
    return taken


class FileRefused(Malformed):
    """A file that is not taken; the page says which and why."""

    code = "file_refused"

    def __init__(self, left_out: LeftOut) -> None:
        self.left_out = left_out
        super().__init__(_("A file cannot be sent. Nothing was sent."), field="files")


def _keep(
    case: SupportCase,
    actor: Actor,
    written: Written,
    files: Sequence[Taken],
    left_out: Sequence[LeftOut],
    *,
    is_staff: bool,
    at: datetime,
) -> CaseMessage:
    message = CaseMessage(
        tenant_id=case.tenant_id,
        case=case,
        at=at,
        is_staff=is_staff,
        author_id=None if actor.is_partner else actor.user_id,
        author=actor.label,
        text=written.text.strip(),
        is_mail=written.is_mail,
        message_id=written.message_id,
        left_out=[{"name": each.name, "why": each.why.value} for each in left_out]
        + ([{"name": "", "why": "text_cut"}] if written.is_cut else []),
    )
    try:
        with atomic():
            message.save(force_insert=True)
    except IntegrityError as error:
        if constraint_of(error) == "commerce_casemessage_mail_once":
            raise MailTaken from error
        raise
    CaseFile.objects.bulk_create(
        CaseFile(
            tenant_id=case.tenant_id,
            message=message,
            name=file.name,
            media_type=file.media_type,
            size=len(file.content),
            content=file.content,
        )
        for file in files
    )
    return message


def _readers(case: SupportCase) -> list[User]:
    """Who asked; where they are not here, and it is the organization's, its billing and global admins."""
    asked = User.objects.active().filter(tenant_id=case.tenant_id, pk=case.asked_by_id or 0)
    found = list(asked)
    return found if found or not case.is_organizations else billing_admins(case.tenant_id)


def _tell(case: SupportCase, message: CaseMessage, at: datetime) -> None:
    subscription = case.subscription
    queue_mail(
        "case_replied",
        event_key=str(message.pk),
        to=_readers(case),
        tenant_id=case.tenant_id,
        context={
            "organization": case.tenant.name,
            "vendor": subscription.vendor_entity.name,
            "product": subscription.product.name,
            "subject": case.subject,
            "text": message.text,
            "files": [row.name for row in message.files.order_by("id").only("name")],
            "state": case.state,
            "closes_at": (at + QUIET).isoformat(),
            "time_zone": subscription.time_zone,
            "reply_to": reply_address(case.key),
            "link": case_link(case),
        },
        at=at,
    )


def case_link(case: SupportCase) -> str:
    """The case's page in the admin center. The path, as `mail_facts.purchase_link`."""
    return f"{settings.PUBLIC_URL}/admin/support/{case.key}/"


def _record(actor: Actor, code: str, case: SupportCase, at: datetime, **facts: Any) -> None:
    audit.record(
        actor, code, at=at, target_type="case", target_id=case.key, target_label=case.subject, **facts
    )


def _note(actor: Actor, staff: Actor, code: str, case: SupportCase, at: datetime, **facts: Any) -> None:
    """In the organization's trail and in the vendor's."""
    _record(actor, code, case, at, **facts)
    note_at_home(
        staff,
        code,
        organization=case.tenant_id,
        at=at,
        target_type="case",
        target_id=case.key,
        target_label=case.subject,
        **facts,
    )
