"""Prices of a product in one market at the vendor's site: what holds, what comes, what was (product §5.3, §16)."""

from datetime import date, datetime, time
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from commerce.models import Market, Price, Product
from commerce.operations import prices as operations
from commerce.queries.catalogue import markets
from commerce.queries.catalogue_staff import PlanPrices, prices_of
from commerce.views.operator_forms import SELECT, at_its_field, text
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import instant_of, now
from config.kit.errors import DomainError, Malformed, NotVisible
from config.kit.money import Money, parse_minor
from config.kit.operator import render_operator_page
from directory.models import Tenant
from directory.staff import StaffCapability


class AmountForm(forms.Form):
    """An amount of one currency, and the day on which it begins."""

    amount = forms.CharField(
        label=gettext_lazy("Price per seat, without tax"), max_length=20, widget=text(20, inputmode="decimal")
    )
    begins_on = forms.DateField(
        label=gettext_lazy("Begins on"),
        widget=forms.DateInput({"class": "sk-input", "type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        help_text=gettext_lazy("At midnight of your own time zone, tomorrow at the earliest."),
    )

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency = currency
        self.fields["amount"].label = _("Price per seat in %(currency)s, without tax") % {
            "currency": currency
        }

    def clean_amount(self) -> int:
        minor = parse_minor(self.cleaned_data["amount"], self.currency)
        if minor is None:
            raise forms.ValidationError(_("Enter an amount such as 50 or 49.90."))
        return minor


class PriceForm(AmountForm):
    """A price to come of one plan."""

    plan = forms.ChoiceField(label=gettext_lazy("Plan"), widget=forms.Select(SELECT))

    field_order = ("plan", "amount", "begins_on")

    def __init__(self, *args: Any, plans: list[PlanPrices], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["plan"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(str(each.plan.pk), each.plan.label) for each in plans]


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def prices(request: HttpRequest, slug: str) -> HttpResponse:
    """Every price of a product in one market. POST: add one that begins on a later day."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    product = Product.objects.prefetch_related("plans").filter(slug=slug).first()
    sold_in = markets()
    market = _market(sold_in, request.POST.get("market") or request.GET.get("market", ""))
    if product is None or market is None:
        raise NotVisible
    plans = prices_of(product=product, market=market, at=at)
    form = PriceForm(request.POST or None, currency=market.currency, plans=plans)
    status, problem = int(HTTPStatus.OK), ""
    if request.method == "POST":
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if form.is_valid():
            try:
                operations.add_price(
                    staff=actor,
                    plan_id=int(form.cleaned_data["plan"]),
                    market=market.code,
                    unit_price_minor=form.cleaned_data["amount"],
                    begins_at=midnight(request, form.cleaned_data["begins_on"]),
                    at=at,
                )
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = refused.status, at_its_field(form, refused)
            else:
                messages.success(request, _("Added. It holds from that day on."))
                return _to(slug, market.code)
    context = {
        "title": _("Prices in %(market)s") % {"market": market.name},
        "crumbs": [
            (_("Catalogue"), reverse("operator:catalogue")),
            (product.name, reverse("operator:product", args=[slug])),
        ],
        "product": product,
        "market": market,
        "markets": sold_in,
        "plans": plans,
        "form": form,
        "problem": problem or (_("Nothing was added.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_prices.html", context, status=status)


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def price(request: HttpRequest, price_id: int) -> HttpResponse:
    """A price that has not begun. POST: change or remove it, as it was shown."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = _price(price_id)
    if found is None:
        if "seen_from" in request.POST:
            raise operations.PriceMoved
        raise NotVisible
    at = now()
    slug, market = found.plan.product.slug, found.market_id
    initial = {
        "amount": str(Money(found.unit_price_minor, found.currency).decimal),
        "begins_on": found.valid_from.astimezone(_zone(request)).date(),
    }
    form = AmountForm(initial=initial, currency=found.currency)
    status, problem = int(HTTPStatus.OK), ""
    if request.method == "POST":
        is_removal = request.POST.get("action") == "remove"
        if not is_removal:
            form = AmountForm(request.POST, currency=found.currency)
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if is_removal or form.is_valid():
            try:
                seen = _seen(request)
                if is_removal:
                    operations.remove_price(staff=actor, price_id=price_id, seen=seen, at=at)
                else:
                    operations.change_price(
                        staff=actor,
                        price_id=price_id,
                        unit_price_minor=form.cleaned_data["amount"],
                        begins_at=midnight(request, form.cleaned_data["begins_on"]),
                        seen=seen,
                        at=at,
                    )
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = refused.status, at_its_field(form, refused)
                found = _price(price_id) or found
            else:
                messages.success(request, _("Removed.") if is_removal else _("Saved."))
                return _to(slug, market)
    context = {
        "title": _("A price to come") if found.valid_from > at else _("A price that has begun"),
        "crumbs": [
            (_("Catalogue"), reverse("operator:catalogue")),
            (found.plan.product.name, reverse("operator:product", args=[slug])),
            (found.market.name, f"{reverse('operator:prices', args=[slug])}?market={market}"),
        ],
        "price": found,
        "has_begun": found.valid_from <= at,
        "form": form,
        "problem": problem or (_("Nothing was changed.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_price.html", context, status=status)


def midnight(request: HttpRequest, day: date) -> datetime:
    """The instant at which a day begins by the vendor's clock."""
    return datetime.combine(day, time.min, tzinfo=_zone(request))


def _zone(request: HttpRequest) -> ZoneInfo:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    return ZoneInfo(tenant.time_zone)


def _market(sold_in: list[Market], code: str) -> Market | None:
    """The market asked for, the first without one, None of one that is none."""
    if not code:
        return sold_in[0] if sold_in else None
    return next((market for market in sold_in if market.code == code), None)


def _price(price_id: int) -> Price | None:
    if not 0 < price_id < 2**63:
        return None
    return Price.objects.select_related("plan__product", "market").filter(pk=price_id).first()


def _seen(request: HttpRequest) -> operations.Seen:
    """What the page showed. :raises Malformed: it does not say."""
    since = instant_of(request.POST.get("seen_from", ""))
    try:
        minor = int(request.POST.get("seen_minor", "")[:20])
    except ValueError:
        since, minor = None, 0
    if since is None:
        raise Malformed(_("Look at the price again before you change it."))
    return operations.Seen(minor, since)


def _to(slug: str, market: str) -> HttpResponseRedirect:
    address = f"{reverse('operator:prices', args=[slug])}?market={market}"
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
