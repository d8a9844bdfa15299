"""The catalogue at the vendor's site: the list, a product, a new one (product §16)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from commerce.addresses import LONGEST_ORIGIN, LONGEST_PATH
from commerce.forms import LineField, WholeNumberField
from commerce.models import Product
from commerce.operations import product_sites
from commerce.operations import products as operations
from commerce.operations.addresses import LONGEST_URL
from commerce.queries.catalogue import PLAN_ORDER, markets
from commerce.queries.catalogue_staff import SHOWN, priced_markets, products_page
from commerce.queries.training import LINK_KINDS
from commerce.views.operator_forms import SELECT, at_its_field, checkbox, text
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotVisible, Text
from config.kit.operator import render_operator_page
from directory.staff import StaffCapability

# The forms of the page stand side by side: no two of their fields have one id.
SITE_ID = "site_%s"
# Empty rows below the links that there are.
EMPTY_LINKS = 2
CHIPS: dict[str, Text] = {
    "": gettext_lazy("All"),
    "self-service": gettext_lazy("Self-service"),
    "central": gettext_lazy("Central only"),
    "withdrawn": gettext_lazy("Withdrawn"),
}


class ProductForm(forms.Form):
    """What is said of a product and decided about it."""

    name = LineField(label=gettext_lazy("Name"), max_length=200, widget=text(200))
    category = LineField(
        label=gettext_lazy("Category"),
        max_length=40,
        widget=text(40, list="categories"),
        help_text=gettext_lazy("Organizations' policies and markets' exclusions of a category hold for it."),
    )
    tagline = LineField(label=gettext_lazy("In one line"), required=False, max_length=200, widget=text(200))
    description = forms.CharField(
        label=gettext_lazy("What it does"),
        required=False,
        max_length=operations.LONGEST_DESCRIPTION,
        widget=forms.Textarea({"class": "sk-input", "rows": "4"}),
    )
    max_quantity = WholeNumberField(
        label=gettext_lazy("Most seats at checkout"), initial="300", widget=text(6, inputmode="numeric")
    )
    expired_days = WholeNumberField(
        label=gettext_lazy("Days of Expired"),
        initial="30",
        widget=text(4, inputmode="numeric"),
        help_text=gettext_lazy("People keep access, all can still be renewed."),
    )
    disabled_days = WholeNumberField(
        label=gettext_lazy("Days of Disabled"),
        initial="90",
        widget=text(4, inputmode="numeric"),
        help_text=gettext_lazy("Nobody has access, it can be brought back."),
    )
    database_mb = WholeNumberField(
        label=gettext_lazy("Database, MB"), initial="0", widget=text(6, inputmode="numeric")
    )
    file_mb = WholeNumberField(
        label=gettext_lazy("Files, MB"), initial="0", widget=text(6, inputmode="numeric")
    )
    log_mb = WholeNumberField(
        label=gettext_lazy("Logs, MB"), initial="0", widget=text(6, inputmode="numeric")
    )
    self_service = checkbox(gettext_lazy("People may buy it themselves"))
    trial_without_card = checkbox(gettext_lazy("It has a trial without a card"))
    guests_may_hold = checkbox(gettext_lazy("Guests may hold licenses of it"))

    def clean_description(self) -> str:
        """Lines as they are stored: browsers send each with a carriage return."""
        text: str = self.cleaned_data["description"]
        return text.replace("\r\n", "\n")

    @property
    def said(self) -> operations.Said:
        return operations.Said(**{name: self.cleaned_data[name] for name in operations.Said.__slots__})


class NewForm(ProductForm):
    """A product with its ids."""

    key = LineField(
        label=gettext_lazy("Product id"),
        max_length=40,
        widget=text(40, autocapitalize="none"),
        help_text=gettext_lazy("On the wire, and for ever: letters, digits and hyphens."),
    )
    slug = LineField(
        label=gettext_lazy("Address"),
        max_length=100,
        widget=text(100, autocapitalize="none"),
        help_text=gettext_lazy("After /products/: small letters, digits and hyphens."),
    )
    sku_id = LineField(label=gettext_lazy("SKU id"), max_length=36, widget=text(36, autocapitalize="none"))
    sku_part_number = LineField(label=gettext_lazy("SKU part number"), max_length=80, widget=text(80))


class LinkForm(forms.Form):
    """A page beside the product; one whose title and address are empty is none."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"), choices=list(LINK_KINDS.items()), widget=forms.Select(SELECT)
    )
    title = LineField(
        label=gettext_lazy("Title"),
        required=False,
        max_length=operations.LONGEST_LINK_TEXT,
        widget=text(operations.LONGEST_LINK_TEXT),
    )
    note = LineField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=operations.LONGEST_LINK_TEXT,
        widget=text(operations.LONGEST_LINK_TEXT),
    )
    url = LineField(
        label=gettext_lazy("Address"),
        required=False,
        max_length=LONGEST_URL,
        widget=text(LONGEST_URL, inputmode="url"),
    )

    @property
    def link(self) -> operations.Link | None:
        said = self.cleaned_data
        if not said.get("title") and not said.get("url"):
            return None
        return operations.Link(said["kind"], said["title"], said["note"], said["url"])


