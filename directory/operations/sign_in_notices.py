"""Telling the global admins that how people sign in has changed (product §15)."""

from datetime import datetime
from zlib import crc32

from django.conf import settings
from django.urls import reverse

from config.kit.actors import Actor
from directory.models import Tenant, User
from directory.operations.mail import queue_mail
from directory.permissions import Role


def tell_sign_in_changed(
    *, actor: Actor, what: str, subject: str, at: datetime, page: str = "portal:domains", **facts: object
) -> None:
    """Inside the transaction of the change: every active global admin, also who did it.

    `what` names a line of `mail/sign_in_changed`, `subject` the domain or issuer that it is about.
    """
    admins = User.objects.active().filter(tenant_id=actor.tenant_id, role_assignments__role=Role.GLOBAL_ADMIN)
    tenant = Tenant.objects.get(pk=actor.tenant_id)
    queue_mail(
        "sign_in_changed",
        event_key=f"{what}:{crc32(subject.encode()):08x}:{at.isoformat()}",
        to=admins,
        tenant_id=actor.tenant_id,
        context={
            "what": what,
            "subject": subject,
            "by": actor.label,
            "is_by_itself": actor.is_system and actor.door == "job",
            "organization": tenant.name,
            "time_zone": tenant.time_zone,
            "link": f"{settings.PUBLIC_URL}{reverse(page)}",
            **facts,
        },
        at=at,
    )
