"""The page on which a change of a subscription is paid: added seats, a reactivation (product §5.1, §5.4).

One address per change. What it shows follows from the checkout's state, as at `commerce.views.buying`: a reload, a
second tab, the way back from the bank and a lost answer all lead to the one charge (F-18). Each kind of change
brings its words; this module knows only money, cards and the processor.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csp import csp_override

from commerce.gateways import Declined, NeedsAuthentication
from commerce.models import BillTo, Card, Checkout, Market, PaymentAttempt, Subscription
from commerce.operations import payments
from commerce.operations.checkouts import CheckoutClosed, PriceChanged
from commerce.queries import details
from commerce.queries.cards import first_choice, is_over, paying_card, with_declined
from commerce.queries.checkouts import waiting_for_bank
from commerce.views.payment import Problem, another_total, count_try, declined, no_card, processor
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotVisible, PeerUnavailable, Text
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.permissions import Capability

State = Checkout.State
SEE_OTHER = HTTPStatus.SEE_OTHER
NEW_CARD = "new"
FROM_NOW_ON = "from_now_on"
# What else is posted to the address of a payment that waits for the bank.
DROP, ANOTHER_CARD = "drop", "another-card"
# In the session: what this browser pays and waits for.
UNTOLD, MOST_UNTOLD = "untold_payments", 20


@dataclass(frozen=True, slots=True)
class Words:
    """What the page of one change says. `sums`: lines above the total; `button` names amount and effect."""

    title: str
    sums: list[tuple[str, str]]
    total: str
    steps: list[Told]
    button: str
    done: str


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One kind of change on this page.

    `count_anew` gives the open checkout with today's sum, or refuses with a `DomainError`; `words` are read inside
    the tenant's transaction. `back` names the address of the form that the change came from. `card_pays_from_now_on`:
    whether its card is to pay later charges too, until the person says otherwise; None: where the old one failed.
    """

    count_anew: Callable[..., Checkout]
    words: Callable[[Actor, Checkout, datetime], Words]
    back: str
    card_pays_from_now_on: bool | None = None


_pages: dict[str, ChangePage] = {}


def describe(kind: str, page: ChangePage) -> None:
    """Make a kind of change known to this page; the module with its form does."""
    _pages[kind] = page


def pay_address(checkout: Checkout) -> str:
    return reverse("portal:pay-change", args=[checkout.changed.key, checkout.key])


def purchase_address(subscription: Subscription) -> str:
    return reverse("portal:subscription", args=[subscription.key])


@csp_override(settings.ADMIN_CARD_CSP)
@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def pay_change(request: HttpRequest, key: uuid.UUID, checkout: uuid.UUID) -> HttpResponse:
    """GET: how the change stands, and the form while it is open. POST: pay it."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        found: Checkout | None = (
            Checkout.objects.visible_to(actor)
            .filter(key=checkout, subscription=subscription, kind__in=_pages)
            .select_related("product", "subscription__owner_user")
            .first()
        )
    if found is None:
        raise NotVisible
    if request.method != "POST":
        return _show(request, found, at)
    if request.POST.get("action") == DROP:
        return _drop(request, found, at)
    if request.POST.get("action") == ANOTHER_CARD:
        return use_another_card(request, found, at, address=pay_address(found))
    return _pay(request, found, at)


def _show(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    if found.state == State.PAID:
        if _take_untold(request, found):
            _tell_done(request, found, at)
        return _see(purchase_address(found.changed))
    if found.state in (State.PAYING, State.ACTION):
        return _settle(request, found, at)
    if found.state == State.ABANDONED or found.expires_at <= at:
        return _over(request, found)
    problem = declined(found.last_error, _("Nothing has changed yet.")) if found.last_error else None
    return _form(request, found, at, problem=problem)


def _over(request: HttpRequest, found: Checkout) -> HttpResponse:
    if found.last_error == "nothing_to_give":
        told = _("This could no longer be changed when the charge came. It goes back to your card in full.")
    else:
        told = _("This was dropped, kept for a day, or begun anew elsewhere. Nothing was charged for it.")
    messages.warning(request, told)
    return _see(purchase_address(found.changed))


def _drop(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    if not withdrawn(request, found, at, payments.drop_checkout):
        return _see(pay_address(found))
    messages.success(request, _("The payment is dropped. Nothing was charged, and nothing has changed."))
    return _see(purchase_address(found.changed))


def use_another_card(request: HttpRequest, found: Checkout, at: datetime, *, address: str) -> HttpResponse:
    """End a charge that waits for the bank, and go back to the form."""
    withdrawn(request, found, at, payments.stop_waiting)
    return _see(address)


def withdrawn(
    request: HttpRequest, found: Checkout, at: datetime, operation: Callable[..., Checkout]
) -> bool:
    """Whether a charge that waited for the bank was ended by `operation`; else the page of its state says what is."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        after = operation(actor=actor, key=found.key, at=at)
    except (CheckoutClosed, PeerUnavailable) as refused:
        messages.error(request, str(refused))
        return False
    return after.state in (State.OPEN, State.ABANDONED)


