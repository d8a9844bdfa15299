"""Which mails a person wants, and when (product §3.5, §5.3, §15): a few kinds can be switched off, all others are
always sent. The portal's inbox has them all.

What a person must know to act in time is never off: money, access, the end of a term of a year, a price that rises.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core import signing
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import NotVisible, Text
from config.kit.tenancy import tenant_atomic
from directory.models import MailPreference, OutgoingMail, Tenant, User
from directory.operations.audit import record
from directory.permissions import Role

# Kind -> what it is, and when it comes. Nothing else can be switched off.
SWITCHABLE: dict[str, tuple[Text, Text]] = {
    "monthly_reminder": (
        _("Monthly renewals"),
        _("Three days before a monthly subscription of yours renews or ends"),
    ),
    "license_given": (_("Licenses that you get"), _("When somebody gives you a license of a product")),
    "license_taken": (_("Licenses that are taken back"), _("When somebody takes a license of yours back")),
    "trial_started": (_("A trial has started"), _("When you start a trial: what it is and when it ends")),
    "hand_over_decided": (
        _("Answers to what you offered"),
        _("When a colleague takes over a purchase that you offered, or declines it"),
    ),
    "purchase_notice": (
        _("Purchases by others"),
        _("For admins: when somebody in the organization buys by card"),
    ),
    "bill_due": (_("Bills that are due soon"), _("For admins: seven days before a bill on account is due")),
    "cancel_request_answered": (
        _("Answers to asking for a cancellation"),
        _("For admins: when a purchaser whom you asked to cancel does, or keeps the purchase"),
    ),
}
# Who gets a kind at all; one that is not here goes to whomever it is about.
_ROLES = {
    "purchase_notice": frozenset({Role.GLOBAL_ADMIN, Role.BILLING_ADMIN}),
    "cancel_request_answered": frozenset({Role.GLOBAL_ADMIN, Role.BILLING_ADMIN}),
    "bill_due": frozenset({Role.GLOBAL_ADMIN, Role.BILLING_ADMIN}),
}
# Of which one mail a day can be had in place of one at once, and the mail that lists them.
DIGESTS = {"purchase_notice": "purchase_digest"}
_LISTED_BY = {digest: kind for kind, digest in DIGESTS.items()}
_SALT = "directory.mail-preference"


class NoSuchLink(NotVisible):
    """A link that this installation did not make, or whose person or kind is gone."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom and which mails a link is about."""

    tenant_id: int
    user_id: int
    kind: str
    organization: str
    email: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whether a person wants the mails of a kind, and whether in one mail a day."""

    is_on: bool = True
    is_daily: bool = False


def kinds_for(actor: Actor) -> list[str]:
    """The kinds that the person gets and can switch off."""
    return [kind for kind in SWITCHABLE if kind not in _ROLES or actor.roles & _ROLES[kind]]


def preferences_of(actor: Actor) -> dict[str, Wanted]:
    """Every kind that the person can switch off, and how it is wanted. One query."""
    kinds = kinds_for(actor)
    if actor.user_id is None:
        return dict.fromkeys(kinds, Wanted())
    with tenant_atomic(actor):
        rows = MailPreference.objects.filter(tenant_id=actor.tenant_id, user_id=actor.user_id, kind__in=kinds)
        said = {row.kind: Wanted(row.is_on, row.is_daily) for row in rows}
    return {kind: said.get(kind, Wanted()) for kind in kinds}


def set_preferences(*, actor: Actor, wanted: Mapping[str, Wanted], at: datetime) -> list[str]:
    """Write how the person wants the kinds; those that changed. Others of `wanted` are left alone.

    Holds from now on: a mail that waits for a digest stays in it, and is left out where the kind is off by then.

    :raises NotVisible: whoever acts for a customer has no mails there.
    """
    if actor.is_partner or actor.user_id is None:
        raise NotVisible
    with tenant_atomic(actor):
        user = User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).first()
        if user is None:
            raise NotVisible
        before = preferences_of(actor)
        changed = [
            kind for kind in before if kind in wanted and _possible(kind, wanted[kind]) != before[kind]
        ]
        for kind in changed:
            _write(actor, user, kind, _possible(kind, wanted[kind]), before=before[kind], at=at)
    return changed


def _possible(kind: str, wanted: Wanted) -> Wanted:
    return wanted if kind in DIGESTS else Wanted(wanted.is_on)


def switch_off_link(mail: OutgoingMail) -> str:
    """The address that switches off this kind for this person; empty for a kind that is always sent."""
    kind = _LISTED_BY.get(mail.kind, mail.kind)
    if kind not in SWITCHABLE or mail.to_user_id is None:
        return ""
    token = signing.dumps([mail.tenant_id, mail.to_user_id, kind], salt=_SALT)
    return f"{settings.PUBLIC_URL}/my/notifications/off/{token}/"


def subject_of(token: str) -> Subject:
    """What a link is about; without signing in. :raises NoSuchLink: not one of ours, or of nobody any more."""
    try:
        tenant_id, user_id, kind = signing.loads(token, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise NoSuchLink from error
    if kind not in SWITCHABLE:
        raise NoSuchLink
    with tenant_atomic(tenant_id):
        user = User.objects.filter(pk=user_id, tenant_id=tenant_id).first()
        if user is None:
            raise NoSuchLink
        organization = Tenant.objects.values_list("name", flat=True).get(pk=tenant_id)
    return Subject(tenant_id, user_id, kind, organization, user.email)


def switch_off(*, token: str, at: datetime) -> Subject:
    """Switch off what a link is about; again is no change. :raises NoSuchLink: as `subject_of`."""
    subject = subject_of(token)
    with tenant_atomic(subject.tenant_id):
        user = User.objects.select_for_update(no_key=True).get(pk=subject.user_id)
        said = MailPreference.objects.filter(user=user, kind=subject.kind).first()
        before = Wanted(said.is_on, said.is_daily) if said is not None else Wanted()
        if before.is_on:
            actor = Actor.system(subject.tenant_id, label=user.name, door="web")
            _write(actor, user, subject.kind, Wanted(False, before.is_daily), before=before, at=at)
    return subject


def _write(actor: Actor, user: User, kind: str, wanted: Wanted, *, before: Wanted, at: datetime) -> None:
    MailPreference.objects.update_or_create(
        tenant_id=user.tenant_id,
        user=user,
        kind=kind,
        defaults={"is_on": wanted.is_on, "is_daily": wanted.is_daily, "changed_at": at},
    )
    record(
        actor,
        "directory.mail_preference.changed",
        at=at,
        target_type="user",
        target_id=user.pk,
        target_label=user.name,
        before=_facts(kind, before),
        after=_facts(kind, wanted),
    )


def _facts(kind: str, wanted: Wanted) -> dict[str, bool]:
    return {kind: wanted.is_on} | ({f"{kind}_daily": wanted.is_daily} if kind in DIGESTS else {})
