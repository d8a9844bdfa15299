"""The purchase policy's page: what holds and why, several changes at once after a look at whom they affect (product §9).

The form never saves by itself. It leads to a page that says what changes and who is affected, and whose button saves
exactly what that page shows, or nothing where somebody changed it meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from commerce.models import Product
from commerce.queries.eligibility import eligibility_for
from commerce.queries.policy import Affected, Row, Table, affected_by, table_of, undecided
from commerce.views.policy_wording import (
    LABELS,
    ORIGINS,
    control_crumbs,
    is_without_self_service,
    label_of,
    limit_text,
    lines_of,
    origin_of,
    saved_text,
)
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible, Text
from directory.actors import build_actor
from directory.models import User
from directory.permissions import Capability
from policies import rule
from policies.models import NewProducts, OfferType, PolicyChange, PolicyValue
from policies.operations import policies as operations
from policies.operations.policies import Change
from policies.queries.policies import contact_text, offer_type_values, policy_of
from policies.queries.requests import request_door
from policies.rule import Rules

SEE_OTHER = HTTPStatus.SEE_OTHER


# How many of the latest changes the page shows.
LATEST = 5


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the form: its name there, what is stored, and what can be chosen in its place."""

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, Text]]

    @property
    def id(self) -> str:
        return self.name.replace(":", "-").replace(" ", "-")

    @property
    def shown(self) -> str:
        return str(dict(self.options).get(self.value, ""))


@dataclass(frozen=True, slots=True)
class Chosen:
    """One field with another value than is stored."""

    field: Field
    value: str

    @property
    def shown(self) -> str:
        return str(dict(self.field.options)[self.value])


@access.requires(sees=Capability.READ_POLICY)
def policy(request: HttpRequest) -> HttpResponse:
    """GET: what holds. POST: a page with whom the changes affect; from there, save."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if is_without_self_service(request):
        return render_page(
            request, "commerce/policy_none.html", {"title": _("Purchase policy"), "crumbs": control_crumbs()}
        )
    if request.method == "POST":
        if not actor.may(Capability.CHANGE_POLICY):
            raise NotAllowed
        return (
            _save(request, actor, at) if request.POST.get("action") == "save" else _review(request, actor, at)
        )
    return _page(request, actor, at)


def _page(
    request: HttpRequest, actor: Actor, at: datetime, *, problem: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    table = table_of(actor)
    fields = _fields(actor, table)
    tenant = request.tenant  # type: ignore[attr-defined]
    limits = table.policy.limits
    typed, origin = request.GET.get("q", "")[:100].strip(), request.GET.get("origin", "")
    context: dict[str, Any] = {
        "title": _("Purchase policy"),
        "crumbs": control_crumbs(),
        "problem": problem,
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "may_write_contact": actor.may(Capability.EDIT_CONTACT_TEXT),
        "default": fields["default"],
        "new_products": fields["new_products"],
        "covered": sum(1 for row in table.rows if row.effective.origin == "default"),
        "categories": [fields[f"category:{name}"] for name in table.categories],
        "lines": [
            {
                "row": row,
                "product": row.product,
                "field": fields[f"product:{row.product.key}"],
                "origin": origin_of(row),
                "groups": [(each.group.name, LABELS[each.value]) for each in row.groups],
                "value": label_of(row.effective),
            }
            for row in table.rows
            if typed.casefold() in row.product.name.casefold()
            and (origin not in ORIGINS or row.effective.origin == origin)
        ],
        "q": typed,
        "origin": origin,
        "origins": list(ORIGINS.items()),
        "is_narrowed": bool(typed) or origin in ORIGINS,
        "offers": [fields[f"offer:{kind}"] for kind in OfferType],
        "undecided": [row.product for row in undecided(table)],
        "limits": [
            (_("Most that may be spent"), limit_text(limits.cap, limits.currency)),
            (_("Ask an admin above"), limit_text(limits.threshold, limits.currency)),
        ],
        "history": lines_of(actor, PolicyChange.objects.visible_to(actor).order_by("-id")[:LATEST], tenant),
        "contact": contact_text(actor=actor),
        "check": _check(request, actor, table, at),
        "products": [row.product for row in table.rows],
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy.html", context, status=status)


def _fields(actor: Actor, table: Table) -> dict[str, Field]:
    """Every value of the form by its name."""
    rules = table.policy.rules
    values = list(PolicyValue.choices)
    fields = [
        Field("default", _("Every product"), rules.default, values),
        Field(
            "new_products",
            _("Products that are new in the catalogue"),
            rules.new_products,
            [("", _("As every product")), *NewProducts.choices],
        ),
        *(
            Field(
                f"category:{name}", name, rules.categories.get(name, ""), [("", _("As inherited")), *values]
            )
            for name in table.categories
        ),
        *(
            Field(f"product:{row.product.key}", row.product.name, row.own, _options_of(row))
            for row in table.rows
        ),
        *(
            Field(
                f"offer:{kind}",
                str(kind.label),
                value,
                [each for each in values if each[0] != rule.TRIALS_ONLY],
            )
            for kind, value in offer_type_values(actor=actor).items()
        ),
    ]
    return {field.name: field for field in fields}


def _options_of(row: Row) -> list[tuple[str, Text]]:
    """As inherited, or one of the three; trials only where the product has such a trial, or it is set already."""
    has_trial = row.product.trial_without_card or row.own == rule.TRIALS_ONLY
    return [
        ("", _("As inherited: %(value)s") % {"value": label_of(row.inherited)}),
        *(each for each in PolicyValue.choices if has_trial or each[0] != rule.TRIALS_ONLY),
    ]


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
@require_safe
def policy_stop(request: HttpRequest, slug: str) -> HttpResponse:
    """What stops and for whom when nobody may buy one product any more: the page from which it is saved."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None or is_without_self_service(request):
        raise NotVisible
    table = table_of(actor)
    field = _fields(actor, table)[f"product:{product.key}"]
    if field.value == rule.DISABLED:
        messages.info(request, _("%(product)s is not allowed already.") % {"product": product.name})
        return HttpResponseRedirect(reverse("portal:policy-product", args=[slug]))
    return _confirm_page(request, actor, table, [Chosen(field, rule.DISABLED)], now())


