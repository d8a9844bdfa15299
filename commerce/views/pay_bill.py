"""Paying an open bill now: the page to which a failed payment's mail leads (product §5.6, §6; F-12).

One address a bill. What it shows follows from the bill and its charge, so that a reload, a second tab, the way back
from the bank and a lost answer all lead to the one charge.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csp import csp_override

from commerce.gateways import Declined, NeedsAuthentication
from commerce.models import Bill, PaymentAttempt
from commerce.operations import payments
from commerce.operations.bills import BillNotOpen
from commerce.views.paying import (
    FROM_NOW_ON,
    NEW_CARD,
    billing_details,
    card_choice,
    chosen_of,
    saved_cards,
    ticked,
)
from commerce.views.payment import Problem, count_try, declined, no_card, processor
from commerce.views.subscriptions import money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible, PeerUnavailable
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability

# Of which page a link to this one says that it led here.
FROM, PURCHASE, PAYMENT_METHODS = "from", "purchase", "payment-methods"


@csp_override(settings.ADMIN_CARD_CSP)
@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
def pay_bill(request: HttpRequest, number: str) -> HttpResponse:
    """GET: how the payment stands, and the form while nobody pays it. POST: pay it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    with tenant_atomic(actor):
        bill: Bill | None = (
            Bill.objects.visible_to(actor)
            .select_related("payer", "bill_to", "vendor_entity", "subscription__product")
            .filter(number=number)
            .first()
        )
    if bill is None:
        raise NotVisible
    if request.method == "POST":
        return _pay(request, bill, at)
    try:
        outcome = payments.finish_bill(actor=actor, number=number, at=at)
    except (Declined, NeedsAuthentication):
        return _see(_address(request, bill))
    except BillNotOpen:
        return _nothing_to_pay(request, bill)
    except PeerUnavailable:
        outcome = payments.Pending()
    if outcome is None and bill.status not in (Bill.Status.OPEN, Bill.Status.PAST_DUE):
        return _nothing_to_pay(request, bill)
    return _form(request, bill) if outcome is None else _go_on(request, bill, outcome)


def _pay(request: HttpRequest, bill: Bill, at: datetime) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    chosen, token = request.POST.get("card", ""), request.POST.get("confirmation_token", "")
    is_number = chosen.isascii() and chosen.isdigit() and len(chosen) < 18
    if chosen == NEW_CARD and not token:
        return _form(request, bill, problem=no_card(), chosen=chosen, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        count_try(actor)
        outcome = payments.pay_bill(
            actor=actor,
            number=bill.number,
            card_id=None if chosen == NEW_CARD else int(chosen) if is_number else 0,
            confirmation_token=token,
            from_now_on=FROM_NOW_ON in request.POST,
            at=at,
        )
    except (Declined, NeedsAuthentication):
        return _see(_address(request, bill))
    except BillNotOpen:
        return _nothing_to_pay(request, bill)
    except (Malformed, TooManyTries, PeerUnavailable) as error:
        problem = Problem(str(error), _("The bill is still open."), "card")
        return _form(request, bill, problem=problem, chosen=chosen, status=error.status)
    if isinstance(outcome, payments.BillPaid):
        return _go_on(request, bill, outcome)
    return _see(_address(request, bill))


def _go_on(request: HttpRequest, bill: Bill, outcome: payments.BillOutcome) -> HttpResponse:
    """The answer to an outcome: the page that led here, the bank's, or the one that waits."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if isinstance(outcome, payments.BillPaid):
        told = _("%(bill)s is paid: %(amount)s.") % {"bill": bill.number, "amount": _total(bill)}
        messages.success(request, told)
        return _see(_back(request, bill))
    context = _frame(request, bill) | processor()
    context["client_secret"] = outcome.client_secret if isinstance(outcome, payments.ActionNeeded) else ""
    with tenant_atomic(actor):
        return render_page(request, "commerce/pay_bill_waiting.html", context)


def _form(
    request: HttpRequest,
    bill: Bill,
    *,
    problem: Problem | None = None,
    chosen: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        refused = payments.last_refusal(bill)
        if problem is None and refused is not None and refused.decline_code != "replaced":
            problem = declined(refused.decline_code, _("The bill is still open."))
        context = _frame(request, bill) | processor() | _cards(request, actor, bill, refused, chosen)
        context |= {
            "problem": problem,
            "is_organizations": bill.payer_id is None,
            "billing": billing_details(bill.bill_to),
        }
        return render_page(request, "commerce/pay_bill.html", context, status=status)


def _cards(
    request: HttpRequest, actor: Actor, bill: Bill, refused: PaymentAttempt | None, chosen: str
) -> dict[str, Any]:
    """The payer's cards; whether the one chosen pays from now on is asked of who still owns the purchase."""
    subscription, tries = bill.subscription, bill.attempts.all()
    if bill.payer_id == subscription.owner_user_id:
        return card_choice(
            actor,
            subscription,
            tries=tries,
            chosen=chosen,
            from_now_on=ticked(request, refused, default=None),
        )
    return chosen_of(saved_cards(actor, bill.payer, tries), chosen)


def _nothing_to_pay(request: HttpRequest, bill: Bill) -> HttpResponse:
    told = _("%(bill)s is not open any more. Nothing was charged now.") % {"bill": bill.number}
    messages.info(request, told)
    return _see(_back(request, bill))


def _frame(request: HttpRequest, bill: Bill) -> dict[str, Any]:
    return {
        "title": _("Pay %(bill)s") % {"bill": bill.number},
        "crumbs": [
            (_("Bills & payments"), reverse("portal:bills")),
            (bill.number, reverse("portal:bill", args=[bill.number])),
        ],
        "bill": bill,
        "product": bill.subscription.product,
        "zone": bill.subscription.time_zone,
        "total": _total(bill),
        "address": _address(request, bill),
        "back": _back(request, bill),
    }


def _total(bill: Bill) -> str:
    return money(bill.total_minor, bill.currency)


def _address(request: HttpRequest, bill: Bill) -> str:
    """This page, with what it knows of the way here."""
    origin = request.GET.get(FROM, "")
    query = f"?{urlencode({FROM: origin})}" if origin in (PURCHASE, PAYMENT_METHODS) else ""
    return reverse("portal:bill-pay", args=[bill.number]) + query


def _back(request: HttpRequest, bill: Bill) -> str:
    """The page that led here: the purchase or the payment methods where the address says so, else the bill."""
    origin = request.GET.get(FROM, "")
    if origin == PURCHASE:
        return reverse("portal:subscription", args=[bill.subscription.key])
    if origin == PAYMENT_METHODS:
        return reverse("portal:payment-methods")
    return reverse("portal:bill", args=[bill.number])


def _see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)
