"""Which mails a person wants (product §5.3, §15): a few kinds can be switched off, all others are always sent.

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

# Kind -> what it is, and when it comes. Nothing else can be switched off.
SWITCHABLE: dict[str, tuple[Text, Text]] = {
    "monthly_reminder": (
        _("Monthly renewals"),
        _("Three days before a monthly subscription of yours renews or ends"),
    ),
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
}
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


def preferences_of(actor: Actor) -> dict[str, bool]:
    """Every kind that can be switched off, and whether the person gets it. One query."""
    if actor.user_id is None:
        return dict.fromkeys(SWITCHABLE, True)
    with tenant_atomic(actor):
        off = set(
            MailPreference.objects.filter(
                tenant_id=actor.tenant_id, user_id=actor.user_id, is_on=False
            ).values_list("kind", flat=True)
        )
    return {kind: kind not in off for kind in SWITCHABLE}


def set_preferences(*, actor: Actor, wanted: Mapping[str, bool], at: datetime) -> list[str]:
    """Write which of the kinds the person wants; the kinds that changed. Others of `wanted` are left alone.

    :raises NotVisible: whoever acts for a customer has no mails there.
    """
    if actor.is_partner or actor.user_id is None:
        raise NotVisible
    with tenant_atomic(actor):
        user = User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).first()
        if user is None:
            raise NotVisible
        before = preferences_of(actor)
        changed = [kind for kind in SWITCHABLE if kind in wanted and wanted[kind] != before[kind]]
        for kind in changed:
            _write(actor, user, kind, is_on=wanted[kind], at=at)
    return changed


def switch_off_link(mail: OutgoingMail) -> str:
    """The address that switches off this kind for this person; empty for a kind that is always sent."""
    if mail.kind not in SWITCHABLE or mail.to_user_id is None:
        return ""
    token = signing.dumps([mail.tenant_id, mail.to_user_id, mail.kind], salt=_SALT)
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
        is_off = MailPreference.objects.filter(user=user, kind=subject.kind, is_on=False).exists()
        if not is_off:
            actor = Actor.system(subject.tenant_id, label=user.name, door="web")
            _write(actor, user, subject.kind, is_on=False, at=at)
    return subject


def _write(actor: Actor, user: User, kind: str, *, is_on: bool, at: datetime) -> None:
    MailPreference.objects.update_or_create(
        tenant_id=user.tenant_id, user=user, kind=kind, defaults={"is_on": is_on, "changed_at": at}
    )
    record(
        actor,
        "directory.mail_preference.changed",
        at=at,
        target_type="user",
        target_id=user.pk,
        target_label=user.name,
        before={kind: not is_on},
        after={kind: is_on},
    )
