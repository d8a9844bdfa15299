"""One identity provider in the place of another: whose account goes on, and whose sessions end (I-23)."""

from datetime import datetime
from typing import Any

from django.db.models.functions import Now

from config.kit.actors import Actor
from config.kit.tenancy import connection
from directory.models import BrowserSession, IdentityProvider, User
from directory.operations.providers import active_provider, record_provider
from directory.operations.sign_in_notices import tell_sign_in_changed

# Who comes along: members with a link to the one that comes, whose subject there is nobody else's account.
_MOVES = """
      FROM directory_accountlink l
      JOIN directory_user u ON u.id = l.user_id
     WHERE l.tenant_id = %(tenant)s AND l.provider_id = %(new)s AND l.subject <> ''
       AND u.tenant_id = %(tenant)s AND u.issuer = %(old_issuer)s AND u.subject <> '' AND u.status <> 'deleted'
       AND NOT EXISTS (SELECT FROM directory_user o
                        WHERE o.tenant_id = %(tenant)s AND o.issuer = %(new_issuer)s AND o.subject = l.subject
                          AND o.id <> u.id)
"""
# As whom they were known until now, for the way back.
_KEEP = f"""
    INSERT INTO directory_accountlink (tenant_id, provider_id, user_id, subject, said)
    SELECT u.tenant_id, %(old)s, u.id, u.subject, '{{}}'::jsonb
    {_MOVES}
    ON CONFLICT (provider_id, user_id)
    DO UPDATE SET subject = EXCLUDED.subject, said = EXCLUDED.said, proved_at = NULL
"""
_MOVE = f"""
    UPDATE directory_user m SET issuer = %(new_issuer)s, subject = w.subject
      FROM (SELECT u.id, l.subject {_MOVES}) w
     WHERE m.id = w.id
"""  # noqa: S608
_USED = "DELETE FROM directory_accountlink WHERE tenant_id = %(tenant)s AND provider_id = %(new)s"


def switch(actor: Actor, provider: IdentityProvider, at: datetime, *, moves_people: bool) -> None:
    """Put a configuration in force; inside the transaction that locked the organization.

    `moves_people`: others vouch for people than until now, or under other subjects. Then the accounts with a link go on
    under it, and every session ends; nobody else is matched here.
    """
    active = active_provider(actor)
    moved = 0
    if active is not None:
        active.is_active, active.ended_at, active.has_moved_people = False, at, moves_people
        active.save(update_fields=["is_active", "ended_at", "has_moved_people"])
        moved = _move_people(active, provider) if moves_people else 0
    _clear_plan(provider)
    provider.is_active, provider.ended_at, provider.has_moved_people = True, None, False
    provider.save()
    if moves_people:
        end_all_sessions(actor, at)
    record_provider(
        actor,
        "configured",
        provider,
        at,
        before={"issuer": active.issuer, "client_id": active.client_id} if active else None,
        after={"issuer": provider.issuer, "client_id": provider.client_id, "accounts_that_went_along": moved},
    )
    what = "provider_switched" if moves_people else "provider_client"
    tell_sign_in_changed(
        actor=actor, what=what, subject=provider.issuer, at=at, page="portal:identity-provider"
    )


def end_all_sessions(actor: Actor, at: datetime) -> None:
    """Everybody of the organization signs in again."""
    User.objects.filter(tenant_id=actor.tenant_id).update(sessions_valid_from=at)
    BrowserSession.objects.open().filter(tenant_id=actor.tenant_id).update(ended_at=Now())


def _move_people(old: IdentityProvider, new: IdentityProvider) -> int:
    facts: dict[str, Any] = {
        "tenant": old.tenant_id,
        "old": old.pk,
        "new": new.pk,
        "old_issuer": old.issuer,
        "new_issuer": new.issuer,
    }
    with connection().cursor() as cursor:
        cursor.execute(_KEEP, facts)
        cursor.execute(_MOVE, facts)
        moved: int = cursor.rowcount
        cursor.execute(_USED, facts)
    return moved


def _clear_plan(provider: IdentityProvider) -> None:
    provider.planned_at = provider.switch_at = provider.held_up_since = None
    provider.planned_by_id = provider.confirmed_by_id = None
    provider.planned_by = provider.confirmed_by = ""
