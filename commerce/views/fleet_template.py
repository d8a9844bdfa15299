"""A partner's templates of purchase policies: made from nothing or from a customer, changed, deleted (product §12)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.operations.fleet import look_at_customers
from commerce.queries.catalogue import markets
from commerce.queries.fleet import Catalogue, Served, catalogue, customers_served
from commerce.views.fleet_wording import crumbs, has_second_factor, name_of, over_customers
from commerce.views.policy_form import Field
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible, Text
from config.kit.money import digits, parse_minor
from directory.permissions import Capability
from policies import drift, rule
from policies.drift import said_by
from policies.models import Basis, NewProducts, OfferType, PolicyValue
from policies.operations.templates import (
    LONGEST_NAME,
    TemplateMoved,
    change_template,
    create_template,
    delete_template,
)
from policies.queries.templates import changes_templates, sees_templates, template_for

SEE_OTHER = HTTPStatus.SEE_OTHER
# A target of which the template says nothing.
LEFT = "-"


@access.signed_in
@over_customers
def template_new(request: HttpRequest) -> HttpResponse:
    """Name a template, made from nothing or from what a customer's policy says now."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    served = _customers_of_editor(actor, at)
    readable = [each for each in served if each.actor.may(Capability.READ_POLICY)]
    errors: dict[str, str] = {}
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        try:
            said = _copied(request, actor, readable, at)
            made = create_template(actor=actor, name=request.POST.get("name", ""), said=said, at=at)
        except Malformed as wrong:
            errors[wrong.field], status = str(wrong), HTTPStatus.UNPROCESSABLE_ENTITY
            problem = str(wrong)
        except Conflict as taken:
            problem, status = str(taken), HTTPStatus.CONFLICT
        else:
            messages.success(
                request, _("The template is made. It changes nobody's policy until you apply it.")
            )
            return HttpResponseRedirect(reverse("portal:fleet-edit", args=[made.key]), status=SEE_OTHER)
    context = {
        "title": _("Make a template"),
        "crumbs": crumbs((_("Policy drift"), reverse("portal:fleet"))),
        "problem": problem,
        "errors": errors,
        "name": request.POST.get("name", "")[:LONGEST_NAME],
        "chosen": request.POST.get("from", ""),
        "customers": readable,
        "longest": LONGEST_NAME,
    }
    return render_page(request, "commerce/fleet_new.html", context, status=status)


def _copied(
    request: HttpRequest, actor: Actor, readable: Sequence[Served], at: datetime
) -> Mapping[str, Any]:
    """What the chosen customer's policy says; nothing when none was chosen.

    :raises Malformed: no such customer, or one that cannot be read now.
    """
    asked = request.POST.get("from", "")
    if not asked:
        return {}
    chosen = [each for each in readable if str(each.actor.tenant_id) == asked]
    products = catalogue()
    found = look_at_customers(
        actor=actor,
        customers=chosen,
        said={},
        products=products,
        has_second_factor=has_second_factor(request),
        at=at,
    )
    if not found or found[0].theirs is None:
        raise Malformed(_("The policy of this customer cannot be read now."), field="from")
    return said_by(found[0].theirs, products.subjects)


