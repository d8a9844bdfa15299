"""What is agreed with organizations: prices of plans and days to pay, at the vendor's site (product §1, §6)."""

from datetime import datetime
from http import HTTPStatus
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from commerce.models import Plan
from commerce.operations.agreements import (
    LONGEST_TERMS,
    MOST_INCIDENTS,
    PriceList,
    agree_on_price,
    agree_on_terms,
    agreement_for,
    end_agreement,
    grant_incidents,
    make_agreement,
    take_up_agreement,
)
from commerce.queries.staff_lists import AGREEMENTS, AgreementRow
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.money import format_money, parse_minor
from config.kit.operator import render_operator_page
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from config.kit.worklists import Column, Shown, WorkList, page_of
from directory.staff import StaffCapability

SEE_OTHER = HTTPStatus.SEE_OTHER
USUAL_DAYS = "30"


# --- The list ----------------------------------------------------------------------------------------------


def _whose(row: AgreementRow, zone: str) -> Shown:
    return Shown(row.organization, address=reverse("operator:agreement", args=[row.id]))


def _state(row: AgreementRow, zone: str) -> Shown:
    if row.ended_at is None:
        return Shown(_("In force"), tone="sk-ok")
    return Shown(_("Ended"), moment(row.ended_at, zone), "sk-idle")


def _days(days: int) -> str:
    return ngettext("%(days)d day", "%(days)d days", days) % {"days": days}


AGREEMENT_LIST = WorkList(
    title=gettext_lazy("Agreements"),
    about=gettext_lazy(
        "Prices and days to pay that were agreed on with an organization. It buys centrally at these prices, on account."
    ),
    nothing=gettext_lazy("Nothing is agreed on with any organization."),
    sees=StaffCapability.OPERATE_CATALOGUE,
    listing=AGREEMENTS,
    filters=lambda chosen, at: (chosen.words,),
    columns=(
        Column(gettext_lazy("Organization"), _whose),
        Column(
            gettext_lazy("To be paid in"), lambda row, zone: Shown(_days(row.payment_days)), is_number=True
        ),
        Column(gettext_lazy("Prices"), lambda row, zone: Shown(f"{row.prices:,}"), is_number=True),
        Column(gettext_lazy("State"), _state),
    ),
    links=((gettext_lazy("New agreement"), "operator:agreement-new"),),
)
agreements = page_of(AGREEMENT_LIST)


# --- A new one ---------------------------------------------------------------------------------------------


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """GET: the form. POST: make an agreement with the organization of a domain; prices follow on its page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    refused: DomainError | None = None
    domain, days = request.POST.get("domain", "")[:255], request.POST.get("days", USUAL_DAYS)[:5]
    if request.method == "POST":
        try:
            made = make_agreement(staff=actor, domain=domain, payment_days=_whole(days), at=now())
        except (Conflict, Malformed) as wrong:
            refused = wrong
        else:
            told = _("The agreement with %(organization)s is in force. Agree on its prices now.")
            messages.success(request, told % {"organization": made.tenant.name})
            address = reverse("operator:agreement", args=[made.agreement.pk])
            return HttpResponseRedirect(address, status=SEE_OTHER)
    context = {
        "title": _("New agreement"),
        "crumbs": [(_("Agreements"), reverse("operator:agreements"))],
        "problem": refused,
        "field": getattr(refused, "field", ""),
        "domain": domain,
        "days": days,
        "longest_terms": LONGEST_TERMS,
    }
    with tenant_atomic(actor):
        status = refused.status if refused else HTTPStatus.OK
        return render_operator_page(request, "commerce/operator_agreement_new.html", context, status=status)


# --- One of them -------------------------------------------------------------------------------------------


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def agreement(request: HttpRequest, agreement_id: int) -> HttpResponse:
    """GET: its terms and prices. POST: agree on another term or price, end it, or put it in force again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = agreement_for(staff=actor, agreement_id=agreement_id)
    if request.method != "POST":
        return _page(request, actor, found)
    try:
        told = _change(request, actor, found, now())
    except (Conflict, Malformed) as refused:
        found = agreement_for(staff=actor, agreement_id=agreement_id)
        return _page(request, actor, found, refused=refused)
    messages.success(request, told)
    return HttpResponseRedirect(reverse("operator:agreement", args=[agreement_id]), status=SEE_OTHER)


