"""A partner's templates of purchase policies (product §12)."""

import uuid
from collections.abc import Collection, Sequence

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from directory.permissions import Capability
from policies.models import PolicyTemplate


def sees_templates(actors: Collection[Actor]) -> bool:
    """Whether somebody who is these for their customers sees the partner's templates: who reads a policy somewhere."""
    return any(actor.may(Capability.READ_POLICY) for actor in actors)


def changes_templates(actors: Collection[Actor]) -> bool:
    """Whether somebody who is these for their customers changes the partner's templates: who changes a policy somewhere."""
    return any(actor.may(Capability.CHANGE_POLICY) for actor in actors)


def templates_of(actor: Actor) -> Sequence[PolicyTemplate]:
    """The templates of the acting organization, by name. One query."""
    return list(PolicyTemplate.objects.visible_to(actor).order_by("name", "pk"))


def template_for(actor: Actor, key: uuid.UUID) -> PolicyTemplate:
    """:raises NotVisible: no such template of the acting organization. One query."""
    found: PolicyTemplate | None = PolicyTemplate.objects.visible_to(actor).filter(key=key).first()
    if found is None:
        raise NotVisible
    return found
