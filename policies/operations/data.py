"""Changing what a tenant allows to be done with its data (product §14; docs/data.md).

The audit trail is the history: one entry for each change, with what was said before and after.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.hooks import GroupEnding
from directory.models import Group
from directory.operations import audit
from directory.permissions import Capability
from policies import data_rule
from policies.models import DataPolicy
from policies.operations.policies import WHY_LENGTH, PolicyMoved, lock_policy

CODE = "policies.data_policy.changed"


class ServiceOff(Conflict):
    """The organization switched the product off, for the person or for everybody."""

    code = "service_off"
    message = _(
        "Your organization switched this product off, however it was bought. Nothing was changed."
        " A global admin can switch it on in the data policies."
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Of what something is said: `product_id` None: of every product; `group_id` None: of everybody."""

    product_id: int | None = None
    product_name: str = ""
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """What is said in one place; None: nothing of its own. `retention_days`: 7 to 3,650, of products alone."""

    service_on: bool | None = None
    external_sharing: bool | None = None
    retention_days: int | None = None
    creators: str | None = None

    @property
    def are_none(self) -> bool:
        return self == Values()


def values_in(row: DataPolicy | None) -> Values:
    """What a row says; nothing where there is none."""
    if row is None:
        return Values()
    return Values(row.service_on, row.external_sharing, row.retention_days, row.creators or None)


def set_data_policy(
    *, actor: Actor, place: Place, values: Values, at: datetime, seen: Values | None = None, why: str = ""
) -> bool:
    """Say in one place what holds; False where it was said before. All of `values` is set, None ends what was said.

    `seen`: what the page showed. Holds at once, for every channel. Locks the tenant's policy.

    :raises NotVisible, NotAllowed: the actor may not read, or not change, data policies; or there is no such group.
    :raises Malformed: a value that makes no sense, `field` names it. :raises PolicyMoved: another value than was seen.
    """
    why = why.replace("\x00", "").strip()
    _check(place, values, why)
    with tenant_atomic(actor):
        actor.require(
            Capability.CHANGE_DATA_POLICY, is_own=False, is_org=True, sees=Capability.READ_DATA_POLICY
        )
        lock_policy(actor)
        group = _group(actor, place)
        rows = DataPolicy.objects.visible_to(actor).filter(product_id=place.product_id, group=group)
        before = values_in(rows.first())
        if seen is not None and seen != before:
            raise PolicyMoved
        if before == values:
            return False
        if values.are_none:
            rows.delete()
        else:
            rows.update_or_create(
                tenant_id=actor.tenant_id,
                product_id=place.product_id,
                group=group,
                defaults=asdict(values)
                | {
                    "creators": values.creators or "",
                    "changed_at": at,
                    "changed_by_id": actor.user_id,
                    "changed_by": actor.label,
                },
            )
        audit.record(
            actor, CODE, at=at, **_facts(actor, place, group, before, values, {"why": why} if why else {})
        )
    return True


def end_data_exceptions(ending: GroupEnding) -> None:
    """Take away what was said of a group that is deleted. Registered on `directory.hooks.group_ending`."""
    actor, group = ending.actor, ending.group
    rows = list(DataPolicy.objects.filter(tenant_id=actor.tenant_id, group=group).order_by("id"))
    audit.record_all(
        [
            audit.entry(
                actor,
                CODE,
                at=ending.at,
                **_facts(actor, Place(row.product_id), group, values_in(row), Values(), {}),
            )
            for row in rows
        ]
    )
    DataPolicy.objects.filter(pk__in=[row.pk for row in rows]).delete()


def _check(place: Place, values: Values, why: str) -> None:
    days = values.retention_days
    if days is not None and not data_rule.SHORTEST_DAYS <= days <= data_rule.LONGEST_DAYS:
        raise Malformed(_("Enter a number of days from 7 to 3,650."), field="retention_days")
    if days is not None and place.group_id is not None:
        raise Malformed(
            _("How long data is kept is set for products, not for groups."), field="retention_days"
        )
    if values.creators is not None and values.creators not in data_rule.STRICTNESS:
        raise Malformed(_("That is no value of this policy."), field="creators")
    if len(why) > WHY_LENGTH:
        raise Malformed(_("The reason is longer than 500 characters."), field="why")


def _group(actor: Actor, place: Place) -> Group | None:
    if place.group_id is None:
        return None
    group: Group | None = Group.objects.visible_to(actor).filter(pk=place.group_id).first()
    if group is None:
        raise NotVisible
    return group


def _facts(
    actor: Actor, place: Place, group: Group | None, before: Values, after: Values, more: dict[str, Any]
) -> dict[str, Any]:
    """What the entry says. The label names the product, or the group, or both."""
    names = [name for name in (place.product_name, group.name if group else "") if name]
    said = [name for name in asdict(after) if getattr(before, name) != getattr(after, name)]
    return {
        "target_type": "data_policy",
        "target_id": place.product_id or actor.tenant_id,
        "target_label": ", ".join(names)[:200],
        "before": {name: getattr(before, name) for name in said},
        "after": {name: getattr(after, name) for name in said} | more,
    }