LinkForms = forms.formset_factory(
    LinkForm, extra=EMPTY_LINKS, max_num=operations.MOST_LINKS, validate_max=True
)


class FormerIdForm(forms.Form):
    former_key = LineField(
        label=gettext_lazy("Former id"), max_length=40, widget=text(40, autocapitalize="none")
    )


class SiteForm(forms.Form):
    """Where a product runs."""

    name = LineField(
        label=gettext_lazy("Name there"),
        max_length=product_sites.LONGEST_NAME,
        widget=text(product_sites.LONGEST_NAME),
        help_text=gettext_lazy("After a purchase the button says: Back to this."),
    )
    origin = LineField(
        label=gettext_lazy("Origin"),
        max_length=LONGEST_ORIGIN,
        widget=text(LONGEST_ORIGIN, inputmode="url", autocapitalize="none"),
        help_text=gettext_lazy("Such as https://app.example.com, without a path."),
    )
    path = LineField(
        label=gettext_lazy("Path"),
        max_length=LONGEST_PATH,
        initial="/",
        widget=text(LONGEST_PATH, autocapitalize="none"),
        help_text=gettext_lazy("Purchases go back to addresses that begin with it."),
    )


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    """Every product, by name."""
    show = request.GET.get("show", "")
    query = request.GET.get("q", "").replace("\0", "").strip()[:100]
    if show not in SHOWN:
        raise Malformed(_("There is no such filter."), field="show")
    found = products_page(show=show, query=query, cursor=request.GET.get("page", ""))
    kept = {"q": query, "show": show}
    context = {
        "title": _("Catalogue"),
        "rows": found.rows,
        "chips": [
            {"label": label, "address": _address(kept | {"show": code}), "is_current": code == show}
            for code, label in CHIPS.items()
        ],
        "query": query,
        "show": show,
        "next": _address(kept | {"page": found.next}) if found.next else "",
        "back": _address(kept | {"page": found.back}) if found.back else "",
    }
    return render_operator_page(request, "commerce/operator_catalogue.html", context)