# --- Saving ---------------------------------------------------------------------------------------------------------


def _chosen(request: HttpRequest, fields: dict[str, Field]) -> list[Chosen]:
    """What was posted and differs from what is stored.

    :raises Malformed: a value that cannot be chosen.
    """
    chosen = []
    for name, field in fields.items():
        value = request.POST.get(name, field.value)
        if value not in dict(field.options):
            raise Malformed(_("That is no value of this policy."), field=name)
        if value != field.value:
            chosen.append(Chosen(field, value))
    return chosen


def _review(request: HttpRequest, actor: Actor, at: datetime) -> HttpResponse:
    table = table_of(actor)
    try:
        chosen = _chosen(request, _fields(actor, table))
    except Malformed as wrong:
        return _page(request, actor, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if not chosen:
        told = _("Nothing is different from what holds now, so there is nothing to save.")
        return _page(request, actor, at, problem=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return _confirm_page(request, actor, table, chosen, at)


def _confirm_page(
    request: HttpRequest,
    actor: Actor,
    table: Table,
    chosen: Sequence[Chosen],
    at: datetime,
    *,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    affected = affected_by(actor, table, rules_with(table, chosen, at), at)
    context = {
        "title": _("Save the policy"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "chosen": chosen,
        "affected": [_affected_line(each) for each in affected],
        "stops": any(
            rule.STRICTNESS[each.after.value] > rule.STRICTNESS[each.before.value] for each in affected
        ),
        "count": len(chosen),
        "why": request.POST.get("why", "")[: operations.WHY_LENGTH],
    }
    return render_page(request, "commerce/policy_confirm.html", context, status=status)


def _affected_line(each: Affected) -> dict[str, Any]:
    return {
        "product": each.product,
        "before": label_of(each.before),
        "after": label_of(each.after),
        "use": each.use,
        "is_stricter": rule.STRICTNESS[each.after.value] > rule.STRICTNESS[each.before.value],
    }


def rules_with(table: Table, chosen: Sequence[Chosen], at: datetime) -> Rules:
    """The rules as they would be."""
    rules = table.policy.rules
    categories, products = dict(rules.categories), dict(rules.products)
    keys = {row.product.key: row.subject.keys for row in table.rows}
    for each in chosen:
        kind, _colon, key = each.field.name.partition(":")
        if kind == "default":
            rules = replace(rules, default=each.value)
        elif kind == "new_products":
            rules = replace(rules, new_products=each.value, new_since=rules.new_since or at)
        elif kind == "category":
            categories.pop(key, None)
            categories |= {key: each.value} if each.value else {}
        elif kind == "product":
            for former in keys[key]:
                products.pop(former, None)
            products |= {key: each.value} if each.value else {}
    return replace(rules, categories=categories, products=products)


def _save(request: HttpRequest, actor: Actor, at: datetime) -> HttpResponse:
    """Save what the confirmation showed; where something moved, the page again with what holds now."""
    table = table_of(actor)
    fields = _fields(actor, table)
    try:
        chosen = _chosen(request, fields)
        changes = [change_of(each, table, request.POST.get(f"was:{each.field.name}")) for each in chosen]
        made = operations.change_policies(
            actor=actor, changes=changes, why=request.POST.get("why", ""), at=at
        )
    except Malformed as wrong:
        if wrong.field == "why":
            return _confirm_page(
                request, actor, table, chosen, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY
            )
        return _page(request, actor, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except Conflict as moved:
        return _page(request, actor, at, problem=str(moved), status=HTTPStatus.CONFLICT)
    if not made:
        told = _("Nothing is different from what holds now, so there is nothing to save.")
        return _page(request, actor, at, problem=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    messages.success(request, saved_text(len(made)))
    return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)


def change_of(chosen: Chosen, table: Table, was: str | None) -> Change:
    """The change of one field; `was`: the value that the page showed.

    :raises Malformed: the page did not say it.
    """
    if was is None:
        raise Malformed(_("Look at the changes again before saving."), field=chosen.field.name)
    kind, _colon, key = chosen.field.name.partition(":")
    value, seen = chosen.value or None, {"value": was or None}
    match kind:
        case "default":
            return operations.default_for_all(chosen.value, seen=seen)
        case "new_products":
            return operations.new_products(chosen.value, seen={"value": was})
        case "category":
            return operations.of_category(key, value, seen=seen)
        case "offer":
            return operations.of_offer_type(key, chosen.value, seen=seen)
    row = next(row for row in table.rows if row.product.key == key)
    return operations.of_product(row.subject.keys, value, name=row.product.name, seen=seen)


# --- Check a person -------------------------------------------------------------------------------------------------


def _check(request: HttpRequest, actor: Actor, table: Table, at: datetime) -> dict[str, Any]:
    """Who was asked about: Buy, or refused with all reasons; the decision that the person's own page makes."""
    typed = request.GET.get("person", "")[:254].strip()
    slug = request.GET.get("product", "")
    check: dict[str, Any] = {"person": typed, "slug": slug, "is_asked": bool(typed and slug)}
    if not check["is_asked"]:
        return check
    user = (
        User.objects.visible_to(actor)
        .filter(email__iexact=typed.replace("\0", ""))
        .exclude(status="deleted")
        .first()
    )
    row = next((row for row in table.rows if row.product.slug == slug), None)
    if user is None or row is None:
        return check | {
            "problem": _("Nobody here has this address.") if user is None else _("Choose a product.")
        }
    buyer = build_actor(user, acting_tenant_id=user.tenant_id, at=at)
    assert buyer is not None, "everybody may act at home"
    rules = policy_of(actor=actor, user_id=user.pk, product_keys=row.subject.keys).rules
    found = rule.effective(rules, row.subject)
    return check | {
        "user": user,
        "product": row.product,
        "decision": eligibility_for(actor=buyer, product=row.product, at=at),
        "requests": user.is_active and request_door(actor=buyer).is_open,
        "trial": eligibility_for(actor=buyer, product=row.product, at=at, wanted="free_trial")
        if row.product.trial_without_card
        else None,
        "value": label_of(found),
        "origin": str(ORIGINS[found.origin]),
        "group": found.group,
    }
