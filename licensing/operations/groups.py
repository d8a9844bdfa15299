"""Licenses by group: its members get seats, and who leaves it loses the seat that came from it (docs/bulk.md, ADR 26).

The transaction that changes a group only leaves a note (`GroupTouch`) and rings: it holds the person's row, which
whoever assigns a license waits for. A worker follows at once, under the subscription's lock, which comes before all
others. Seats that come free later are found by a sweep each minute, of groups known to be short of them; another each
hour looks at everybody.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.doorbell import ring_after_commit
from config.kit.errors import Conflict, NotVisible, constraint_of
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, login_alias, tenant_atomic, use_login
from directory.hooks import GroupRenamed, MembershipChange
from directory.models import Group, GroupMembership
from directory.operations import audit
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import GroupExclusion, GroupLicense, GroupTouch
from licensing.operations.assignments import (
    BATCH_LIMIT,
    NotAssignable,
    end_by_group,
    give_by_group,
    move_to_group,
    serve_waiting,
)
from licensing.queries.groups import candidates, leavers, licenses_behind, licenses_short
from licensing.queries.holders import subscription_for

TASK = "licensing.follow_groups"
_ONE_LIVE = "licensing_grouplicense_one_live"
_TOUCHES = 500


class GroupHasIt(Conflict):
    code = "group_has_it"
    message = gettext_lazy("This group has licenses from here already. Nothing was changed.")


class GroupUnknown(NotVisible):
    """No such group in this organization."""

    code = "group_unknown"


def assign_group(
    *, actor: Actor, subscription_key: uuid.UUID, group_key: uuid.UUID, at: datetime
) -> GroupLicense:
    """Give the members of a group licenses of a subscription, now and as they come.

    Up to 1,000 in this transaction, the rest by the worker it rings. Who has the product already keeps that; where
    there are more members than seats, the others get one as soon as one is free. In the order in which they joined.

    :raises NotVisible: no such subscription for the actor; no such group. :raises NotAllowed: not theirs to assign.
    :raises NotAssignable: neither Active nor Expired. :raises GroupHasIt: it was assigned before.
    """
    with tenant_atomic(actor):
        found = subscription_for(actor, subscription_key, to_see=Capability.SEE_LICENSES, to_assign=True)
        subscription = _lock(found.pk)
        if subscription.state not in GIVES_ACCESS:
            raise NotAssignable
        group: Group | None = Group.objects.filter(tenant_id=actor.tenant_id, key=group_key).first()
        if group is None:
            raise GroupUnknown
        try:
            with atomic():
                license = GroupLicense.objects.create(
                    tenant_id=actor.tenant_id,
                    subscription=subscription,
                    group=group,
                    group_name=group.name,
                    assigned_at=at,
                    assigned_by_id=actor.user_id,
                    assigned_by=actor.label[:200],
                )
        except IntegrityError as error:
            if constraint_of(error) != _ONE_LIVE:
                raise
            raise GroupHasIt from error
        _record(actor, subscription, "licensing.group.assigned", at, after=_facts(license))
        if follow(license.pk, actor.tenant_id, at=at):
            _touch(actor.tenant_id, group.pk)
    return license


def follow_name(renamed: GroupRenamed) -> None:
    """Licenses of the group are listed under its new name; ended ones keep the old. On `directory.hooks.group_renamed`."""
    group = renamed.group
    GroupLicense.objects.filter(tenant_id=group.tenant_id, group=group, ended_at__isnull=True).update(
        group_name=group.name
    )


def unassign_group(
    *, actor: Actor, subscription_key: uuid.UUID, license_key: uuid.UUID, at: datetime
) -> GroupLicense:
    """End what a group has of a subscription: the seats that came from it end, up to 1,000 now, the rest by a worker.

    Who has the seat through another group of the same subscription keeps it through that one.

    :raises NotVisible: no such subscription, or the group has nothing of it any more. :raises NotAllowed: not theirs.
    """
    with tenant_atomic(actor):
        found = subscription_for(actor, subscription_key, to_see=Capability.SEE_LICENSES, to_assign=True)
        subscription = _lock(found.pk)
        license: GroupLicense | None = GroupLicense.objects.filter(
            subscription=subscription, key=license_key, ended_at__isnull=True
        ).first()
        if license is None:
            raise NotVisible
        _end(license, at, by=actor.label, by_id=actor.user_id)
        _record(actor, subscription, "licensing.group.unassigned", at, before=_facts(license))
        if follow(license.pk, actor.tenant_id, at=at) and license.group_id is not None:
            _touch(actor.tenant_id, license.group_id)
    return license


def note_change(change: MembershipChange) -> None:
    """Leave a note that a group's members changed, where the group has licenses, and ring once that is committed.

    Registered on `directory.hooks.membership_changed`; waits for no lock.
    """
    if GroupLicense.objects.filter(group_id=change.group_id, ended_at__isnull=True).exists():
        _touch(change.actor.tenant_id, change.group_id)


def follow_groups(*, at: datetime) -> int:
    """Give and take what the noted changes of groups ask for; how many group licenses were looked at. Worker's login.

    The note of a group that could not be followed stays for the next sweep.
    """
    seen = last_id = 0
    while touches := _touches(after_id=last_id):
        last_id = touches[-1][0]
        with use_login("worker"):
            found = list(
                GroupLicense.objects.filter(group_id__in={group_id for _pk, group_id in touches})
                .order_by("tenant_id", "id")
                .values_list("tenant_id", "id", "group_id")
            )
        followed = _follow_all([(tenant_id, license_id) for tenant_id, license_id, _group in found], at)
        left = {group_id for _tenant, license_id, group_id in found if license_id not in followed}
        seen += len(followed)
        with use_login("worker"):
            GroupTouch.objects.filter(
                pk__in=[pk for pk, group_id in touches if group_id not in left]
            ).delete()
    return seen


def even_out_groups(*, at: datetime) -> int:
    """Follow the groups that are gone, and those whose members wait for seats of which some came free; how many.
    Worker's login."""
    with use_login("worker"):
        found = licenses_short()
    return len(_follow_all(found, at))


