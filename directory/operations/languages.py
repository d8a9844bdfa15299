"""Who is answered in which language (product §18): the choice of a person, the default of an organization."""

from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.languages import is_known
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.audit import record
from directory.operations.people import require_may_manage, target_of
from directory.permissions import Capability


class UnknownLanguage(Malformed):
    """The portal does not speak it."""

    code = "unknown_language"

    def __init__(self) -> None:
        super().__init__(_("Choose one of the languages."), field="language")


def choose_language(*, actor: Actor, language: str, at: datetime) -> bool:
    """In which language the person reads pages and mails from now on; empty: no choice. Whether that changed anything.

    The own account's, whoever the person acts for. Holds for mails that are queued from now on.

    :raises UnknownLanguage: as named. :raises NotVisible: the account is gone.
    """
    if language and not is_known(language):
        raise UnknownLanguage
    with tenant_atomic(actor.home_tenant_id):
        user = User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).first()
        if user is None:
            raise NotVisible
        if user.chosen_language == language:
            return False
        User.objects.filter(pk=user.pk).update(chosen_language=language)
        record(
            replace(actor, tenant_id=actor.home_tenant_id, relationship_label=""),
            "directory.user.language_chosen",
            at=at,
            **target_of(user),
            before={"language": user.chosen_language},
            after={"language": language},
        )
    return True


def set_default_language(*, actor: Actor, language: str, at: datetime) -> bool:
    """The language of mails and pages for whoever of the organization has no other. Whether that changed anything.

    :raises NotVisible, NotAllowed: not the actor's to set. :raises UnknownLanguage: as named.
    """
    with tenant_atomic(actor):
        require_may_manage(actor, Capability.MANAGE_SETTINGS, sees=Capability.SEE_SETTINGS)
        if not is_known(language):
            raise UnknownLanguage
        tenant: Tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        if tenant.language == language:
            return False
        Tenant.objects.filter(pk=tenant.pk).update(language=language)
        record(
            actor,
            "directory.tenant.language_changed",
            at=at,
            target_type="tenant",
            target_id=tenant.key,
            target_label=tenant.name,
            before={"language": tenant.language},
            after={"language": language},
        )
    return True


def language_of(mail: OutgoingMail) -> str:
    """In which language a mail goes out: the reader's own, else the default of the organization."""
    if is_known(mail.language):
        return mail.language
    with tenant_atomic(mail.tenant_id):
        return str(Tenant.objects.values_list("language", flat=True).get(pk=mail.tenant_id))
