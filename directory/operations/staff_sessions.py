"""The vendor's staff read one organization's pages: opened with a reason, an hour at most, told on both sides (product §2).

Opening gives no right by itself: each request looks for the session and for the staff role anew (`directory.actors`).
"""

import uuid
from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import STAFF_SESSION_LASTS, StaffSession
from directory.operations.staff_deeds import note, require_staff
from directory.queries.staff_organizations import organization_of_domain
from directory.staff import StaffCapability

SHORTEST_REASON, LONGEST_REASON = 10, 500


def open_staff_session(*, staff: Actor, domain: str, reason: str, at: datetime) -> StaffSession:
    """Begin to read the pages of the organization with that proved domain; one that runs is given instead of a second.

    :raises NotVisible: not of the staff who may. :raises Malformed: no such organization, or no reason that says anything.
    """
    require_staff(staff, StaffCapability.OPEN_STAFF_SESSION)
    reason = " ".join(reason.split())
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON or "\0" in reason:
        raise Malformed(
            _("Say why, in 10 to 500 characters. The organization's admins read it."), field="reason"
        )
    if staff.user_id is None:
        raise NotVisible
    with tenant_atomic(staff):
        found = organization_of_domain(domain)
        if found is None:
            raise Malformed(_("No organization has proved this domain."), field="domain")
        if found.tenant_id == staff.tenant_id:
            raise Malformed(_("These are your own pages. They need no session."), field="domain")
        own = StaffSession.objects.of(user_id=staff.user_id, home_tenant_id=staff.tenant_id)
        running: StaffSession | None = own.running(at).filter(tenant_id=found.tenant_id).first()
        if running is not None:
            return running
        session: StaffSession = StaffSession.objects.create(
            tenant_id=found.tenant_id,
            staff_tenant_id=staff.tenant_id,
            user_id=staff.user_id,
            staff_name=staff.label[:200],
            organization=found.name[:200],
            reason=reason,
            opened_at=at,
            ends_at=at + STAFF_SESSION_LASTS,
        )
        _note(staff, session, "directory.staff_session.opened", at, reason=reason)
    return session


def end_staff_session(*, staff: Actor, key: uuid.UUID, at: datetime) -> StaffSession:
    """End an own session before its hour is over. Twice is once.

    `staff`: at home, or reading in that session. :raises NotVisible: none of theirs has this key.
    """
    if staff.user_id is None:
        raise NotVisible
    home = staff.home_tenant_id
    with tenant_atomic(home):
        own = StaffSession.objects.of(user_id=staff.user_id, home_tenant_id=home).select_for_update()
        session: StaffSession | None = own.filter(key=key).first()
        if session is None:
            raise NotVisible
        if session.ends_at > at:
            session.ends_at = max(at, session.opened_at)
            session.save(update_fields=["ends_at"])
            at_home = replace(staff, tenant_id=home, staff_session_id=None, relationship_label="")
            _note(at_home, session, "directory.staff_session.ended", at)
    return session


def _note(staff: Actor, session: StaffSession, code: str, at: datetime, **facts: object) -> None:
    note(
        staff,
        code,
        at=at,
        organization=session.tenant_id,
        target_type="staff_session",
        target_id=session.key,
        target_label=session.organization,
        after={**facts, "until": session.ends_at.isoformat()},
    )
