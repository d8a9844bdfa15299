"""What every template knows about the person: the actor, for whom they act, and their other accounts."""

from typing import Any

from django.http import HttpRequest

from config.kit.actors import Actor
from directory.models import RoleAssignment
from directory.sign_in import ACCOUNTS

_ROLE_NAMES = dict(RoleAssignment.Name.choices)


def actor(request: HttpRequest) -> dict[str, Any]:
    """No query: the other accounts are those that sign-in found, and switching looks again."""
    person: Actor | None = getattr(request, "actor", None)
    if person is None:
        return {"actor": None, "acting_tenant": None}
    return {
        "actor": person,
        "acting_tenant": getattr(request, "tenant", None),
        "acting_roles": [str(_ROLE_NAMES[role]).lower() for role in sorted(person.roles)],
        "other_accounts": [
            {"user_id": user_id, "tenant": name, "is_guest": kind == "guest"}
            for _tenant_id, user_id, name, kind in request.session.get(ACCOUNTS, [])
        ],
    }