def recheck_groups(*, at: datetime) -> int:
    """Follow every group license that has something to do, whatever nobody noted: people who are active again, who
    lost the product elsewhere, or for whom it was switched on. How many. Worker's login."""
    with use_login("worker"):
        found = licenses_behind()
    return len(_follow_all(found, at))


def _touches(*, after_id: int) -> list[tuple[int, int]]:
    """The next notes: their ids, oldest first, and the groups."""
    with use_login("worker"):
        rows = GroupTouch.objects.filter(pk__gt=after_id).order_by("id").values_list("id", "group_id")
        return list(rows[:_TOUCHES])


def _follow_all(found: Iterable[tuple[int, int]], at: datetime) -> set[int]:
    """The group licenses, by tenant and id, that have nothing more to do now."""
    followed = set()
    for tenant_id, license_id in found:
        with alone("Group license %s", license_id):
            while follow(license_id, tenant_id, at=at):
                pass
            followed.add(license_id)
    return followed


def follow(license_id: int, tenant_id: int, *, at: datetime) -> bool:
    """Take and give up to 1,000 seats each, for one group license; whether there may be more to do.

    Under the subscription's lock, which comes first. Who left is served before who came, and the waiting list in
    between: a seat that a leaver frees goes to the first in line in the same statement.
    """
    with tenant_atomic(tenant_id):
        license: GroupLicense = GroupLicense.objects.get(pk=license_id)
        subscription = _lock(license.subscription_id)
        license.refresh_from_db()
        if license.group_id is None and license.ended_at is None:
            _end(license, at, by="Seatkeeper", by_id=None)
        actor = Actor.system(tenant_id, label=(_("Group %(name)s") % {"name": license.group_name})[:200])
        gone = leavers(license, BATCH_LIMIT)
        _let_go(actor, subscription, license, gone, at)
        excluded = GroupExclusion.objects.filter(group_license=license)
        if license.ended_at is None and license.group_id is not None:
            members = GroupMembership.objects.filter(group_id=license.group_id, user=OuterRef("user"))
            excluded = excluded.filter(~Exists(members))
        excluded.delete()
        given: tuple[int, ...] = ()
        is_short = True
        if license.ended_at is None and subscription.state in GIVES_ACCESS:
            serve_waiting(subscription_id=subscription.pk, at=at)
            subscription.refresh_from_db(fields=["assigned", "quantity", "next_quantity"])
            room = max(min(BATCH_LIMIT, subscription.assignable), 0)
            wanted = candidates(license, room)
            if wanted:
                given = give_by_group(actor=actor, license=license, user_ids=wanted, at=at)
            # As many as there was room for: there may be more.
            is_short = len(wanted) == room or len(given) < len(wanted)
        if is_short != license.is_short:
            license.is_short = is_short
            license.save(update_fields=["is_short"])
        return len(gone) == BATCH_LIMIT or len(given) == BATCH_LIMIT


def _let_go(
    actor: Actor, subscription: Subscription, license: GroupLicense, user_ids: list[int], at: datetime
) -> None:
    """End the seats of people who are no longer of the group; who is of another that has it keeps it through that."""
    left = set(user_ids)
    others = GroupLicense.objects.filter(
        ~Q(pk=license.pk), subscription=subscription, ended_at__isnull=True
    ).order_by("id")
    for other in others if left else ():
        kept = set(
            GroupMembership.objects.filter(group_id=other.group_id, user_id__in=left).values_list(
                "user_id", flat=True
            )
        ) - set(
            GroupExclusion.objects.filter(group_license=other, user_id__in=left).values_list(
                "user_id", flat=True
            )
        )
        move_to_group(license, other, kept)
        left -= kept
    if left:
        end_by_group(actor=actor, license=license, user_ids=sorted(left), at=at)


def _end(license: GroupLicense, at: datetime, *, by: str, by_id: int | None) -> None:
    license.ended_at, license.ended_by, license.ended_by_id = at, by[:200], by_id
    license.save(update_fields=["ended_at", "ended_by", "ended_by_id"])


def _touch(tenant_id: int, group_id: int) -> None:
    GroupTouch.objects.create(tenant_id=tenant_id, group_id=group_id)
    ring_after_commit(TASK, using=login_alias())


def _lock(subscription_id: int) -> Subscription:
    subscription: Subscription = (
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .select_related("product")
        .get(pk=subscription_id)
    )
    return subscription


def _facts(license: GroupLicense) -> dict[str, object]:
    return {"group": license.group_name, "group_license": str(license.key)}


def _record(actor: Actor, subscription: Subscription, code: str, at: datetime, **facts: object) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=subscription.product.name,
        **facts,
    )
