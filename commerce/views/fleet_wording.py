"""A template beside a customer's policy in people's words (product §12)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.queries.fleet import Catalogue, Compared
from commerce.views.policy_wording import LABELS, ORIGINS, label_of, limit_text
from config.kit.access import View
from config.kit.actors import Actor
from config.kit.errors import NotVisible, Text
from config.kit.money import format_money
from directory.sessions import SECOND_FACTOR
from policies import drift
from policies.drift import Line
from policies.models import Basis, OfferType
from policies.spending import Limit

WHY_NOT: dict[str, Text] = {
    "role": gettext_lazy("Your roles there do not include the purchase policy"),
    "second_factor": gettext_lazy("It asks for a second factor: sign in with one"),
    "no_self_service": gettext_lazy("Self-service is not available to it"),
}


def over_customers(view: Callable[..., HttpResponse]) -> View:
    """A page over all of a partner's customers: for whoever has some, at home. Who acts for one is led to stop first.

    :raises NotVisible: nobody who has customers.
    """

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        actor: Actor = request.actor  # type: ignore[attr-defined]
        if not actor.has_customers:
            raise NotVisible
        if actor.is_partner:
            told = _("You act for one customer. Stop acting to see all of them side by side.")
            messages.info(request, told)
            return HttpResponseRedirect(reverse("portal:customers"))
        return view(request, **kwargs)

    return guarded


def has_second_factor(request: HttpRequest) -> bool:
    """Whether the session was begun with a second factor, as customers may ask for it."""
    return bool(request.session.get(SECOND_FACTOR))


def crumbs(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [(_("Customers"), reverse("portal:customers")), *more]


def name_of(name: str, products: Catalogue) -> str:
    """A target of a template."""
    kind, _colon, key = name.partition(":")
    match kind:
        case drift.DEFAULT:
            return _("Every product")
        case drift.NEW_PRODUCTS:
            return _("New products")
        case drift.CAP:
            return _("Spending limit")
        case drift.THRESHOLD:
            return _("Ask an admin above")
        case "category":
            return _("Category %(name)s") % {"name": key}
        case "offer":
            return str(OfferType(key).label)
    return products.names.get(key, key)


def said_text(name: str, value: Any) -> str:
    """What a template says of a target."""
    short = short_said(name, value)
    return f"{short}, {basis_text(value)}" if name in drift.LIMITS and value["basis"] else short


def short_said(name: str, value: Any) -> str:
    """The same without what a limit counts, for a narrow column."""
    if name not in drift.LIMITS:
        return _value_text(name, value)
    if not value["basis"]:
        return _("No limit")
    return ", ".join(format_money(minor, currency) for currency, minor in sorted(value["amounts"].items()))


def wanted_text(line: Line, currency: str) -> str:
    """What the template says for one customer, in its currency."""
    if line.is_silent:
        return _("No amount in %(currency)s") % {"currency": currency}
    return _text(line.name, line.wanted, currency)


def theirs_text(line: Line, currency: str) -> str:
    """What holds there."""
    return label_of(line.holds) if line.holds else _text(line.name, line.stored, currency)


def short_theirs(line: Line, currency: str) -> str:
    """The same without what a limit counts, for a narrow column."""
    if isinstance(line.stored, Limit):
        return format_money(line.stored.minor, currency)
    return theirs_text(line, currency)


def origin_text(line: Line) -> str:
    """Where a product's value comes from; empty for all else."""
    if line.holds is None or line.subject is None:
        return ""
    origin = str(ORIGINS[line.holds.origin])
    return f"{origin} {line.subject.category}" if line.holds.origin == "category" else origin


def _text(name: str, value: Any, currency: str) -> str:
    if name in drift.LIMITS:
        return limit_text(value if isinstance(value, Limit) else None, currency)
    return _value_text(name, value)


def _value_text(name: str, value: str) -> str:
    if value:
        return str(LABELS[value])
    return _("As every product") if name == drift.NEW_PRODUCTS else _("As inherited")


def basis_text(limit: Any) -> str:
    """What a limit counts, of a template or of a customer; empty where there is none."""
    basis = limit.basis if isinstance(limit, Limit) else (limit or {}).get("basis", "")
    if not basis:
        return ""
    return _("a purchase") if basis == Basis.PURCHASE else _("a person and month")


def currency_of(found: Compared) -> str:
    return found.theirs.currency if found.theirs else ""
