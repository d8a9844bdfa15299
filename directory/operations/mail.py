"""Queuing mails, in the transaction of what they tell about (product §15)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from directory.models import OutgoingMail, User


def queue_mail(
    kind: str, *, event_key: str, to: Iterable[User], tenant_id: int, context: dict[str, Any], at: datetime
) -> None:
    """Queue one mail of `kind` to each person, at most once per event and person (I: sent once).

    `context` holds plain JSON values only; `templates/mail/<kind>.{subject,body}.txt` and `.html` read it.
    People who left get none.
    """
    mails = [
        OutgoingMail(
            tenant_id=tenant_id,
            kind=kind,
            event_key=f"{kind}:{event_key}:{user.pk}",
            to_user_id=user.pk,
            to_address=user.email,
            language=user.language or "en",
            context=context,
            next_try_at=at,
            created_at=at,
        )
        for user in to
        if user.is_active and user.email
    ]
    OutgoingMail.objects.bulk_create(mails, ignore_conflicts=True)
