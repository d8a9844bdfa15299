"""What ends by itself: requests that nobody answered within 60 days, and closed ones after 12 months (product §7.5)."""

from datetime import datetime, timedelta

from config.kit.actors import Actor
from config.kit.tenancy import atomic, use_login
from directory.operations import audit
from directory.operations.mail import queue_mails
from licensing.models import LicenseRequest, RequestedPerson
from licensing.operations.request_notices import lapsed_mails

KEPT = timedelta(days=365)
BATCH = 500

State = LicenseRequest.State
PersonState = RequestedPerson.State


def lapse_requests(*, at: datetime) -> int:
    """End open requests whose time is over, with a mail to the requester; how many. Worker's login.

    Those that somebody decides about at the moment are left to the next ring.
    """
    ended = 0
    while batch := _lapse_batch(at):
        ended += batch
    return ended


def _lapse_batch(at: datetime) -> int:
    with use_login("worker"), atomic():
        over = list(
            LicenseRequest.objects.open()
            .filter(expires_at__lte=at)
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("product", "requester")
            .prefetch_related("people__user")
            .order_by("expires_at", "id")[:BATCH]
        )
        if not over:
            return 0
        for request in over:
            answered = {person.state for person in request.people.all()} & set(RequestedPerson.GRANTED)
            request.state = State.PARTLY if answered else State.LAPSED
            request.closed_at = at
        RequestedPerson.objects.filter(request__in=over, state=PersonState.WAITING).update(
            state=PersonState.CLOSED, decided_at=at
        )
        LicenseRequest.objects.bulk_update(over, ["state", "closed_at"])
        audit.record_all(
            [
                audit.entry(
                    Actor.system(request.tenant_id),
                    "licensing.request.lapsed",
                    at=at,
                    target_type="license_request",
                    target_id=request.key,
                    target_label=request.product.name,
                    after={"state": request.state},
                )
                for request in over
            ]
        )
        queue_mails(mail for request in over for mail in lapsed_mails(request, at))
    return len(over)


def forget_requests(*, at: datetime) -> int:
    """Delete requests that were closed 12 months ago, with their people; how many. The audit trail stays."""
    with use_login("worker"), atomic():
        old = LicenseRequest.objects.filter(closed_at__lte=at - KEPT)
        count = old.count()
        RequestedPerson.objects.filter(request__in=old).delete()
        old.delete()
    return count
