"""Payment methods: the payer's cards, what each pays, adding, choosing and removing one (product §4, §6)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csp import csp_override

from commerce.gateways import Declined, NeedsAuthentication
from commerce.gateways.declines import sentence_of
from commerce.models import Bill, Card, CardSetup, Subscription
from commerce.operations import cards, payments
from commerce.operations.cards import CardInUse
from commerce.operations.payments.setups import visible_setup
from commerce.queries import cards as queries
from commerce.queries import details
from commerce.views.payment import Problem, count_try, no_card, processor
from commerce.views.subscriptions import day, money
from commerce.views.trials import goes_on_to
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotVisible, PeerUnavailable
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.permissions import Capability

SEE_OTHER = HTTPStatus.SEE_OTHER
ORGANIZATION = "organization"
_NOT_THE_BANK = frozenset({"processor_refuses", "mismatch", "no_card"})


@access.requires(sees=Capability.PAY_BILLS)
def payment_methods(request: HttpRequest) -> HttpResponse:
    """The cards with which the person pays: the own ones, and the organization's for its admins."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    zone = request.tenant.time_zone  # type: ignore[attr-defined]
    found = queries.wallets(actor)
    context = {
        "title": _("Payment methods"),
        "crumbs": [(_("Billing"), "")],
        "wallets": [_wallet(each, at, zone) for each in found],
        "is_own_alone": len(found) == 1 and not found[0].is_organizations,
    }
    return render_page(request, "commerce/payment_methods.html", context)


def _wallet(wallet: queries.Wallet, at: datetime, zone: str) -> dict[str, Any]:
    payer = f"?payer={ORGANIZATION}" if wallet.is_organizations else ""
    return {
        "is_organizations": wallet.is_organizations,
        "add_address": reverse("portal:card-add") + payer,
        "lines": [_line(holding, at, zone) for holding in wallet.holdings],
        "uncovered": [_charge(each) for each in wallet.uncovered],
        "bills": [_bill(each) for each in wallet.open_bills],
    }


def _line(holding: queries.Holding, at: datetime, zone: str) -> dict[str, Any]:
    card = holding.card
    return {
        "card": card,
        "name": name_of(card),
        "expiry": f"{card.expires_month:02d}/{card.expires_year}",
        "is_over": queries.is_over(card, at, zone),
        "is_expiring": holding.is_expiring,
        "charges": [_charge(each) for each in holding.subscriptions],
        "failed": [_bill(bill) for bill in holding.bills if bill.tries],
        "bills": sum(not bill.tries for bill in holding.bills),
        "replace_address": f"{reverse('portal:card-add')}?{_asked(card.user_id is None, replaces=card.pk)}",
    }


def _charge(subscription: Subscription) -> dict[str, Any]:
    return {
        "name": subscription.product.name,
        "address": reverse("portal:card-choose", args=[subscription.key]),
        "amount": money(details.charge_with_tax(subscription), subscription.currency),
        "day": day(subscription.due_at, subscription.time_zone),
    }


def _bill(bill: Bill) -> dict[str, Any]:
    return {
        "number": bill.number,
        "name": bill.subscription.product.name,
        "amount": money(bill.total_minor, bill.currency),
        "due": day(bill.due_at, bill.subscription.time_zone),
        "is_past_due": bill.status == Bill.Status.PAST_DUE,
        "has_failed": bool(bill.tries),
        "next_try": day(bill.charge_due_at, bill.subscription.time_zone),
    }


def name_of(card: Card) -> str:
    return _("%(brand)s ending in %(last4)s") % {"brand": card.brand.capitalize(), "last4": card.last4}


# --- Adding one -----------------------------------------------------------------------------------------


@csp_override(settings.ADMIN_CARD_CSP)
@access.requires(sees=Capability.PAY_BILLS, owns_transaction=True)
def add_card(request: HttpRequest) -> HttpResponse:
    """GET: the card fields. POST: keep the card, then to the address that shows how that stands."""
    if request.method == "POST":
        return _save(request, now())
    return _form(request, request.GET)


