"""What every template knows about the person: the actor, and for whom they act."""

from typing import Any

from django.http import HttpRequest


def actor(request: HttpRequest) -> dict[str, Any]:
    return {"actor": getattr(request, "actor", None), "acting_tenant": getattr(request, "tenant", None)}
