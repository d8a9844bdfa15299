"""The purchase policy's pages: what holds and why, several changes at once after a look at whom they affect (product §9).

The form never saves by itself. It leads to a page that says what changes and who is affected, and whose button saves
exactly what that page shows, or nothing where somebody changed it meanwhile.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from commerce.models import Product
from commerce.queries.catalogue import subject_of
from commerce.queries.eligibility import eligibility_for
from commerce.queries.policy import Affected, Row, Table, affected_by, table_of, undecided, use_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible, Text
from config.kit.keyset import paginate
from config.kit.money import digits, format_money
from directory.actors import build_actor
from directory.models import Group, Tenant, User
from directory.permissions import Capability
from policies import rule
from policies.models import Basis, GroupPolicy, NewProducts, OfferType, PolicyChange, PolicyValue
from policies.operations import policies as operations
from policies.operations.policies import Change
from policies.queries.policies import contact_text, offer_type_values, policy_of
from policies.queries.requests import request_door
from policies.rule import Effective, Rules
from policies.spending import Limit

SEE_OTHER = HTTPStatus.SEE_OTHER
# How many of the latest changes the main page shows.
LATEST = 5
WITHOUT_SELF_SERVICE = (Tenant.Kind.GOVERNMENT, Tenant.Kind.EDUCATION)

ORIGINS: dict[str, Text] = {
    "product": gettext_lazy("Set here"),
    "category": gettext_lazy("Category"),
    "new_products": gettext_lazy("New products"),
    "default": gettext_lazy("Default for every product"),
}
LABELS: dict[str, Text] = dict([*PolicyValue.choices, (rule.ASK, NewProducts.ASK.label)])


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


# --- The policy -----------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.READ_POLICY)
def policy(request: HttpRequest) -> HttpResponse:
    """GET: what holds. POST: a page with whom the changes affect; from there, save."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if _is_without_self_service(request):
        return render_page(
            request, "commerce/policy_none.html", {"title": _("Purchase policy"), "crumbs": _crumbs()}
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
    context: dict[str, Any] = {
        "title": _("Purchase policy"),
        "crumbs": _crumbs(),
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
        ],
        "offers": [fields[f"offer:{kind}"] for kind in OfferType],
        "undecided": [row.product for row in undecided(table)],
        "limits": [
            (_("Most that may be spent"), limit_text(limits.cap, limits.currency)),
            (_("Ask an admin above"), limit_text(limits.threshold, limits.currency)),
        ],
        "history": _lines_of(actor, PolicyChange.objects.visible_to(actor).order_by("-id")[:LATEST], tenant),
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


def label_of(found: Effective) -> str:
    """A value in people's words."""
    return str(LABELS[rule.ASK if found.is_undecided else found.value])


def origin_of(row: Row) -> str:
    """Where a product's value comes from, in words."""
    origin = row.effective.origin
    return f"{ORIGINS[origin]} {row.product.category}" if origin == "category" else str(ORIGINS[origin])


def limit_text(limit: Limit | None, currency: str) -> str:
    if limit is None:
        return _("No limit")
    told = _("%(sum)s a purchase") if limit.basis == "purchase" else _("%(sum)s a person and month")
    return told % {"sum": format_money(limit.minor, currency)}


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
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
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
    messages.success(request, _saved(len(made)))
    return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)


def _saved(count: int) -> str:
    told = ngettext("%(count)d change holds from now on.", "%(count)d changes hold from now on.", count)
    return told % {"count": count}


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


# --- One product, with its groups -----------------------------------------------------------------------------------


@access.requires(sees=Capability.READ_POLICY)
def policy_product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product's value, its groups' rules, and its history. POST: set or end a group's rule."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None or _is_without_self_service(request):
        raise NotVisible
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        if not actor.may(Capability.CHANGE_POLICY):
            raise NotAllowed
        try:
            return _save_group(request, actor, product)
        except (Malformed, Conflict, NotVisible) as refused:
            problem = str(refused) if not isinstance(refused, NotVisible) else _("Choose a group.")
            status = HTTPStatus(refused.status if isinstance(refused, Conflict) else 422)
    return _product_page(request, actor, product, problem=problem, status=status)


