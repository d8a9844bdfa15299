"""Correcting whom a bill is made out to: what happens to it and to the money, before the click (product §6)."""

from datetime import timedelta
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.forms import BillingForm
from commerce.models import Bill
from commerce.operations.checkouts import BillingDetails
from commerce.operations.corrections import (
    DETAILS,
    AlreadyCorrected,
    NothingToCorrect,
    correct_bill,
    correctable,
)
from commerce.views.subscriptions import money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.rate import Limit
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability

# Each takes two numbers of the series and may ask the register.
TRIES, PER = 10, timedelta(hours=1)


@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
def correct(request: HttpRequest, number: str) -> HttpResponse:
    """GET: the details and what correcting them does. POST: credit the bill, issue it anew, and go there."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        with tenant_atomic(actor):
            bill = correctable(actor, number)
        if request.method == "POST":
            return _correct(request, bill)
    except AlreadyCorrected as already:
        messages.info(request, str(already))
        return _see(already.number)
    return _page(
        request, bill, BillingForm(initial={field: getattr(bill.bill_to, field) for field in DETAILS})
    )


def _correct(request: HttpRequest, bill: Bill) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = BillingForm(request.POST)
    if not form.is_valid():
        return _page(request, bill, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    Limit("correct-bill", tries=TRIES, per=PER).count(str(actor.user_id))
    try:
        corrected = correct_bill(
            actor=actor, number=bill.number, billing=BillingDetails(**form.cleaned_data), at=now()
        )
    except NothingToCorrect as error:
        form.add_error(error.field, str(error))
        return _page(request, bill, form, status=error.status)
    told = _("%(old)s is credited by %(note)s, and this bill takes its place.") % {
        "old": corrected.old.number,
        "note": corrected.credit_note.number,
    }
    messages.success(request, told)
    return _see(corrected.bill.number)


def _page(
    request: HttpRequest, bill: Bill, form: BillingForm, *, status: int = HTTPStatus.OK
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    address = reverse("portal:bill", args=[bill.number])
    context = {
        "title": _("Correct %(number)s") % {"number": bill.number},
        "crumbs": [(_("Bills & payments"), reverse("portal:bills")), (bill.number, address)],
        "bill": bill,
        "form": form,
        "address": address,
        "rate": f"{bill.tax_rate.normalize():f}",
        "product": bill.subscription.product.name,
        "total": money(bill.total_minor, bill.currency),
        "is_paid": bill.status == Bill.Status.PAID,
        "is_charged_by_itself": bill.charge_due_at is not None,
        "bills_later": bill.subscription.bill_to_id == bill.bill_to_id,
        "zone": bill.subscription.time_zone,
    }
    with tenant_atomic(actor):
        return render_page(request, "commerce/bill_correct.html", context, status=status)


def _see(number: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(reverse("portal:bill", args=[number]), status=HTTPStatus.SEE_OTHER)
