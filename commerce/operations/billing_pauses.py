"""Pausing and resuming billing from the vendor's site, under the app's login (product §2; docs/operator-tenants.md).

The app's login may write three columns of the one row, and only while the vendor's tenant is set (`VendorWall`). What
names the database is not among them: a copy that nobody has looked at is resumed from the command line alone.
"""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import BillingControl
from commerce.operations.billing_control import NotReconciled, fingerprint
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.operations.staff_deeds import require_staff
from directory.staff import StaffCapability

LONGEST_REASON = 200


class BillingMoved(Conflict):
    """Somebody else paused or resumed it."""

    code = "billing_moved"
    message = _("Billing is not as you saw it: somebody paused or resumed it meanwhile. Nothing was changed.")


class IsCopy(Conflict):
    """The running database is not the one that billing last ran in."""

    code = "is_copy"
    message = _(
        "This database is a copy of the one that billing ran in. Whoever runs the installation looks at it first and "
        "resumes from the command line. Nothing was changed."
    )


def pause_billing(*, staff: Actor, reason: str, at: datetime) -> None:
    """Stop renewals, charges and refunds of the whole installation until somebody resumes them.

    :raises NotVisible: not of the staff with that right. :raises Malformed: no reason, or too long a one.
    :raises BillingMoved: it is paused, or no sweep has ever run.
    """
    require_staff(staff, StaffCapability.OPERATE_TENANTS)
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise Malformed(_("Say why in up to 200 letters."), field="reason")
    with tenant_atomic(staff):
        running = BillingControl.objects.filter(pk=1, paused_at__isnull=True)
        if not running.update(paused_at=at, paused_reason=reason, reconciled_at=None):
            raise BillingMoved
        _record(staff, "paused", at, after={"reason": reason})


def resume_billing(*, staff: Actor, seen: datetime, unreconciled: bool, at: datetime) -> None:
    """Let billing go on. `seen`: since when the page said that it is paused.

    `unreconciled`: although nobody has looked for charges that the database does not know, as after a pause by hand.

    :raises NotVisible: not of the staff with that right. :raises BillingMoved: it is not paused since then.
    :raises IsCopy: the database is not the one that was billed in. :raises NotReconciled: nobody has looked.
    """
    require_staff(staff, StaffCapability.OPERATE_TENANTS)
    with tenant_atomic(staff):
        control = BillingControl.objects.select_for_update().filter(pk=1, paused_at=seen).first()
        if control is None:
            raise BillingMoved
        if control.fingerprint != fingerprint():
            raise IsCopy
        if control.reconciled_at is None and not unreconciled:
            raise NotReconciled
        before = {"reason": control.paused_reason, "paused_at": seen.isoformat()}
        control.paused_at, control.paused_reason = None, ""
        control.save(update_fields=["paused_at", "paused_reason"])
        _record(staff, "resumed", at, before=before, after={"unreconciled": unreconciled})


def is_copy(control: BillingControl) -> bool:
    """Whether the row speaks of another database than the running one. One query."""
    return control.fingerprint != fingerprint()


def _record(staff: Actor, what: str, at: datetime, **facts: object) -> None:
    record(
        staff,
        f"commerce.billing.{what}",
        at=at,
        target_type="billing",
        target_id=1,
        target_label=str(_("Billing of the installation")),
        **facts,
    )