@csp_override(settings.ADMIN_CARD_CSP)
@access.requires(sees=Capability.PAY_BILLS, owns_transaction=True)
def card_setup(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """How adding a card stands. POST: give it up, to enter another one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    setup = visible_setup(actor, key)
    if request.method == "POST":
        try:
            payments.give_up_setup(actor=actor, key=key, at=at)
        except PeerUnavailable:
            return _see(_setup_address(key))
        return _see(f"{reverse('portal:card-add')}?{_asked_of(setup)}")
    try:
        outcome = payments.finish_setup(actor=actor, key=key, at=at)
    except (Declined, NeedsAuthentication) as declined:
        code = declined.decline_code if isinstance(declined, Declined) else declined.code
        return _form(request, QueryDict(_asked_of(setup)), problem=not_saved(code))
    except (payments.SetupEnded, PeerUnavailable) as ended:
        return _form(request, QueryDict(_asked_of(setup)), problem=Problem(str(ended), "", "card"))
    if isinstance(outcome, payments.Saved):
        messages.success(request, _told(setup, outcome.card))
        return _see(goes_on_to(setup) or reverse("portal:payment-methods"))
    context = _frame(_("Add a card")) | processor()
    context |= {
        "address": _setup_address(key),
        "client_secret": outcome.client_secret if isinstance(outcome, payments.ActionNeeded) else "",
    }
    with tenant_atomic(actor):
        return render_page(request, "commerce/card_waiting.html", context)


def _save(request: HttpRequest, at: datetime) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    asked = request.POST
    key, token = _uuid(asked.get("setup", "")), asked.get("confirmation_token", "")
    if key is None or not token:
        return _form(request, asked, problem=no_card(), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        count_try(actor)
        payments.save_card(
            actor=actor,
            key=key,
            for_organization=_is_organizations(actor, asked),
            confirmation_token=token,
            replaces=_number(asked.get("replaces", "")),
            subscription=_uuid(asked.get("for", "")),
            at=at,
        )
    except (Declined, NeedsAuthentication, payments.SetupEnded):
        return _see(_setup_address(key))
    except (Malformed, TooManyTries, PeerUnavailable) as error:
        return _form(request, asked, problem=Problem(str(error), "", "card"), status=error.status)
    return _see(_setup_address(key))


def _form(
    request: HttpRequest, asked: QueryDict, *, problem: Problem | None = None, status: int = HTTPStatus.OK
) -> HttpResponse:
    """The card fields, for what the address asks: whose card, in place of which, for which purchase."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    for_organization = _is_organizations(actor, asked)
    actor.require(
        Capability.PAY_BILLS, is_own=not for_organization, is_org=for_organization, sees=Capability.PAY_BILLS
    )
    replaces, key = _number(asked.get("replaces", "")), _uuid(asked.get("for", ""))
    with tenant_atomic(actor):
        old = None if replaces is None else queries.holding_of(queries.card_of(actor, replaces))
        purchase = None if key is None else details.purchase(actor, key)
        tenant = tenant_row(actor.tenant_id)
        context = _frame(_("Replace a card") if old else _("Add a card")) | processor()
        context |= {
            "problem": problem,
            "setup": uuid.uuid4(),
            "is_organizations": for_organization,
            "replaces": old,
            "old_name": name_of(old.card) if old else "",
            "charges": [_charge(each) for each in old.subscriptions] if old else [],
            "purchase": purchase,
            "charge": _charge(purchase) if purchase else None,
            "cards": [],
            "chosen_card": "new",
            "billing": {
                "name": tenant.name if for_organization else actor.label,
                "address": {
                    "line1": "",
                    "line2": "",
                    "city": "",
                    "state": "",
                    "postal_code": "",
                    "country": tenant.country,
                },
            },
        }
        return render_page(request, "commerce/card_add.html", context, status=status)


def not_saved(code: str) -> Problem:
    if code in _NOT_THE_BANK:
        return Problem(_("The card could not be saved. Nothing was charged."), _("Try again."), "card")
    return Problem(sentence_of(code) or Declined.message, _("The card was not saved."), "card")


def _told(setup: CardSetup, card: Card) -> str:
    name = {"card": name_of(card)}
    if setup.replaces_id is not None:
        return _("%(card)s is saved, and pays what the other card paid.") % name
    if setup.subscription is not None:
        return _("%(card)s is saved, and pays %(product)s from now on.") % (
            name | {"product": setup.subscription.product.name}
        )
    return _("%(card)s is saved.") % name


# --- Changing -------------------------------------------------------------------------------------------


@access.requires(sees=Capability.PAY_BILLS)
def default_card(request: HttpRequest, card: int) -> HttpResponse:
    """POST: let a card pay whatever has no card of its own. GET: back to the list."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = queries.card_of(actor, card)
    if request.method == "POST":
        try:
            cards.make_default(actor=actor, card_id=found.pk, at=now())
        except cards.CardExpired as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, _("%(card)s is the default card.") % {"card": name_of(found)})
    return _see(reverse("portal:payment-methods"))


@access.requires(sees=Capability.PAY_BILLS, owns_transaction=True)
def remove_card(request: HttpRequest, card: int) -> HttpResponse:
    """GET: what the card pays, and what happens. POST: remove it, and move what it pays."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method != "POST":
        return _removal(request, card, at)
    target = request.POST.get("card", "")
    try:
        removed = cards.remove_card(
            actor=actor, card_id=card, move_to=_number(target) if target else None, at=at
        )
    except CardInUse as refused:
        return _removal(request, card, at, problem=str(refused), status=HTTPStatus.CONFLICT)
    except (Malformed, cards.CardExpired) as refused:
        return _removal(request, card, at, problem=str(refused), status=refused.status)
    messages.success(request, _("%(card)s is removed.") % {"card": name_of(removed)})
    return _see(reverse("portal:payment-methods"))


def _removal(
    request: HttpRequest, card_id: int, at: datetime, *, problem: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        card = queries.card_of(actor, card_id)
        holding = queries.holding_of(card)
        zone = tenant_row(actor.tenant_id).time_zone
        others = [each for each in queries.cards_of(actor.tenant_id, card.user_id) if each.pk != card.pk]
        others = queries.choices(others, at=at, time_zone=zone)
        context = _frame(_("Remove a card")) | {
            "problem": problem,
            "card": card,
            "name": name_of(card),
            "holding": holding,
            "charges": [_charge(each) for each in holding.subscriptions],
            "bills": [_bill(each) for each in holding.bills],
            "cards": others,
            "chosen_card": str(others[0].pk) if others else "",
            "replace_address": f"{reverse('portal:card-add')}?{_asked(card.user_id is None, replaces=card.pk)}",
        }
        return render_page(request, "commerce/card_remove.html", context, status=status)


@access.requires(sees=Capability.SEE_PURCHASES)
def choose_card(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: which card pays a purchase, and which others could. POST: let another one pay from now on."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    subscription = details.purchase(actor, key)
    actor.require(
        Capability.PAY_BILLS,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )
    cards.refuse_unpayable(subscription)
    chosen = request.POST.get("card", "")
    if request.method == "POST" and chosen == "new":
        return _see(f"{reverse('portal:card-add')}?{_asked(subscription.is_organizations, purchase=key)}")
    if request.method == "POST":
        try:
            cards.choose_card(actor=actor, key=key, card_id=_number(chosen) or 0, at=at)
        except DomainError as refused:
            told = _("Choose one of the cards.") if isinstance(refused, NotVisible) else str(refused)
            return _choice(request, subscription, at, problem=told, status=HTTPStatus.CONFLICT)
        messages.success(
            request, _("Another card pays %(product)s now.") % {"product": subscription.product.name}
        )
        return _see(reverse("portal:payment-methods"))
    return _choice(request, subscription, at)


def _choice(
    request: HttpRequest,
    subscription: Subscription,
    at: datetime,
    *,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    payer_id = subscription.owner_user_id
    usable = queries.choices(
        queries.cards_of(subscription.tenant_id, payer_id), at=at, time_zone=subscription.time_zone
    )
    paying = queries.paying_card(subscription.card, tenant_id=subscription.tenant_id, payer_id=payer_id)
    chosen = paying if paying in usable else next(iter(usable), None)
    context = _frame(_("Which card pays")) | {
        "problem": problem,
        "product": subscription.product,
        "subscription": subscription,
        "charge": _charge(subscription),
        "paying": name_of(paying) if paying else "",
        "cards": usable,
        "chosen_card": str(chosen.pk) if chosen else "new",
    }
    return render_page(request, "commerce/card_choose.html", context, status=status)


def _frame(title: str) -> dict[str, Any]:
    return {"title": title, "crumbs": [(_("Payment methods"), reverse("portal:payment-methods"))]}


def _setup_address(key: uuid.UUID) -> str:
    return reverse("portal:card-setup", args=[key])


def _asked(for_organization: bool, *, replaces: int | None = None, purchase: uuid.UUID | None = None) -> str:
    """The query of an address that asks for the card fields."""
    values = {
        "payer": ORGANIZATION if for_organization else "",
        "replaces": str(replaces or ""),
        "for": str(purchase or ""),
    }
    query = QueryDict(mutable=True)
    query.update({name: value for name, value in values.items() if value})
    return query.urlencode()


def _asked_of(setup: CardSetup) -> str:
    is_there = setup.replaces is not None and setup.replaces.removed_at is None
    return _asked(
        setup.user_id is None,
        replaces=setup.replaces_id if is_there else None,
        purchase=setup.subscription.key if setup.subscription else None,
    )


def _is_organizations(actor: Actor, asked: QueryDict) -> bool:
    """Whose card is asked for; the organization's where the person has no own purchases to pay."""
    return asked.get("payer") == ORGANIZATION or "own" not in actor.scopes(Capability.PAY_BILLS)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=SEE_OTHER)
