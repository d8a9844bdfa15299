"""What every template knows about the person: the actor, for whom they act, their other accounts and unread notices."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from config.kit.actors import Actor
from config.kit.tenancy import connection, tenant_atomic
from directory.models import RoleAssignment
from directory.operations.inbox import MOST_COUNTED, unread_count
from directory.sessions import ACCOUNTS, confirm_url

_ROLE_NAMES = dict(RoleAssignment.Name.choices)


def actor(request: HttpRequest) -> dict[str, Any]:
    """No query: the other accounts are those that sign-in found, and switching looks again; notices are counted where
    a page draws the bell, which no fragment does."""
    person: Actor | None = getattr(request, "actor", None)
    if person is None:
        return {"actor": None, "acting_tenant": None}
    return {
        "actor": person,
        "has_stopped_acting": getattr(request, "has_stopped_acting", False),
        "lacks_second_factor": getattr(request, "lacks_second_factor", ""),
        "sign_in_again": confirm_url("/"),
        "acting_tenant": getattr(request, "tenant", None),
        "acting_roles": [str(_ROLE_NAMES[role]).lower() for role in sorted(person.roles)],
        "other_accounts": [
            {"user_id": user_id, "tenant": name, "is_guest": kind == "guest"}
            for _tenant_id, user_id, name, kind in request.session.get(ACCOUNTS, [])
        ],
        "unread_notices": _unread_of(person),
    }


def _unread_of(person: Actor) -> Callable[[], str]:
    """The number at the bell, counted when the template asks; empty where there is none."""

    def count() -> str:
        if person.is_partner:
            return ""
        if connection().in_atomic_block:
            found = unread_count(person)
        else:
            with tenant_atomic(person):
                found = unread_count(person)
        return f"{MOST_COUNTED}+" if found > MOST_COUNTED else str(found or "")

    return count
