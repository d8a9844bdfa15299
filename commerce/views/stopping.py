"""The public form by which somebody who left stops further charges to their card (product §11). No session."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from commerce.operations.stopping import NUMBER_LENGTH, NotStopped, Stopped, stop_charges
from commerce.states import last_day
from commerce.views.subscriptions import day, money
from config.kit import access
from config.kit.clock import now
from config.kit.errors import DomainError
from config.kit.rate import CounterAway, Limit, TooManyTries, client_network

# Guessing four digits of a known bill takes years from one place, and half a year from anywhere. The numbers of bills
# follow each other, so that a bill of somebody else must not be closed to them by five tries of one stranger.
PER_NETWORK = Limit("stop-charges-network", tries=20, per=timedelta(hours=1))
PER_BILL_AND_NETWORK = Limit("stop-charges-bill-network", tries=5, per=timedelta(days=1))
PER_BILL = Limit("stop-charges-bill", tries=50, per=timedelta(days=1))


@access.public(owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def stop_charges_page(request: HttpRequest) -> HttpResponse:
    """GET: the form. POST: stop, with one answer for whatever does not fit."""
    if request.method != "POST":
        return render(request, "commerce/stop_charges.html", {"length": NUMBER_LENGTH})
    number, last4 = request.POST.get("number", "")[:100], request.POST.get("last4", "")[:20]
    if not number.strip() or not last4.strip():
        # Nothing was tried.
        return _refused(request, NotStopped(), number)
    try:
        caller, bill = client_network(request), number.strip().upper()
        PER_NETWORK.count(caller)
        PER_BILL_AND_NETWORK.count(caller, bill)
        PER_BILL.count(bill)
        stopped = stop_charges(number=number, last4=last4, at=now())
    except (NotStopped, TooManyTries, CounterAway) as refused:
        return _refused(request, refused, number)
    return render(request, "commerce/stop_charges_done.html", {"stopped": stopped, "told": _told(stopped)})


def _refused(request: HttpRequest, refused: DomainError, number: str) -> HttpResponse:
    context: dict[str, Any] = {
        "length": NUMBER_LENGTH,
        "problem": str(refused),
        "number": number[:NUMBER_LENGTH],
    }
    response = render(request, "commerce/stop_charges.html", context, status=refused.status)
    if isinstance(refused, TooManyTries):
        response.headers["Retry-After"] = str(refused.retry_after)
    return response


def _told(stopped: Stopped) -> list[str]:
    """What holds now, in sentences."""
    if stopped.ends_at is None:
        return [_("It has ended already. Nothing more is charged for it.")]
    facts = {
        "day": day(last_day(stopped.ends_at), stopped.time_zone),
        "still": money(stopped.still_minor, stopped.currency),
    }
    if stopped.still_minor:
        still = _("You committed to a year, so %(still)s is still charged month by month until %(day)s.")
        return [still % facts, _("After that nothing more is charged.")]
    return [_("Nothing more is charged. Your colleagues can use it until %(day)s.") % facts]