def _change(request: HttpRequest, actor: Actor, found: PriceList, at: datetime) -> str:
    """What was agreed on, in words. :raises Malformed, NotInForce: nothing was."""
    number, name = found.agreement.pk, found.tenant.name
    match request.POST.get("action", ""):
        case "terms":
            days = _whole(request.POST.get("days", ""))
            agree_on_terms(
                staff=actor, tenant_id=found.tenant.pk, agreement_id=number, payment_days=days, at=at
            )
            told = _(
                "Agreed: %(organization)s pays bills within %(days)s. Bills that were issued keep their day."
            )
            return told % {"organization": name, "days": _days(days)}
        case "price":
            product, _space, plan = request.POST.get("plan", "").partition(" ")
            agreed = agree_on_price(
                staff=actor,
                tenant_id=found.tenant.pk,
                agreement_id=number,
                product=product,
                plan=plan,
                unit_price_minor=_price(request.POST.get("price", ""), found.tenant.currency),
                at=at,
            )
            price = next(
                each for each in agreed.prices if (each.plan.product.slug, each.plan.code) == (product, plan)
            )
            facts = {
                "price": format_money(price.unit_price_minor, price.currency),
                "plan": f"{price.plan.product.name}, {price.plan.label}",
            }
            told = _("Agreed: %(price)s for %(plan)s. Running terms keep the price that they were bought at.")
            return told % facts
        case "incidents":
            granted = _incidents(request.POST.get("incidents", ""))
            grant_incidents(
                staff=actor, tenant_id=found.tenant.pk, agreement_id=number, granted=granted, at=at
            )
            told = ngettext(
                "Agreed: %(organization)s has %(granted)d premier incident in all.",
                "Agreed: %(organization)s has %(granted)d premier incidents in all.",
                granted,
            )
            return told % {"organization": name, "granted": granted}
        case "end":
            end_agreement(staff=actor, agreement_id=number, at=at)
            return _("Ended. Nothing is bought under it any more; what runs under it goes on at its prices.")
        case "take_up":
            take_up_agreement(staff=actor, agreement_id=number, at=at)
            return _("In force again: %(organization)s buys at these prices.") % {"organization": name}
    raise Malformed(_("Choose what to change. Nothing was changed."))


def _whole(typed: str) -> int:
    typed = typed.strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 3):
        raise Malformed(_("Give 0 to 365 days."), field="days")
    return int(typed)


def _incidents(typed: str) -> int:
    typed = typed.strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) <= 5):
        raise Malformed(_("Give 0 to 10,000 incidents."), field="incidents")
    return int(typed)


def _price(typed: str, currency: str) -> int:
    minor = parse_minor(typed, currency)
    if minor is None:
        raise Malformed(_("Enter an amount such as 50 or 49.90."), field="price")
    return minor


def _page(
    request: HttpRequest, actor: Actor, found: PriceList, *, refused: DomainError | None = None
) -> HttpResponse:
    plans = Plan.objects.select_related("product").order_by("product__name", "term_months", "billing_months")
    typed = {name: request.POST.get(name, "")[:100] for name in ("days", "plan", "price", "incidents")}
    with tenant_atomic(actor):
        context: dict[str, Any] = {
            "title": found.tenant.name,
            "crumbs": [(_("Agreements"), reverse("operator:agreements"))],
            "agreement": found.agreement,
            "organization": found.tenant.name,
            "currency": found.tenant.currency,
            "prices": found.prices,
            "products": [
                (name, [(f"{plan.product.slug} {plan.code}", plan.label) for plan in group])
                for name, group in groupby(plans, key=lambda plan: plan.product.name)
            ],
            "typed": typed
            | {
                "days": typed["days"] or found.agreement.payment_days,
                "incidents": typed["incidents"] or (found.premier.granted if found.premier else 0),
            },
            "premier": found.premier,
            "most_incidents": MOST_INCIDENTS,
            "problem": refused,
            "is_past": isinstance(refused, Conflict),
            "field": getattr(refused, "field", ""),
            "longest_terms": LONGEST_TERMS,
        }
        status = refused.status if refused else HTTPStatus.OK
        return render_operator_page(request, "commerce/operator_agreement.html", context, status=status)
