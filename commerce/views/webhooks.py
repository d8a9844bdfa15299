"""Where the processor tells that something happened. Verify, keep, ring; what it says is asked for again."""

import logging

import redis
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from commerce.gateways import ForgedEvent
from commerce.gateways.stripe import verify_webhook
from commerce.operations.payments import store_event
from config.kit.access import public
from config.kit.clock import now
from config.kit.doorbell import ring

log = logging.getLogger(__name__)
# Named apart from the module, so that a monitor can be hooked up to it: docs/runbook.md, "Alerts".
alerts = logging.getLogger("seatkeeper.alerts")

LARGEST_BODY = 512 * 1024
ALERT_FROM = 5
ALERT_SECONDS = 60
REFUSED = "webhooks-refused"


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
        ring("commerce.reconcile")
    return HttpResponse("stored", content_type="text/plain")


def _count(forged: ForgedEvent) -> None:
    """One line each; one alert a minute when all processes together refuse several in it."""
    log.warning("A webhook was refused: %s", forged.reason)
    try:
        cache.add(REFUSED, 0, ALERT_SECONDS)
        refused = cache.incr(REFUSED)
    except (ValueError, OSError, redis.RedisError) as error:
        alerts.error("webhooks_refused count=unknown reason=%s: %s", forged.reason, error)
        return
    if refused == ALERT_FROM:
        alerts.error("webhooks_refused count=%s seconds=%s reason=%s", refused, ALERT_SECONDS, forged.reason)
