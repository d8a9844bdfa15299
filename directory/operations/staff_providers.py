"""The vendor's part of a change of an organization's identity provider (docs/adr/0035): agree to it, or stop it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.operations.provider_changes import confirm_change, stop_change
from directory.operations.staff_deeds import (
    NotWaiting,
    acting_in,
    find_waiting,
    note_at_home,
    require_staff,
)
from directory.queries.staff_organizations import PROVIDER_CHANGES, ProviderChange
from directory.staff import StaffCapability

LONGEST_PROOF = 120


def confirm_for_organization(*, staff: Actor, change_id: int, proof: str, at: datetime) -> ProviderChange:
    """Agree to a planned change for an organization that has no second global admin. Twice is once.

    `proof`: how the staff made sure that the organization wants it; its audit trail keeps it.

    :raises NotVisible: not of the staff that keeps organizations. :raises NotWaiting: no such change is planned any more.
    :raises Malformed: nothing said. :raises SecondAdminNeeded: another global admin of its own confirms it.
    """
    return _do(confirm_change, "confirmed", staff, change_id, proof, at)


def stop_for_organization(*, staff: Actor, change_id: int, proof: str, at: datetime) -> ProviderChange:
    """Give a planned change up for an organization; its admins are told. Raises as `confirm_for_organization`."""
    return _do(stop_change, "stopped", staff, change_id, proof, at)


def _do(
    change: Callable[..., None], what: str, staff: Actor, change_id: int, proof: str, at: datetime
) -> ProviderChange:
    require_staff(staff, StaffCapability.OPERATE_TENANTS)
    proof = " ".join(proof.split())
    if not 0 < len(proof) <= LONGEST_PROOF or not proof.isprintable():
        raise Malformed(
            _("Say in up to %(count)d letters how you made sure.") % {"count": LONGEST_PROOF}, field="words"
        )
    with tenant_atomic(staff):
        found = find_waiting(PROVIDER_CHANGES, change_id, "")
        label = f"{acting_in(staff, found.tenant_id).label}, {proof}"[:200]
        by = Actor.system(found.tenant_id, label=label, door="cli")
        try:
            change(actor=replace(by, correlation_id=staff.correlation_id), key=found.key, at=at)
        except NotVisible:
            raise NotWaiting from None
        note_at_home(
            staff,
            f"directory.identity_provider.{what}",
            organization=found.tenant_id,
            at=at,
            target_type="identity_provider",
            target_id=found.key,
            target_label=found.issuer[:200],
            after={"how": proof},
        )
    return found