def _address(values: dict[str, str]) -> str:
    return f"?{urlencode({name: value for name, value in values.items() if value})}"


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Add a product, with three plans and without prices."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form, status, problem = NewForm(request.POST or None), int(HTTPStatus.OK), ""
    if request.method == "POST":
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if form.is_valid():
            ids = operations.Ids(**{name: form.cleaned_data[name] for name in operations.Ids.__slots__})
            try:
                made = operations.add_product(staff=actor, ids=ids, said=form.said, at=now())
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = refused.status, at_its_field(form, refused)
            else:
                messages.success(request, _("Added. It has no price yet: add one for each market."))
                return _to(made.slug)
    context = {
        "title": _("Add a product"),
        "crumbs": [(_("Catalogue"), reverse("operator:catalogue"))],
        "form": form,
        "categories": _categories(),
        "problem": problem or (_("Nothing was added.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_product_new.html", context, status=status)


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product. POST: edit it, withdraw it, offer it again, say what it was called, or where it runs."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = _found(slug)
    form, id_form = ProductForm(initial=_initial(found)), FormerIdForm()
    site_form = SiteForm(auto_id=SITE_ID)
    status, problem = int(HTTPStatus.OK), ""
    if request.method == "POST":
        action = request.POST.get("action", "")
        shown: forms.Form = form
        if action == "edit":
            shown = form = ProductForm(request.POST)
        elif action == "add-id":
            shown = id_form = FormerIdForm(request.POST)
        elif action == "add-site":
            shown = site_form = SiteForm(request.POST, auto_id=SITE_ID)
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if not shown.is_bound or shown.is_valid():
            try:
                said = _do(request, actor, found, action, shown)
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = refused.status, at_its_field(shown, refused)
            else:
                messages.success(request, said)
                return _to(slug)
    forms_of = {"form": form, "id_form": id_form, "site_form": site_form}
    return _page(request, _found(slug), forms_of, problem, status)


@access.requires(sees=StaffCapability.OPERATE_CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def links(request: HttpRequest, slug: str) -> HttpResponse:
    """The pages that stand beside a product. POST: those that are filled in, in their order, and no others."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = _found(slug)
    forms_, status, problem = LinkForms(initial=found.links), int(HTTPStatus.OK), ""
    if request.method == "POST":
        forms_, status = LinkForms(request.POST), HTTPStatus.UNPROCESSABLE_ENTITY
        problem = _("Nothing was changed.")
        if forms_.is_valid():
            try:
                is_changed = operations.edit_links(
                    staff=actor,
                    product_id=found.pk,
                    links=[form.link for form in forms_ if form.link],
                    seen=request.POST.get("version", ""),
                    at=now(),
                )
            except NotVisible:
                raise
            except DomainError as refused:
                status, problem = (
                    refused.status,
                    _at_its_link([form for form in forms_ if form.link], refused) or problem,
                )
            else:
                messages.success(request, _("Saved.") if is_changed else _("Nothing was changed."))
                return _to(slug)
    context = {
        "title": _("Links"),
        "crumbs": [
            (_("Catalogue"), reverse("operator:catalogue")),
            (found.name, reverse("operator:product", args=[slug])),
        ],
        "product": found,
        "version": operations.version_of_links(_found(slug).links),
        "forms": forms_,
        "problem": problem,
    }
    return render_operator_page(request, "commerce/operator_links.html", context, status=status)


def _at_its_link(filled: Sequence[forms.Form], refused: DomainError) -> str:
    """Put a refusal at the field of the filled row that it is about; else say it above."""
    _links, _dot, rest = getattr(refused, "field", "").partition(".")
    place, _dot, field = rest.partition(".")
    if not place.isdigit() or int(place) >= len(filled):
        return str(refused)
    filled[int(place)].add_error(field, str(refused))
    return ""


def _page(
    request: HttpRequest, found: Product, forms_of: dict[str, forms.Form], problem: str, status: int
) -> HttpResponse:
    priced = priced_markets(found)
    plans = {(plan.term_months, plan.billing_months): plan for plan in found.plans.all()}
    # After a conflict what was typed stays, with the version that holds now: the next click is an informed one.
    context = {
        "title": found.name,
        "crumbs": [(_("Catalogue"), reverse("operator:catalogue"))],
        "product": found,
        "version": operations.said_of(found).version,
        **forms_of,
        "sites": list(found.sites.order_by("origin", "path")),
        "former": [alias.former_key for alias in found.aliases.order_by("former_key")],
        "plans": [plans[terms] for terms in PLAN_ORDER if terms in plans],
        "markets": [{"market": market, "has_price": market.code in priced} for market in markets()],
        "categories": _categories(),
        "problem": problem or (_("Nothing was changed.") if status != HTTPStatus.OK else ""),
    }
    return render_operator_page(request, "commerce/operator_product.html", context, status=status)


def _do(request: HttpRequest, actor: Actor, found: Product, action: str, form: forms.Form) -> str:
    at = now()
    match action:
        case "edit":
            assert isinstance(form, ProductForm)
            seen = request.POST.get("version", "")
            is_changed = operations.edit_product(
                staff=actor, product_id=found.pk, said=form.said, seen=seen, at=at
            )
            return _("Saved.") if is_changed else _("Nothing was changed.")
        case "withdraw":
            operations.withdraw_product(staff=actor, product_id=found.pk, at=at)
            return _("Withdrawn: nothing new is sold of it. What runs goes on.")
        case "offer-again":
            operations.offer_product_again(staff=actor, product_id=found.pk, at=at)
            return _("It is sold again.")
        case "add-id":
            key = form.cleaned_data["former_key"]
            operations.add_former_id(staff=actor, product_id=found.pk, former_key=key, at=at)
            return _("%(id)s means this product from now on.") % {"id": key}
        case "remove-id":
            key = request.POST.get("former_key", "")[:40].replace("\0", "")
            operations.remove_former_id(staff=actor, product_id=found.pk, former_key=key, at=at)
            return _("%(id)s means nothing from now on.") % {"id": key}
        case "add-site":
            site = product_sites.add_site(staff=actor, product_id=found.pk, at=at, **form.cleaned_data)
            return _("Added. Pages of %(origin)s may draw its prompts.") % {"origin": site.origin}
        case "remove-site":
            number = request.POST.get("site", "")
            is_number = number.isascii() and number.isdigit() and len(number) < 18
            site_id = int(number) if is_number else -1
            product_sites.remove_site(staff=actor, product_id=found.pk, site_id=site_id, at=at)
            return _("Removed.")
    raise Malformed(_("Choose what to do."), field="action")


def _found(slug: str) -> Product:
    found = Product.objects.prefetch_related("plans").filter(slug=slug).first()
    if found is None:
        raise NotVisible
    return found


def _initial(product: Product) -> dict[str, Any]:
    said = operations.said_of(product)
    return {name: getattr(said, name) for name in operations.Said.__slots__}


def _categories() -> list[str]:
    return list(Product.objects.order_by("category").values_list("category", flat=True).distinct())


def _to(slug: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("operator:product", args=[slug]), status=HTTPStatus.SEE_OTHER)
