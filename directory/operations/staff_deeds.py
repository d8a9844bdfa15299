"""What the vendor's staff do in an organization's rows: as whom, and how it is noted on both sides (docs/adr/0034)."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor, Scope
from config.kit.doorbell import ring_after_commit
from config.kit.errors import Conflict, NotVisible
from config.kit.listings import Listing, find
from config.kit.tenancy import login_alias, tenant_atomic
from directory.operations import audit
from directory.staff import SUPPORT, StaffCapability


class NotWaiting(Conflict):
    """Somebody or something has dealt with it: it is not in the list any more."""

    code = "not_waiting"
    message = _("It does not wait any more: it was dealt with meanwhile. Nothing was changed.")


def require_staff(staff: Actor, capability: str) -> None:
    """:raises NotVisible: the actor is not of the vendor's staff with that right."""
    if not (staff.is_system or staff.may(capability)):
        raise NotVisible


def find_waiting[R](listing: Listing[R], row_id: int, *filters: Any) -> R:
    """The row, if it still waits. Inside the vendor's transaction. :raises NotWaiting: it does not, or never did."""
    try:
        return find(listing, row_id, *filters)
    except NotVisible:
        raise NotWaiting from None


@contextmanager
def what_waits[R](
    staff: Actor, listing: Listing[R], row_id: int, *filters: Any, rings: str = ""
) -> Iterator[R]:
    """The row of a list of work that a deed is about, inside the vendor's transaction; at its end `rings` a task, by name.

    :raises NotVisible: not of the staff that sets work going. :raises NotWaiting: the list has no such row any more.
    """
    require_staff(staff, StaffCapability.OPERATE_WORK)
    with tenant_atomic(staff):
        yield find_waiting(listing, row_id, *filters)
        if rings:
            ring_after_commit(rings, using=login_alias())


def acting_in(staff: Actor, tenant_id: int, grants: Mapping[str, frozenset[Scope]] | None = None) -> Actor:
    """The staff member in one organization's rows, with the rights that the deed needs and no others.

    No person of the organization: the label names the staff member, the account's id stays in the vendor's trail.
    """
    return Actor(
        user_id=None,
        tenant_id=tenant_id,
        home_tenant_id=staff.home_tenant_id,
        label=f"{SUPPORT}: {staff.label}"[:200],
        grants=grants or {},
        door=staff.door,
        correlation_id=staff.correlation_id or uuid.uuid4().hex,
    )


def note(
    staff: Actor,
    code: str,
    *,
    at: datetime,
    organization: int,
    target_type: str,
    target_id: object,
    target_label: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write a deed into the organization's trail and into the vendor's, in the transaction under way."""
    facts = {
        "at": at,
        "target_type": target_type,
        "target_id": target_id,
        "target_label": target_label,
        "before": before,
        "after": after,
    }
    with tenant_atomic(organization):
        audit.record(acting_in(staff, organization), code, **facts)
    note_at_home(staff, code, organization=organization, **facts)


def note_at_home(staff: Actor, code: str, *, organization: int, after: Any = None, **facts: Any) -> None:
    """Write a deed into the vendor's own trail, where its rows were written by an operation that noted it there."""
    if staff.tenant_id == organization:
        return
    with tenant_atomic(staff.tenant_id):
        audit.record(staff, code, after={**(after or {}), "organization": organization}, **facts)