def waiting_lines(actor: Actor, subscription: Subscription | None = None) -> list[dict[str, Any]]:
    """For `_waiting_payments.html`: the person's payments that wait for the bank, each with its page."""
    return [
        {
            "checkout": each,
            "product": each.product,
            "address": pay_address(each)
            if each.subscription
            else reverse("commerce:checkout", args=[each.product.slug, each.key]),
        }
        for each in waiting_for_bank(actor=actor, subscription=subscription)
    ]


def _settle(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """Ask the processor how a payment that is under way stands, and go where its answer leads."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        outcome = payments.finish_checkout(actor=actor, key=found.key, at=at)
    except PeerUnavailable:
        outcome = payments.Pending()
    except DomainError:
        # It has ended: the page of the state that it is in now says how.
        return _see(pay_address(found))
    return go_on(request, found, outcome, at)


def go_on(request: HttpRequest, found: Checkout, outcome: payments.Outcome, at: datetime) -> HttpResponse:
    """The answer to an outcome: the purchase as it is now, the bank's page, or the one that waits."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if isinstance(outcome, payments.Paid):
        _take_untold(request, found)
        _tell_done(request, found, at)
        return _see(purchase_address(found.changed))
    with tenant_atomic(actor):
        market = Market.objects.select_related("vendor_entity").get(pk=found.market_id)
        context = _frame(found) | {
            "checkout": found,
            "product": found.product,
            "seller": market.vendor_entity.name,
            "address": pay_address(found),
            "client_secret": outcome.client_secret if isinstance(outcome, payments.ActionNeeded) else "",
        }
        return render_page(request, "commerce/pay_change_waiting.html", context | processor())


def _tell_done(request: HttpRequest, found: Checkout, at: datetime) -> None:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        found = Checkout.objects.visible_to(actor).select_related("subscription").get(pk=found.pk)
        messages.success(request, _pages[found.kind].words(actor, found, at).done)


def _take_untold(request: HttpRequest, found: Checkout) -> bool:
    """Whether this browser began paying and was not told the end yet; from now on it was."""
    untold = request.session.get(UNTOLD, [])
    if str(found.key) not in untold:
        return False
    request.session[UNTOLD] = [key for key in untold if key != str(found.key)]
    return True


def _pay(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """One charge. Every answer but a refusal leads to an address that shows how it stands."""
    chosen = request.POST.get("card", "")
    token = request.POST.get("confirmation_token", "")
    if chosen == NEW_CARD and not token:
        return _form(
            request, found, at, problem=no_card(), chosen=chosen, status=HTTPStatus.UNPROCESSABLE_ENTITY
        )
    return pay_now(
        request, found, at, chosen=chosen, token=token, version=number(request.POST.get("version", ""))
    )


def pay_or_go_on(request: HttpRequest, checkout: Checkout, at: datetime) -> HttpResponse:
    """A change that was just begun: pay it with the saved card that was chosen, or go where a new one is entered."""
    chosen = request.POST.get("card", "")
    if checkout.state == State.OPEN and chosen.isascii() and chosen.isdigit():
        return pay_now(request, checkout, at, chosen=chosen, version=checkout.version)
    said = "yes" if FROM_NOW_ON in request.POST else "no"
    return _see(f"{pay_address(checkout)}?card={NEW_CARD}&{FROM_NOW_ON}={said}")


def pay_now(
    request: HttpRequest, found: Checkout, at: datetime, *, chosen: str, version: int, token: str = ""
) -> HttpResponse:
    """Charge a change with the card of that id, or with the token of a new one; the answer to the browser."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    kept = _("Nothing has changed yet.")
    try:
        count_try(actor)
        outcome = payments.pay_change(
            actor=actor,
            key=found.key,
            version=version,
            card_id=None if chosen == NEW_CARD else number(chosen),
            confirmation_token=token,
            from_now_on=FROM_NOW_ON in request.POST,
            at=at,
        )
    except (Declined, NeedsAuthentication):
        return _see(pay_address(found))
    except PriceChanged as error:
        return _form(request, found, at, problem=another_total(error.quote), status=HTTPStatus.CONFLICT)
    except (Malformed, TooManyTries, PeerUnavailable) as error:
        problem = Problem(str(error), kept, "card")
        return _form(request, found, at, problem=problem, chosen=chosen, status=HTTPStatus(error.status))
    except DomainError as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN) and not hasattr(error, "eligibility"):
            raise
        return _form(request, found, at, problem=Problem(str(error), kept, ""), status=HTTPStatus.CONFLICT)
    if isinstance(outcome, payments.Paid):
        return go_on(request, found, outcome, at)
    request.session[UNTOLD] = [*request.session.get(UNTOLD, []), str(found.key)][-MOST_UNTOLD:]
    return _see(pay_address(found))


def _form(
    request: HttpRequest,
    found: Checkout,
    at: datetime,
    *,
    problem: Problem | None = None,
    chosen: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    """The form with today's sum; back to the purchase, with the reason, where it can no longer be made."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    page = _pages[found.kind]
    try:
        counted = page.count_anew(actor=actor, key=found.key, at=at)
    except DomainError as refused:
        return _refused(request, found, refused)
    if counted.state != State.OPEN or counted.expires_at <= at:
        return _see(pay_address(found))
    with tenant_atomic(actor):
        counted = (
            Checkout.objects.visible_to(actor)
            .select_related("product", "bill_to", "subscription__owner_user")
            .get(pk=found.pk)
        )
        words = page.words(actor, counted, at)
        context = _frame(counted) | {
            "title": words.title,
            "words": words,
            "checkout": counted,
            "problem": problem,
            "back": reverse(page.back, args=[counted.changed.key]),
            "is_organizations": counted.payer is None,
            "terms_version": settings.TERMS_VERSION,
            "billing": billing_details(counted.bill_to),
        }
        latest = counted.attempts.order_by("-id").first()
        context |= card_choice(
            actor,
            counted.changed,
            tries=counted.attempts.all(),
            chosen=chosen or request.GET.get("card", ""),
            from_now_on=ticked(request, latest, default=page.card_pays_from_now_on),
        )
        return render_page(request, "commerce/pay_change.html", context | processor(), status=status)


def _refused(request: HttpRequest, found: Checkout, refused: DomainError) -> HttpResponse:
    if refused.status == HTTPStatus.NOT_FOUND:
        raise refused
    messages.error(request, f"{reasons_of(refused)} {_('Nothing was charged.')}")
    return _see(purchase_address(found.changed))


def reasons_of(refused: DomainError) -> str:
    """The sentence of a refusal; all reasons of one about eligibility."""
    eligibility = getattr(refused, "eligibility", None)
    if eligibility is None:
        return str(refused)
    return " ".join(f"{reason.heading}. {reason.advice}" for reason in eligibility.reasons)


def shown_quote(request: HttpRequest, subscription: Subscription, *, salt: str) -> dict[str, Any]:
    """The preview that the button sent back, as it was signed; empty unless it is ours and of this purchase."""
    try:
        quote: dict[str, Any] = signing.loads(request.POST.get("quote", ""), salt=salt)
    except signing.BadSignature:
        return {}
    return quote if quote.get("key") == str(subscription.key) else {}


def why_not_made(refused: DomainError) -> str:
    """Why what was confirmed was not done, for the page that comes back with the new preview."""
    if isinstance(refused, PriceChanged):
        return _("The sum is another one than the page showed you. Nothing was charged. Look at the new one.")
    return reasons_of(refused)


def card_choice(
    actor: Actor,
    subscription: Subscription,
    *,
    tries: QuerySet[PaymentAttempt] | None = None,
    chosen: str = "",
    from_now_on: bool | None = None,
) -> dict[str, Any]:
    """The context of `_card_choice.html`: the payer's saved cards, the one that pays the purchase first.

    A card that was declined in one of `tries` is marked, and not chosen by itself.
    Whether the card chosen pays from now on is asked where another one could: as the person or the page said, else
    yes where the present one failed or ends before the next charge.
    """
    cards = saved_cards(actor, subscription.owner_user, tries)
    cards.sort(key=lambda card: card.pk != subscription.card_id)
    context = chosen_of(cards, chosen) | {"zone": subscription.time_zone}
    if cards and not subscription.is_on_account:
        is_better = _needs_another(subscription) if from_now_on is None else from_now_on
        context |= {"pays_for": subscription.product, "from_now_on": is_better}
    return context


def saved_cards(
    actor: Actor, payer: User | None, tries: QuerySet[PaymentAttempt] | None = None
) -> list[Card]:
    """A payer's cards, the default first, marked where one of `tries` was declined."""
    cards = Card.objects.of_payer(actor, payer).order_by("-is_default", "-id")
    return list(cards if tries is None else with_declined(cards, tries))


def chosen_of(cards: list[Card], chosen: str) -> dict[str, Any]:
    """Cards for `_card_choice.html`, and which of them is chosen: as was said, else the first that was not declined."""
    numbers = [str(card.pk) for card in cards]
    first = first_choice(cards)
    other = str(first.pk) if first else NEW_CARD
    return {"cards": cards, "chosen_card": chosen if chosen in (*numbers, NEW_CARD) else other}


def _needs_another(subscription: Subscription) -> bool:
    """Whether the card that pays a purchase failed, or ends before it is charged next. One query at most."""
    card = paying_card(
        subscription.card, tenant_id=subscription.tenant_id, payer_id=subscription.owner_user_id
    )
    if card is None or subscription.payment_failed_at is not None:
        return True
    return is_over(card, subscription.due_at, subscription.time_zone)


def ticked(request: HttpRequest, latest: PaymentAttempt | None, *, default: bool | None) -> bool | None:
    """What the person said about later charges: now, with the last try, or a page before; else what the page says."""
    if request.method == "POST" and "card" in request.POST:
        return FROM_NOW_ON in request.POST
    if latest is None and FROM_NOW_ON in request.GET:
        return request.GET[FROM_NOW_ON] == "yes"
    return latest.pays_from_now_on if latest is not None else default


def billing_details(bill_to: BillTo | None) -> dict[str, Any]:
    """What the processor is told of a new card's holder, as its script names it."""
    if bill_to is None:
        return {}
    return {
        "name": bill_to.name,
        "address": {
            "line1": bill_to.street,
            "line2": "",
            "city": bill_to.city,
            "state": "",
            "postal_code": bill_to.postal_code,
            "country": bill_to.country,
        },
    }


def _frame(found: Checkout) -> dict[str, Any]:
    return {
        "title": _("Pay"),
        "crumbs": [
            (_("Your products"), reverse("portal:your-products")),
            (found.product.name, purchase_address(found.changed)),
        ],
    }


def number(text: Text) -> int:
    """Digits as a number; anything else is a number that nothing has."""
    value = str(text)
    return int(value) if value.isascii() and value.isdigit() and len(value) < 18 else -1


def _see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=SEE_OTHER)