@access.signed_in
@over_customers
def template_edit(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """What a template says of each target; the rest is left to each customer."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    _customers_of_editor(actor, at)
    template = template_for(actor, key)
    products = catalogue()
    form = _form_of(products.said_in(template), products)
    problem, status = "", HTTPStatus.OK
    errors: dict[str, str] = {}
    name = template.name
    if request.method == "POST":
        name = request.POST.get("name", "")[: LONGEST_NAME + 1]
        form = _typed(request, form)
        try:
            changed = change_template(
                actor=actor,
                key=key,
                seen=_version(request),
                name=name,
                said=_said_in(form),
                at=at,
            )
        except Malformed as wrong:
            problem, status = (
                _("Something is missing or wrong. Nothing was saved."),
                HTTPStatus.UNPROCESSABLE_ENTITY,
            )
            errors[wrong.field] = str(wrong)
        except TemplateMoved as moved:
            # What holds now, not what was typed over something else.
            problem, status = str(moved), HTTPStatus.CONFLICT
            name, form = template.name, _form_of(products.said_in(template), products)
        except Conflict as taken:
            problem, status = str(taken), HTTPStatus.CONFLICT
        else:
            messages.success(
                request,
                _("Saved as version %(version)d. Nobody's policy has changed.")
                % {"version": changed.version},
            )
            return HttpResponseRedirect(reverse("portal:fleet-template", args=[key]), status=SEE_OTHER)
    context = {
        "title": _("Edit %(template)s") % {"template": template.name},
        "crumbs": crumbs((_("Policy drift"), reverse("portal:fleet-template", args=[key]))),
        "problem": problem,
        "errors": errors,
        "template": template,
        "name": name,
        "version": request.POST.get("version", "") if errors else template.version,
        "form": form,
        "longest": LONGEST_NAME,
        "may_change": True,
    }
    return render_page(request, "commerce/fleet_edit.html", context, status=status)


@access.signed_in
@over_customers
def template_delete(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """What happens when a template is deleted, and the button that does it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    _customers_of_editor(actor, at)
    template = template_for(actor, key)
    if request.method == "POST":
        delete_template(actor=actor, key=key, at=at)
        told = _("%(template)s is deleted. What it was applied to stays as it is.")
        messages.success(request, told % {"template": template.name})
        return HttpResponseRedirect(reverse("portal:fleet"), status=SEE_OTHER)
    context = {
        "title": _("Delete %(template)s") % {"template": template.name},
        "crumbs": crumbs((_("Policy drift"), reverse("portal:fleet-template", args=[key]))),
        "template": template,
    }
    return render_page(request, "commerce/fleet_delete.html", context)


def _customers_of_editor(actor: Actor, at: datetime) -> Sequence[Served]:
    """The person's customers. :raises NotVisible: they read no policy. :raises NotAllowed: they change none."""
    served = customers_served(actor, at=at)
    actors = [each.actor for each in served]
    if not sees_templates(actors):
        raise NotVisible
    if not changes_templates(actors):
        raise NotAllowed
    return served


# --- The form -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LimitField:
    """A limit of the form: what it counts (`LEFT`: not said; empty: no limit), and the sums as typed, by currency."""

    name: str
    label: str
    field: Field
    amounts: Mapping[str, str]

    @property
    def inputs(self) -> list[tuple[str, str]]:
        return sorted(self.amounts.items())


@dataclass(frozen=True, slots=True)
class Form:
    """Every target that a template can speak of."""

    default: Field
    new_products: Field
    categories: Sequence[Field]
    products: Sequence[Field]
    offers: Sequence[Field]
    limits: Sequence[LimitField]

    @property
    def fields(self) -> list[Field]:
        return [self.default, self.new_products, *self.categories, *self.products, *self.offers]


def _form_of(said: Mapping[str, Any], products: Catalogue) -> Form:
    left: tuple[str, Text] = (LEFT, _("Not in the template"))
    inherited: tuple[str, Text] = ("", _("As inherited"))
    values = list(PolicyValue.choices)
    without_trials = [each for each in values if each[0] != rule.TRIALS_ONLY]

    def field(name: str, *options: tuple[str, Text]) -> Field:
        return Field(name, name_of(name, products), said.get(name, LEFT), [left, *options])

    product_fields = []
    for product in products.products:
        name = drift.PRODUCT + product.key
        has_trial = product.trial_without_card or said.get(name) == rule.TRIALS_ONLY
        product_fields.append(field(name, inherited, *(values if has_trial else without_trials)))
    currencies = {market.currency for market in markets()}
    return Form(
        default=field(drift.DEFAULT, *values),
        new_products=field(drift.NEW_PRODUCTS, ("", _("As every product")), *NewProducts.choices),
        categories=[
            field(drift.CATEGORY + name, inherited, *values)
            for name in sorted({product.category for product in products.products})
        ],
        products=product_fields,
        offers=[field(drift.OFFER + kind, *without_trials) for kind in OfferType],
        limits=[_limit_field(name, said.get(name), currencies, products) for name in drift.LIMITS],
    )


def _limit_field(
    name: str, said: Mapping[str, Any] | None, currencies: set[str], products: Catalogue
) -> LimitField:
    amounts = said["amounts"] if said else {}
    options: list[tuple[str, Text]] = [(LEFT, _("Not in the template")), ("", _("No limit")), *Basis.choices]
    return LimitField(
        name=name,
        label=name_of(name, products),
        field=Field(name, name_of(name, products), said["basis"] if said else LEFT, options),
        amounts={
            currency: str(Decimal(amounts[currency]).scaleb(-digits(currency))) if currency in amounts else ""
            for currency in currencies | set(amounts)
        },
    )


def _typed(request: HttpRequest, form: Form) -> Form:
    """The form with what was posted."""

    def posted(field: Field) -> Field:
        return Field(field.name, field.label, request.POST.get(field.name, field.value)[:40], field.options)

    return Form(
        default=posted(form.default),
        new_products=posted(form.new_products),
        categories=[posted(each) for each in form.categories],
        products=[posted(each) for each in form.products],
        offers=[posted(each) for each in form.offers],
        limits=[
            LimitField(
                each.name,
                each.label,
                posted(each.field),
                {
                    currency: request.POST.get(f"{each.name}:{currency}", amount)[:40]
                    for currency, amount in each.amounts.items()
                },
            )
            for each in form.limits
        ],
    )


def _said_in(form: Form) -> dict[str, Any]:
    """What the form says.

    :raises Malformed: a value that cannot be chosen, or a sum that is none; `field` names the target.
    """
    for field in (*form.fields, *(each.field for each in form.limits)):
        if field.value not in dict(field.options):
            raise Malformed(_("That is no value of this policy."), field=field.name)
    said: dict[str, Any] = {field.name: field.value for field in form.fields if field.value != LEFT}
    for limit in form.limits:
        if limit.field.value == LEFT:
            continue
        amounts = {}
        for currency, typed in limit.amounts.items():
            if typed.strip() and limit.field.value:
                minor = parse_minor(typed, currency)
                if minor is None:
                    raise Malformed(_("Enter an amount such as 50 or 49.90."), field=limit.name)
                amounts[currency] = minor
        said[limit.name] = {"basis": limit.field.value, "amounts": amounts}
    return said


def _version(request: HttpRequest) -> int:
    text = request.POST.get("version", "")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Malformed(_("Open the template again before saving."), field="name")
    return int(text)
