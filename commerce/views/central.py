"""Buying for the organization at the agreement's price: what it costs, when it is paid, all before the click (product §8).

What is confirmed is the signed preview: it is bought as it was shown, or the page comes back with what holds now.
"""

import uuid
from dataclasses import asdict
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce.models import AgreementPrice, Plan
from commerce.operations.central import Choice, buy_centrally, quote_purchase
from commerce.queries.central import CentralQuote, Seen, agreed_prices, latest_bill_to
from commerce.states import last_day, per_period
from commerce.views.subscriptions import day, day_of, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed
from config.kit.money import tax_label
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from directory.permissions import Capability

SALT = "commerce.central"
NOW, LATER = "now", "later"
LONGEST_NUMBER = 7


class Asked(NamedTuple):
    """What the form says, as typed."""

    product: str
    plan: str
    quantity: str
    when: str
    starts_on: str
    reference: str


@access.requires(sees=Capability.BUY_CENTRALLY)
def buy(request: HttpRequest) -> HttpResponse:
    """GET: what the choice costs. POST: buy what was shown, once."""
    at = now()
    if request.method == "POST":
        return _buy(request, at)
    return _page(request, _asked(request), at)


def _asked(request: HttpRequest) -> Asked:
    params = request.GET
    return Asked(
        product=params.get("product", "")[:100],
        plan=params.get("plan", "")[:20],
        quantity=params.get("quantity", "1")[:20].strip(),
        when=LATER if params.get("when") == LATER else NOW,
        starts_on=params.get("starts_on", "")[:10],
        reference=" ".join(params.get("reference", "\0")[:200].split()),
    )


# --- Confirming --------------------------------------------------------------------------------------------------


def _buy(request: HttpRequest, at: datetime) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    asked = Asked("", "", "1", NOW, "", "\0")
    try:
        key, choice, seen = _signed(actor, request.POST.get("quote", ""))
        asked = _asked_of(choice)
        bought = buy_centrally(actor=actor, choice=choice, seen=seen, key=key, at=at)
    except DomainError as refused:
        return _page(request, asked, at, refused=refused)
    count = bought.quantity
    facts = {"count": count, "product": bought.product.name}
    if choice.starts_on is not None:
        told = _("%(product)s starts on %(day)s. Nothing is billed before.") % (
            facts | {"day": day(bought.period_start, bought.time_zone)}
        )
    else:
        told = ngettext(
            "Your organization has %(count)d license of %(product)s more. The bill is on account.",
            "Your organization has %(count)d licenses of %(product)s more. The bill is on account.",
            count,
        )
        told %= facts
    messages.success(request, told)
    address = reverse("portal:subscription", args=[bought.key])
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _sign(actor: Actor, choice: Choice, quote: CentralQuote) -> str:
    """The choice and what was shown of it, with the key of the order that confirming it makes."""
    starts_on = choice.starts_on.isoformat() if choice.starts_on else ""
    chosen = [choice.plan.pk, choice.quantity, starts_on, choice.reference]
    return signing.dumps(
        [actor.tenant_id, str(uuid.uuid4()), chosen, asdict(quote.seen)], salt=SALT, compress=True
    )


def _signed(actor: Actor, text: str) -> tuple[uuid.UUID, Choice, Seen]:
    """What the page that was shown said. :raises Malformed: it is not one of ours, or of another organization."""
    try:
        tenant_id, key, (plan_id, quantity, starts_on, reference), seen = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        tenant_id = None
    if tenant_id != actor.tenant_id:
        raise Malformed(_("Nothing was bought. Look at what it costs, and decide again."))
    plan = Plan.objects.select_related("product").get(pk=plan_id)
    choice = Choice(plan, quantity, date.fromisoformat(starts_on) if starts_on else None, reference)
    return uuid.UUID(key), choice, Seen(**seen)


def _asked_of(choice: Choice) -> Asked:
    return Asked(
        product=choice.plan.product.slug,
        plan=choice.plan.code,
        quantity=str(choice.quantity),
        when=LATER if choice.starts_on else NOW,
        starts_on=choice.starts_on.isoformat() if choice.starts_on else "",
        reference=choice.reference,
    )


# --- What the page says ------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest, asked: Asked, at: datetime, *, refused: DomainError | None = None
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    context: dict[str, Any] = {
        "title": _("Buy centrally"),
        "crumbs": [(_("Your products"), reverse("portal:your-products"))],
        "problem": str(refused) if refused else "",
    }
    with tenant_atomic(actor):
        prices = agreed_prices(actor.tenant_id)
        if not prices:
            return render_page(request, "commerce/buy_centrally_none.html", context)
        bill_to = latest_bill_to(actor.tenant_id)
        if asked.reference == "\0":
            asked = asked._replace(reference=bill_to.own_reference if bill_to else "")
        context |= {
            "asked": asked,
            "products": list(dict.fromkeys(each.plan.product for each in prices)),
            "billed_to": bill_to.name if bill_to else tenant.name,
        }
        offered = [price for price in prices if price.plan.product.slug == asked.product]
        if offered:
            context |= _chosen(actor, tenant, asked, offered, at)
            context["problem"] = context["problem"] or context.pop("obstacle", "")
        return render_page(
            request,
            "commerce/buy_centrally.html",
            context,
            status=refused.status if refused else HTTPStatus.OK,
        )


