"""Taking idle licenses back, many at once, after somebody has looked at them (product §7.6)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed
from config.kit.tenancy import tenant_atomic
from licensing.operations.assignments import BATCH_LIMIT, TooMany, unassign_licenses
from licensing.queries.holders import may_assign
from licensing.queries.idle import idle_licenses


def reclaim_idle(*, actor: Actor, assignment_ids: Sequence[int], days: int, at: datetime) -> int:
    """Take up to 1,000 licenses back that are still idle for so many days; how many.

    Who has used one since the list was shown keeps it. One statement for each subscription, in the order of their ids.

    :raises NotAllowed: one of them is visible, and not the actor's to take back.
    :raises TooMany, Malformed: more than 1,000, or none.
    """
    if len(assignment_ids) > BATCH_LIMIT:
        raise TooMany
    if not assignment_ids:
        raise Malformed(_("Choose at least one license. Nothing was changed."), field="license")
    done = 0
    with tenant_atomic(actor):
        rows = idle_licenses(actor, days=days, at=at).filter(pk__in=assignment_ids)
        found = list(rows.select_related("subscription").order_by("subscription_id", "id"))
        if not all(may_assign(actor, row.subscription) for row in found):
            raise NotAllowed
        people: dict[UUID, list[int]] = {}
        for row in found:
            people.setdefault(row.subscription.key, []).append(row.user_id)
        for key, user_ids in people.items():
            done += unassign_licenses(actor=actor, subscription_key=key, user_ids=user_ids, at=at).done
    return done