def _save_group(request: HttpRequest, actor: Actor, product: Product) -> HttpResponse:
    """:raises NotVisible: no such group. :raises Malformed: no such value or level."""
    group, level = request.POST.get("group", ""), request.POST.get("level", "")
    if not (group.isascii() and group.isdigit() and len(group) < 19):
        raise NotVisible
    keys = {"product": subject_of(product).keys, "category": [product.category], "tenant": []}.get(level)
    if keys is None:
        raise Malformed(_("Choose for which products the rule holds."), field="level")
    names = {"product": product.name, "category": product.category}
    made = operations.change_policies(
        actor=actor,
        changes=[
            operations.of_group(
                int(group),
                request.POST.get("value") or None,
                level=level,
                keys=keys,
                name=names.get(level, ""),
            )
        ],
        why=request.POST.get("why", ""),
        at=now(),
    )
    messages.success(request, _saved(len(made)))
    return HttpResponseRedirect(reverse("portal:policy-product", args=[product.slug]), status=SEE_OTHER)


def _product_page(
    request: HttpRequest, actor: Actor, product: Product, *, problem: str, status: int
) -> HttpResponse:
    table = table_of(actor)
    row = next(row for row in table.rows if row.product.pk == product.pk)
    tenant = request.tenant  # type: ignore[attr-defined]
    rows = (
        GroupPolicy.objects.visible_to(actor).select_related("group").order_by("level", "group__name", "id")
    )
    here = [
        each
        for each in rows
        if (each.level == "product" and each.key in row.subject.keys)
        or (each.level == "category" and each.key == product.category)
        or each.level == "tenant"
    ]
    levels = {"product": product.name, "category": product.category, "tenant": _("Every product")}
    changes = PolicyChange.objects.visible_to(actor).filter(target_key__in=row.subject.keys).order_by("-id")
    context = {
        "title": product.name,
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "product": product,
        "value": label_of(row.effective),
        "origin": origin_of(row),
        "inherited": label_of(row.inherited),
        "use": use_of(actor, product, now()),
        "rules": [(each, levels[each.level], LABELS[each.value]) for each in here],
        "levels": list(levels.items()),
        "groups": list(Group.objects.visible_to(actor).order_by("name")),
        "values": [
            each for each in PolicyValue.choices if product.trial_without_card or each[0] != rule.TRIALS_ONLY
        ],
        "typed": request.POST,
        "history": _lines_of(actor, changes[:20], tenant),
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_product.html", context, status=status)


# --- Limits ---------------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
def policy_spending(request: HttpRequest) -> HttpResponse:
    """The cap and the threshold: their sums without tax, and what they count."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant = request.tenant  # type: ignore[attr-defined]
    if _is_without_self_service(request):
        raise NotVisible
    limits = policy_of(actor=actor, product_keys=()).limits
    currency = tenant.currency
    values = {
        "cap": _typed_amount(limits.cap, currency),
        "cap_basis": limits.cap.basis if limits.cap else Basis.PERSON_MONTH,
        "threshold": _typed_amount(limits.threshold, currency),
        "threshold_basis": limits.threshold.basis if limits.threshold else Basis.PURCHASE,
    }
    errors: dict[str, str] = {}
    if request.method == "POST":
        values |= {name: request.POST.get(name, "")[:40] for name in values}
        why = request.POST.get("why", "")
        try:
            changes = [
                operations.spend_cap(_limit_of(values, "cap", currency), currency=currency),
                operations.approval_threshold(_limit_of(values, "threshold", currency), currency=currency),
            ]
            made = operations.change_policies(actor=actor, changes=changes, why=why, at=now())
        except Malformed as wrong:
            errors[wrong.field] = str(wrong)
        else:
            messages.success(request, _saved(len(made)) if made else _("The limits are as they were."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    context = {
        "title": _("Spending"),
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": _("Something is missing or wrong. Nothing was saved. The fields say what.")
        if errors
        else "",
        "values": values,
        "errors": errors,
        "bases": Basis.choices,
        "currency": currency,
        "why": request.POST.get("why", "")[: operations.WHY_LENGTH],
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "commerce/policy_spending.html", context, status=status)


def _typed_amount(limit: Limit | None, currency: str) -> str:
    return "" if limit is None else str(Decimal(limit.minor).scaleb(-digits(currency)))


def _limit_of(values: dict[str, str], name: str, currency: str) -> Limit | None:
    """The sum as typed, in minor units; a comma is a decimal sign too.

    :raises Malformed: no amount of this currency.
    """
    typed = values[name].strip().replace(",", ".")
    if not typed:
        return None
    wrong = Malformed(_("Enter an amount such as 50 or 49.90."), field=name)
    try:
        minor = Decimal(typed).scaleb(digits(currency))
    except InvalidOperation:
        raise wrong from None
    if not minor.is_finite() or minor != minor.to_integral_value() or not 0 <= minor <= operations.MOST_MINOR:
        raise wrong
    return Limit(int(minor), values[f"{name}_basis"])  # type: ignore[arg-type]


# --- History --------------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.READ_POLICY)
def policy_history(request: HttpRequest) -> HttpResponse:
    """Every change, the latest first, 50 a page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant = request.tenant  # type: ignore[attr-defined]
    page = paginate(
        PolicyChange.objects.visible_to(actor),
        order=["-id"],
        cursor=request.GET.get("page", "")[:200],
        key=lambda row: [row.pk],
    )
    context = {
        "title": _("History"),
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "history": _lines_of(actor, page.rows, tenant),
        "next": f"?page={page.next}" if page.next else "",
        "back": f"?page={page.back}" if page.back else "",
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_history.html", context)


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
def policy_undo(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what undoing one change sets back. POST: set it back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    change = PolicyChange.objects.visible_to(actor).filter(key=key).first()
    if change is None:
        raise NotVisible
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        try:
            operations.undo_change(actor=actor, key=key, at=now())
        except Conflict as refused:
            problem, status = str(refused), HTTPStatus.CONFLICT
        else:
            messages.success(request, _("The change is undone. What held before holds from now on."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    tenant = request.tenant  # type: ignore[attr-defined]
    context = {
        "title": _("Undo a change"),
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "line": _lines_of(actor, [change], tenant)[0],
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_undo.html", context, status=status)


def _lines_of(actor: Actor, changes: Any, tenant: Tenant) -> list[dict[str, Any]]:
    """Changes in words, with whether each can still be undone. Two queries."""
    rows = list(changes)
    undone = set(
        PolicyChange.objects.visible_to(actor)
        .filter(undoes__in=[row.pk for row in rows])
        .values_list("undoes_id", flat=True)
    )
    return [
        {
            "change": row,
            "what": what_changed(row),
            "before": stored_text(row, row.before),
            "after": stored_text(row, row.after),
            "is_undone": row.pk in undone,
        }
        for row in rows
    ]


def what_changed(change: PolicyChange) -> str:
    """What a change is about, in words."""
    name = change.target_label or change.target_key
    match change.target:
        case PolicyChange.Target.PRODUCT:
            return str(name)
        case PolicyChange.Target.CATEGORY:
            return _("Category %(name)s") % {"name": name}
        case PolicyChange.Target.OFFER_TYPE:
            return str(OfferType(change.target_key).label)
        case PolicyChange.Target.GROUP:
            return f"{change.group_name}, {name or _('every product')}"
    return str(PolicyChange.Target(change.target).label)


def stored_text(change: PolicyChange, stored: dict[str, Any]) -> str:
    """What was stored under a change's target, in words."""
    if change.target in (PolicyChange.Target.CAP, PolicyChange.Target.THRESHOLD):
        limit = None if stored["minor"] is None else Limit(stored["minor"], stored["basis"])
        return limit_text(limit, stored["currency"])
    if change.target == PolicyChange.Target.GROUP and stored["value"] is None:
        return _("no rule")
    return str(LABELS[stored["value"]]) if stored["value"] else _("as inherited")


# --- The IT contact text --------------------------------------------------------------------------------------------


@access.requires(sees=Capability.EDIT_CONTACT_TEXT)
def policy_contact(request: HttpRequest) -> HttpResponse:
    """The organization's own words for people who may not buy, with one link."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if _is_without_self_service(request):
        raise NotVisible
    saved = contact_text(actor=actor)
    text, url = saved.text, saved.url
    errors: dict[str, str] = {}
    if request.method == "POST":
        text, url = request.POST.get("text", ""), request.POST.get("url", "")
        try:
            operations.set_contact_text(actor=actor, text=text, url=url, at=now())
        except Malformed as wrong:
            errors[wrong.field] = str(wrong)
        else:
            messages.success(request, _("People who may not buy read this from now on."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    context = {
        "title": _("IT contact"),
        "crumbs": [*_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": _("Something is missing or wrong. Nothing was saved. The fields say what.")
        if errors
        else "",
        "errors": errors,
        "text": text,
        "url": url,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "commerce/policy_contact.html", context, status=status)


def _is_without_self_service(request: HttpRequest) -> bool:
    """Whether the organization is of a kind that has no self-service, so nothing to allow."""
    return request.tenant.kind in WITHOUT_SELF_SERVICE  # type: ignore[attr-defined]


def _crumbs() -> list[tuple[str, str]]:
    return [(_("Control"), "")]


__all__ = [
    "policy",
    "policy_contact",
    "policy_history",
    "policy_product",
    "policy_spending",
    "policy_undo",
]
