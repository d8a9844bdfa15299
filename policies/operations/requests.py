"""Setting how a tenant takes requests for licenses (product §7.5)."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.operations import audit
from directory.permissions import Capability
from policies.models import TenantPolicy
from policies.queries.requests import RequestProcess, request_process

TEXT_LENGTH = 1000
_is_web_address = URLValidator(schemes=["https", "http"])


def set_request_process(*, actor: Actor, is_on: bool, text: str, url: str, at: datetime) -> RequestProcess:
    """Take requests here, or send people to the organization's own way by its words and link.

    Requests that are open stay, and are decided or lapse. What is so already is no change.

    :raises NotVisible, NotAllowed: not the actor's to see, or to change.
    :raises Malformed: the text is too long, the link is no web address, or the queue is off and nothing is said;
        `field` names which.
    """
    text, url = text.replace("\x00", "").strip(), url.strip()
    if len(text) > TEXT_LENGTH:
        raise Malformed(_("The text is longer than 1,000 characters."), field="text")
    if url:
        try:
            _is_web_address(url)
        except ValidationError as error:
            raise Malformed(_("That is no web address."), field="url") from error
    if not is_on and not text:
        raise Malformed(_("Say how people get a license, since they cannot ask here."), field="text")
    wanted = RequestProcess(is_on, text, url)
    with tenant_atomic(actor):
        actor.require(Capability.MANAGE_SETTINGS, is_own=False, is_org=True, sees=Capability.SEE_SETTINGS)
        before = request_process(actor=actor)
        if before == wanted:
            return wanted
        TenantPolicy.objects.visible_to(actor).update_or_create(
            tenant_id=actor.tenant_id,
            defaults={"requests_are_on": is_on, "requests_text": text, "requests_url": url},
        )
        audit.record(
            actor,
            "policies.request_process.changed",
            at=at,
            target_type="tenant",
            target_id=actor.tenant_id,
            before={"is_on": before.is_on, "text": before.text, "url": before.url},
            after={"is_on": is_on, "text": text, "url": url},
        )
    return wanted
