"""The page on which the number of seats changes: the new total, its money and its day before the click (product §5.4).

Choosing is a plain GET, so every preview has an address. What is confirmed is the signed preview, not the fields: the
sum that was shown is the sum that is charged, or the page comes back with the new one.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce import states
from commerce.models import Agreement, Checkout, Subscription
from commerce.operations import changes
from commerce.operations.changes import RemovedSeats, rules
from commerce.queries import details
from commerce.queries.seats import quote_added
from commerce.quotes import AddedSeats
from commerce.views import paying
from commerce.views.paying import card_choice, reasons_of, shown_quote, why_not_made
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told, to_whom
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError
from config.kit.money import tax_label, tax_on
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from directory.sessions import require_fresh

SALT = "commerce.seats"
NOW, RENEWAL = "now", "renewal"
type When = Literal["now", "renewal"]


@dataclass(frozen=True, slots=True)
class Option:
    """One answer to *from when*: its money, or why it is not to be had."""

    code: str
    title: str
    text: str
    amount: str
    total_minor: int = 0
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Preview:
    """What confirming does. `sums`: lines above the total of today; `button` names amount and effect."""

    sums: list[tuple[str, str]]
    total: str
    steps: list[Told]
    button: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was typed and what came of it; without a number that can be had there is no preview."""

    typed: str
    quantity: int
    when: str
    options: list[Option]
    preview: Preview | None
    problem: str = ""
    total_minor: int = 0


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def seats(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what a number would cost, and when. POST: the signed preview is confirmed."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = _own(actor, key)
    if request.method == "POST":
        return _confirm(request, subscription, at)
    return _page(
        request, subscription, at, typed=request.GET.get("quantity"), when=request.GET.get("when", "")
    )


def _own(actor: Actor, key: uuid.UUID) -> Subscription:
    subscription = details.purchase(actor, key)
    rules.require_may_manage(actor, subscription)
    return subscription


# --- Confirming -----------------------------------------------------------------------------------------


def _confirm(request: HttpRequest, subscription: Subscription, at: datetime) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    quote = shown_quote(request, subscription, salt=SALT)
    if not quote:
        problem = _("Nothing was changed. Choose again.")
        return _page(request, subscription, at, problem=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if quote["when"] != RENEWAL and quote["quantity"] < subscription.quantity:
        require_fresh(request)  # money goes back
    try:
        return _make(request, subscription, quote, at)
    except DomainError as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            raise
        with tenant_atomic(actor):
            subscription = _own(actor, subscription.key)
        return _page(
            request,
            subscription,
            at,
            typed=str(quote["quantity"]),
            when=quote["when"],
            problem=why_not_made(refused),
            status=HTTPStatus.CONFLICT,
        )


def _make(
    request: HttpRequest, subscription: Subscription, quote: dict[str, Any], at: datetime
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    decided = {
        "actor": actor,
        "key": subscription.key,
        "quantity": quote["quantity"],
        "version": quote["version"],
        "at": at,
    }
    if quote["when"] == RENEWAL:
        return _done(request, changes.schedule_seats(**decided), _scheduled_text)
    if quote["quantity"] < subscription.quantity:
        removed = changes.remove_seats(**decided, seen_total_minor=quote["total_minor"])
        return _done(request, removed.subscription, _removed_text)
    if subscription.is_on_account:
        placed = changes.add_seats_on_account(**decided, seen_total_minor=quote["total_minor"])
        return _done(request, placed.subscription, _added_text)
    checkout = changes.start_adding_seats(
        **decided, intent=uuid.UUID(quote["intent"]), seen_total_minor=quote["total_minor"]
    )
    return paying.pay_or_go_on(request, checkout, at)


def _done(request: HttpRequest, subscription: Subscription, text: Any) -> HttpResponse:
    messages.success(request, text(subscription))
    return HttpResponseRedirect(
        reverse("portal:subscription", args=[subscription.key]), status=HTTPStatus.SEE_OTHER
    )


def _scheduled_text(subscription: Subscription) -> str:
    if subscription.next_quantity is None:
        return _("The number stays %(number)d at the renewal.") % {"number": subscription.quantity}
    return _("From %(day)s on it is %(number)d licenses.") % {
        "day": day(subscription.term_end, subscription.time_zone),
        "number": subscription.next_quantity,
    }


def _added_text(subscription: Subscription) -> str:
    return _("You have %(number)d licenses now, %(free)d of them free.") % {
        "number": subscription.quantity,
        "free": subscription.free,
    }


def _removed_text(subscription: Subscription) -> str:
    if subscription.is_on_account:
        back = _("The unused days are taken off what is to be paid.")
    else:
        back = _("The refund is on its way; banks take 5 to 10 days to show it.")
    return _("You have %(number)d licenses now.") % {"number": subscription.quantity} + " " + back


# --- The page -------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    subscription: Subscription,
    at: datetime,
    *,
    typed: str | None = None,
    when: str = "",
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rules.require_changeable(subscription)
    with tenant_atomic(actor):
        chosen = _choose(actor, subscription, _stepped(request, subscription, typed), when, at)
        asks_for_card = chosen.when == NOW and chosen.quantity > subscription.quantity
        context: dict[str, Any] = {
            "title": _("Change the number of licenses"),
            "crumbs": [
                (_("Your products"), reverse("portal:your-products")),
                (subscription.product.name, reverse("portal:subscription", args=[subscription.key])),
            ],
            "subscription": subscription,
            "address": reverse("portal:subscription", args=[subscription.key]),
            "chosen": chosen,
            "problem": problem,
            "most": rules.most_seats(subscription),
            "renews_on": day(subscription.term_end, subscription.time_zone),
            "quote": _sign(subscription, chosen) if chosen.preview else "",
            "asks_for_card": bool(chosen.preview) and asks_for_card and not subscription.is_on_account,
        }
        if context["asks_for_card"]:
            context |= card_choice(actor, subscription) | {"terms_version": settings.TERMS_VERSION}
        return render_page(request, "commerce/seats.html", context, status=status)


def _sign(subscription: Subscription, chosen: Chosen) -> str:
    """The preview, as the button sends it back; its intent makes two clicks one change (F-18)."""
    return signing.dumps(
        {
            "key": str(subscription.key),
            "intent": str(uuid.uuid4()),
            "version": subscription.version,
            "quantity": chosen.quantity,
            "when": chosen.when,
            "total_minor": chosen.total_minor,
        },
        salt=SALT,
    )


def _stepped(request: HttpRequest, subscription: Subscription, typed: str | None) -> str:
    """The number typed, moved by the minus or plus button that was pressed."""
    if typed is None:
        return str(subscription.next_quantity or subscription.quantity)
    step = request.GET.get("step", "")
    if step in ("less", "more") and typed.isascii() and typed.isdigit():
        moved = int(typed[:9]) + (1 if step == "more" else -1)
        return str(min(max(moved, 1), rules.most_seats(subscription)))
    return typed[:20]


def _choose(actor: Actor, subscription: Subscription, typed: str, when: str, at: datetime) -> Chosen:
    """What the number comes to, now and at the renewal."""
    if not (typed.isascii() and typed.isdigit() and len(typed) < 10):
        return Chosen(typed, 0, when, [], None, _("Enter a whole number, such as 12."))
    quantity = int(typed)
    try:
        rules.require_number(subscription, quantity)
        if quantity < subscription.assigned:
            raise rules.BelowAssigned(subscription.assigned, quantity)
    except DomainError as refused:
        return Chosen(typed, quantity, when, [], None, str(refused))
    if quantity == subscription.quantity and subscription.next_quantity is None:
        return Chosen(typed, quantity, when, [], None)
    offered: dict[str, tuple[Option, AddedSeats | RemovedSeats | None]] = {}
    if quantity > subscription.quantity:
        offered[NOW] = _add_now(actor, subscription, quantity, at)
    elif quantity < subscription.quantity:
        offered[NOW] = _remove_now(subscription, quantity, at)
    offered[RENEWAL] = (_at_renewal(actor, subscription, quantity, at), None)
    open_codes = [code for code, (option, _quote) in offered.items() if option.is_open]
    options = [option for option, _quote in offered.values()]
    if not open_codes:
        return Chosen(typed, quantity, when, options, None)
    picked = when if when in open_codes else open_codes[0]
    option, quote = offered[picked]
    match quote:
        case AddedSeats():
            preview = _preview_added(actor, subscription, quote, at)
        case RemovedSeats():
            preview = _preview_removed(actor, subscription, quote, at)
        case None:
            preview = _preview_scheduled(actor, subscription, quantity, at)
    return Chosen(typed, quantity, picked, options, preview, total_minor=option.total_minor)


def _add_now(
    actor: Actor, subscription: Subscription, quantity: int, at: datetime
) -> tuple[Option, AddedSeats | None]:
    title = _("Now")
    try:
        quote = changes.quote_addition(actor=actor, subscription=subscription, quantity=quantity, at=at)
    except DomainError as refused:
        return Option(NOW, title, reasons_of(refused), "", is_open=False), None
    text = ngettext(
        "Use the new license at once. Pay for the %(days)d days left in this period.",
        "Use the %(count)d new licenses at once. Pay for the %(days)d days left in this period.",
        quote.added,
    ) % {"count": quote.added, "days": quote.days_left}
    return Option(NOW, title, text, money(quote.total_minor, quote.currency), quote.total_minor), quote


def _remove_now(
    subscription: Subscription, quantity: int, at: datetime
) -> tuple[Option, RemovedSeats | None]:
    title = _("Now")
    try:
        quote = changes.quote_removal(subscription=subscription, quantity=quantity, at=at)
    except DomainError as refused:
        return Option(NOW, title, reasons_of(refused), "", is_open=False), None
    text = ngettext(
        "The license goes at once, and you get its unused days back.",
        "%(count)d licenses go at once, and you get their unused days back.",
        quote.removed,
    ) % {"count": quote.removed}
    amount = money(-quote.total_minor, quote.currency)
    return Option(NOW, title, text, amount, quote.total_minor), quote


def _at_renewal(actor: Actor, subscription: Subscription, quantity: int, at: datetime) -> Option:
    title = _("At the renewal, %(day)s") % {"day": day(subscription.term_end, subscription.time_zone)}
    nothing = money(0, subscription.currency)
    try:
        changes.require_schedulable(actor=actor, subscription=subscription, quantity=quantity, at=at)
    except DomainError as refused:
        return Option(RENEWAL, title, reasons_of(refused), "", is_open=False)
    if quantity == subscription.quantity:
        text = _("Nothing changes at the renewal: the scheduled change is taken back.")
    elif quantity < subscription.quantity:
        text = _("Nothing is refunded today. From now on at most %(number)d can be assigned.") % {
            "number": quantity
        }
    else:
        text = _("Nothing to pay today.")
    return Option(RENEWAL, title, text, nothing)


def _preview_added(actor: Actor, subscription: Subscription, quote: AddedSeats, at: datetime) -> Preview:
    zone, total = subscription.time_zone, money(quote.total_minor, quote.currency)
    after = subscription.quantity + quote.added
    to_pay = total
    if subscription.is_on_account:
        agreement = Agreement.objects.get(pk=subscription.agreement_id or 0)
        button = ngettext(
            "Add %(count)d license for %(total)s", "Add %(count)d licenses for %(total)s", quote.added
        )
        text = _(
            "%(before)d → %(after)d licenses, %(free)d free. %(total)s on account, to be paid in %(days)d days."
        )
        days = agreement.payment_days
    else:
        button = _("Pay %(total)s and add %(count)d")
        text = _("%(before)d → %(after)d licenses, %(free)d free. %(total)s is charged.")
        days = 0
    facts = {
        "before": subscription.quantity,
        "after": after,
        "free": after - subscription.assigned,
        "total": to_pay,
        "days": days,
        "count": quote.added,
    }
    return Preview(
        sums=sums_of(quote),
        total=total,
        steps=[
            Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, text % facts),
            Told("", *_until(subscription, quote, zone)),
            *_next(actor, subscription, after),
        ],
        button=button % facts,
    )


def _preview_removed(actor: Actor, subscription: Subscription, quote: RemovedSeats, at: datetime) -> Preview:
    zone, total = subscription.time_zone, money(quote.total_minor, quote.currency)
    after = subscription.quantity - quote.removed
    facts = {
        "before": subscription.quantity,
        "after": after,
        "free": after - subscription.assigned,
        "total": total,
        "count": quote.removed,
    }
    if subscription.is_on_account:
        text = _("%(before)d → %(after)d licenses, %(free)d free. %(total)s less to pay on account.")
        button = _("Remove %(count)d and pay %(total)s less")
    else:
        text = _("%(before)d → %(after)d licenses, %(free)d free. %(total)s goes back to the card that paid.")
        button = _("Remove %(count)d and get %(total)s back")
    line = ngettext(
        "Unused days of %(count)d license", "Unused days of %(count)d licenses", quote.removed
    ) % {"count": quote.removed}
    return Preview(
        sums=[
            (line, money(-quote.subtotal_minor, quote.currency)),
            (_tax_label(subscription), money(-quote.tax_minor, quote.currency)),
        ],
        total=money(-quote.total_minor, quote.currency),
        steps=[
            Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, text % facts),
            *_next(actor, subscription, after),
        ],
        button=button % facts,
    )


def _tax_label(of: Subscription | AddedSeats) -> str:
    return f"{tax_label(of.tax_name)} {of.tax_rate.normalize():f}%"


def sums_of(quote: AddedSeats) -> list[tuple[str, str]]:
    """The lines of a sum for added seats, above its total."""
    price = money(quote.unit_price_minor, quote.currency)
    line = ngettext(
        "%(count)d license \u00d7 %(price)s \u00d7 %(left)d of %(days)d days",
        "%(count)d licenses \u00d7 %(price)s \u00d7 %(left)d of %(days)d days",
        quote.added,
    ) % {"count": quote.added, "price": price, "left": quote.days_left, "days": quote.days}
    return [
        (line, money(quote.subtotal_minor, quote.currency)),
        (_tax_label(quote), money(quote.tax_minor, quote.currency)),
    ]


def _until(subscription: Subscription, quote: AddedSeats, zone: str) -> tuple[str, str]:
    """Until when these seats can go again, to the minute."""
    return (
        _("Until %(moment)s") % {"moment": moment(quote.refund_until, zone)},
        ngettext(
            "Go back to %(before)d and get the unused days of this license refunded.",
            "Go back to %(before)d and get the unused days of these %(count)d refunded.",
            quote.added,
        )
        % {"before": subscription.quantity, "count": quote.added},
    )


def _preview_scheduled(actor: Actor, subscription: Subscription, quantity: int, at: datetime) -> Preview:
    zone = subscription.time_zone
    today = Told(
        "is-change", _("Today, %(day)s") % {"day": day(at, zone)}, _today_text(subscription, quantity)
    )
    on = day(subscription.term_end, zone)
    if quantity == subscription.quantity:
        button = _("Keep %(number)d licenses") % {"number": quantity}
    else:
        button = _("Schedule %(number)d licenses for %(day)s") % {"number": quantity, "day": on}
    steps = [today]
    if quantity != subscription.quantity:
        last = day(states.last_day(subscription.term_end), zone)
        steps.append(Told("", _("Until %(day)s") % {"day": last}, _("You can take this back.")))
    return Preview(
        sums=[],
        total=money(0, subscription.currency),
        steps=[*steps, *_next(actor, subscription, quantity)],
        button=button,
    )


def _today_text(subscription: Subscription, quantity: int) -> str:
    if quantity < subscription.quantity:
        return _("You keep %(now)d licenses until the renewal. At most %(number)d can be assigned.") % {
            "now": subscription.quantity,
            "number": quantity,
        }
    if quantity == subscription.quantity:
        return _("The scheduled change to %(number)d falls away.") % {"number": subscription.next_quantity}
    return _("You keep %(now)d licenses until the renewal.") % {"now": subscription.quantity}


def _next(actor: Actor, subscription: Subscription, quantity: int) -> list[Told]:
    """The renewal as it will be, beside what it would be without the change."""
    zone = subscription.time_zone
    if not subscription.recurring_billing:
        last = day(states.last_day(subscription.term_end), zone)
        return [Told("", last, _("It ends: recurring billing is off."))]
    price = subscription.unit_price_minor
    after, before = (
        money(count * price + tax_on(count * price, subscription.tax_rate), subscription.currency)
        for count in (quantity, subscription.quantity)
    )
    text = ngettext(
        "Renews: %(count)d license, %(after)s %(whom)s (now %(before)s).",
        "Renews: %(count)d licenses, %(after)s %(whom)s (now %(before)s).",
        quantity,
    )
    facts = {"count": quantity, "after": after, "before": before, "whom": to_whom(actor, subscription)}
    return [Told("", day(subscription.term_end, zone), text % facts)]


# --- Its words on the page where it is paid ---------------------------------------------------------------


def _words(actor: Actor, checkout: Checkout, at: datetime) -> paying.Words:
    subscription: Subscription = checkout.changed
    count, total = checkout.quantity, money(checkout.total_minor, checkout.currency)
    done = _added_text(subscription)
    if checkout.state == Checkout.State.PAID:
        return paying.Words("", [], total, [], "", _("%(total)s is paid.") % {"total": total} + " " + done)
    quote = quote_added(subscription, count, at)
    preview = _preview_added(actor, subscription, quote, at)
    title = ngettext("Add %(count)d license", "Add %(count)d licenses", count) % {"count": count}
    return paying.Words(title, preview.sums, total, preview.steps, preview.button, done)


paying.describe(
    Checkout.Kind.ADD_SEATS,
    paying.ChangePage(count_anew=changes.count_anew, words=_words, back="portal:seats"),
)
