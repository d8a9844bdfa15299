"""Whether this database may bill and charge: not when it is a copy that nobody has looked at yet (F-26).

A copy restored from a backup has forgotten charges that the card processor made, and would make them again. Its
fingerprint gives it away: the cluster's identifier, the database, and the timeline, which a promoted replica and a
recovery to a point in time change, too.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from commerce.models import BillingControl
from config.kit.errors import Conflict, PeerUnavailable
from config.kit.tenancy import atomic, connection, use_login

log = logging.getLogger(__name__)

# How often a sweep writes down that all is well.
NOTED_EVERY = timedelta(minutes=1)
COPY = "This database is a copy: restored from a backup, or promoted from a replica."

# Any login may ask these. Of the log in use, since the control file names a new timeline only at a checkpoint.
_FINGERPRINT = """
    (SELECT system_identifier FROM pg_control_system())
    || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())
    || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
"""
_IS_PAUSED = f"""
    SELECT paused_at IS NOT NULL OR fingerprint <> {_FINGERPRINT} FROM commerce_billingcontrol WHERE id = 1
"""  # noqa: S608


class BillingPaused(PeerUnavailable):
    """Nothing is charged by card now; nothing was."""

    code = "billing_paused"
    message = _(
        "Payments by card are paused while we check our records. Nothing was charged. Try again later; "
        "everything that you have goes on working."
    )


class NotReconciled(Conflict):
    """Nobody has looked for the charges that a copy has forgotten."""

    code = "not_reconciled"
    message = _("The processor's charges were not reconciled since billing was paused. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Billing:
    """How it stands. `since`: when sweeps of this database last ran as they should, before which all is known."""

    fingerprint: str
    paused_at: datetime | None
    reason: str
    since: datetime | None
    reconciled_at: datetime | None

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None


def fingerprint() -> str:
    """The name of the running database, by the login in use. One query."""
    with connection().cursor() as cursor:
        cursor.execute(f"SELECT {_FINGERPRINT}")
        name: str = cursor.fetchone()[0]
    return name


def look(*, at: datetime) -> Billing:
    """How billing stands in the running database; a copy is paused, a first start written down. Worker's login."""
    with use_login("worker"), atomic():
        here = fingerprint()
        BillingControl.objects.bulk_create(
            [BillingControl(pk=1, fingerprint=here, checked_at=at)], ignore_conflicts=True
        )
        rows = BillingControl.objects.filter(pk=1)
        paused = (
            rows.filter(paused_at__isnull=True)
            .exclude(fingerprint=here)
            .update(paused_at=at, paused_reason=COPY, reconciled_at=None)
        )
        rows.filter(paused_at__isnull=True).filter(
            Q(checked_at__isnull=True) | Q(checked_at__lt=at - NOTED_EVERY) | Q(checked_at__gt=at)
        ).update(checked_at=at)
        control: BillingControl = rows.get()
    if paused:
        log.critical("Billing is paused. %s", COPY)
    return Billing(
        fingerprint=here,
        paused_at=control.paused_at,
        reason=control.paused_reason,
        since=control.checked_at,
        reconciled_at=control.reconciled_at,
    )


def sweeps_may_run(*, at: datetime) -> bool:
    """Whether a sweep that bills, charges or refunds may begin; each asks first. Three short queries."""
    billing = look(at=at)
    if billing.is_paused:
        log.warning("Billing is paused: %s", billing.reason)
    return not billing.is_paused


def is_paused() -> bool:
    """Whether nothing may be charged, by whatever login is in use; writes nothing. One query."""
    with connection().cursor() as cursor:
        cursor.execute(_IS_PAUSED)
        row = cursor.fetchone()
    return bool(row and row[0])


def require_running() -> None:
    """:raises BillingPaused: nothing may be charged now."""
    if is_paused():
        raise BillingPaused


def pause(*, reason: str, at: datetime) -> Billing:
    """Stop renewals, charges and refunds until somebody resumes them; again, it changes the reason."""
    look(at=at)
    with use_login("worker"), atomic():
        rows = BillingControl.objects.filter(pk=1)
        rows.filter(paused_at__isnull=True).update(paused_at=at, reconciled_at=None)
        rows.update(paused_reason=reason[:200])
    log.warning("Billing is paused: %s", reason)
    return look(at=at)


def note_reconciled(*, at: datetime) -> None:
    """Write down that the processor's charges were looked through and brought in."""
    with use_login("worker"), atomic():
        BillingControl.objects.filter(pk=1, paused_at__isnull=False).update(reconciled_at=at)


def resume(*, at: datetime, unreconciled: bool = False) -> Billing:
    """Let billing go on, in this database, which is the right one from now on.

    `unreconciled`: although nobody has looked for forgotten charges, as after the promotion of a replica that
    had everything.

    :raises NotReconciled: otherwise, when nobody has.
    """
    billing = look(at=at)
    if billing.is_paused and billing.reconciled_at is None and not unreconciled:
        raise NotReconciled
    with use_login("worker"), atomic():
        BillingControl.objects.filter(pk=1).update(
            fingerprint=fingerprint(), paused_at=None, paused_reason="", checked_at=at
        )
    log.warning("Billing goes on.")
    return look(at=at)