def _chosen(
    actor: Actor, tenant: Tenant, asked: Asked, offered: list[AgreementPrice], at: datetime
) -> dict[str, Any]:
    """The plans of the chosen product, and what the choice costs, or why it cannot be bought."""
    price = next((each for each in offered if each.plan.code == asked.plan), offered[0])
    context: dict[str, Any] = {
        "asked": asked._replace(plan=price.plan.code),
        "product": price.plan.product,
        "plans": [_plan_line(each) for each in offered],
        "agreement": price.agreement,
    }
    try:
        choice = _choice(price.plan, asked)
        quote = quote_purchase(actor=actor, choice=choice, at=at)
    except Malformed as wrong:
        return context | {"wrong": str(wrong), "wrong_field": wrong.field}
    except DomainError as why:
        return context | {"obstacle": str(why)}
    return context | _preview(actor, tenant, choice, quote, at)


def _plan_line(price: AgreementPrice) -> dict[str, Any]:
    return {
        "code": price.plan.code,
        "label": price.plan.label,
        "price": money(price.unit_price_minor, price.currency),
        "period": per_period(price.plan.billing_months),
    }


def _choice(plan: Plan, asked: Asked) -> Choice:
    """:raises Malformed: what was typed is no number, or no day."""
    if not (asked.quantity.isascii() and asked.quantity.isdigit() and len(asked.quantity) <= LONGEST_NUMBER):
        raise Malformed(_("Enter a whole number, such as 2."), field="quantity")
    starts_on = None
    if asked.when == LATER:
        try:
            starts_on = date.fromisoformat(asked.starts_on)
        except ValueError:
            raise Malformed(_("Choose the day on which it starts."), field="starts_on") from None
    return Choice(plan, int(asked.quantity), starts_on, asked.reference)


def _preview(
    actor: Actor, tenant: Tenant, choice: Choice, quote: CentralQuote, at: datetime
) -> dict[str, Any]:
    zone, total = tenant.time_zone, money(quote.total_minor, quote.currency)
    unit = money(quote.unit_price_minor, quote.currency)
    line = ngettext("%(count)d license \u00d7 %(unit)s", "%(count)d licenses \u00d7 %(unit)s", quote.quantity)
    if quote.is_later:
        button = ngettext(
            "Schedule %(count)d license for %(total)s",
            "Schedule %(count)d licenses for %(total)s",
            quote.quantity,
        )
    else:
        button = ngettext(
            "Buy %(count)d license for %(total)s", "Buy %(count)d licenses for %(total)s", quote.quantity
        )
    return {
        "sums": [
            (
                line % {"count": quote.quantity, "unit": unit},
                money(quote.subtotal_minor, quote.currency),
            ),
            (f"{tax_label(quote.tax_name)} {quote.tax_rate}%", money(quote.tax_minor, quote.currency)),
        ],
        "total": total,
        "steps": _steps(tenant, quote, at, total),
        "button": button % {"count": quote.quantity, "total": total},
        "is_later": quote.is_later,
        "quote": _sign(actor, choice, quote),
        "until": day(last_day(quote.term_ends_at), zone),
    }


def _steps(tenant: Tenant, quote: CentralQuote, at: datetime, total: str) -> list[Told]:
    zone = tenant.time_zone
    facts = {
        "total": total,
        "due": day_of(quote.due_date),
        "days": quote.payment_days,
        "organization": tenant.name,
    }
    billed = _("A bill of %(total)s to %(organization)s, on account, to be paid by %(due)s (%(days)d days).")
    steps = []
    if quote.is_later:
        today = _("It is shown as Scheduled. Nothing is billed, and it can be canceled without cost.")
        steps.append(Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, today))
        starts = _("%(day)s: starts") % {"day": day(quote.starts_at, zone)}
        steps.append(Told("", starts, _("Licenses can be assigned from then on.") + " " + billed % facts))
    else:
        text = _("The licenses can be assigned at once.") + " " + billed % facts
        steps.append(Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, text))
    if quote.commitment_minor is not None:
        all_bills = {
            "sum": money(quote.commitment_minor, quote.currency),
            "count": quote.bills_per_term,
            "until": day(last_day(quote.term_ends_at), zone),
        }
        steps.append(
            Told(
                "",
                _("Until %(until)s") % all_bills,
                _("%(count)d bills for the year that you commit to, %(sum)s in all.") % all_bills,
            )
        )
    renews = _("%(day)s: renews") % {"day": day(quote.term_ends_at, zone)}
    text = _("At the agreement's price of that day, unless recurring billing is switched off before.")
    steps.append(Told("", renews, text))
    late = _("A bill that is not paid in time is reminded by mail. Nobody loses access because of it.")
    steps.append(Told("", _("If it is paid late"), late))
    return steps
