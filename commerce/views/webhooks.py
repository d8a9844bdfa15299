"""Where the processor tells that something happened. Verify, keep, ring; what it says is asked for again."""

import logging

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from commerce import tasks
from commerce.gateways import ForgedEvent
from commerce.gateways.stripe import verify_webhook
from commerce.operations.payments import store_event
from config.kit.access import public
from config.kit.clock import now
from config.kit.doorbell import ring

log = logging.getLogger(__name__)

LARGEST_BODY = 512 * 1024
ALERT_FROM = 5
ALERT_SECONDS = 60


@csrf_exempt
@require_POST
@public(owns_transaction=True)
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """200 once the event is stored; 400 for one that is forged, old, altered, or not for this installation."""
    try:
        if int(request.headers.get("Content-Length") or 0) > LARGEST_BODY:
            raise ForgedEvent("size")
        event = verify_webhook(request.body, request.headers.get("Stripe-Signature", ""))
    except ForgedEvent as forged:
        _count(forged)
        return HttpResponse("not accepted", status=400, content_type="text/plain")
    if store_event(event, at=now()):
        ring(tasks.reconcile)
    return HttpResponse("stored", content_type="text/plain")


def _count(forged: ForgedEvent) -> None:
    """One line each; an alert when there are several a minute."""
    log.warning("A webhook was refused: %s", forged.reason)
    try:
        cache.add("webhooks-refused", 0, ALERT_SECONDS)
        refused = cache.incr("webhooks-refused")
    except (ValueError, OSError, ConnectionError):
        return
    if refused == ALERT_FROM:
        log.error("%s webhooks were refused within a minute", refused)
