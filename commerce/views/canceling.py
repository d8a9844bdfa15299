"""The page that ends something: what happens, the money, the last day, all before the click (product §5.5).

What is confirmed is the signed preview: it happens as it was shown, or the page comes back with what would happen now.
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce import periods, states
from commerce.models import Subscription
from commerce.operations.cancel_requests import NotAsked, decline_cancel_request
from commerce.operations.cancellations import (
    AlreadyStopped,
    Canceled,
    CancellationQuote,
    NothingToCancel,
    Reason,
    Seen,
    cancel_subscription,
    quote_cancellation,
)
from commerce.operations.changes import is_reactivable
from commerce.operations.handovers import can_change_hands
from commerce.queries import details, handovers
from commerce.queries.cancellations import Ending
from commerce.views.cancel_requests import notice_of
from commerce.views.subscriptions import day, day_of, money
from commerce.views.wording import REASONS, Told, life
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, Text
from config.kit.money import tax_label
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from directory.sessions import require_fresh

SALT = "commerce.cancel"


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def cancel(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what canceling would do now. POST: do it, or keep what one was asked to cancel.

    A refund is asked for after the commit, of who signed in within five minutes.
    """
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        actor.require(
            Capability.MANAGE_PURCHASES,
            is_own=subscription.is_owned_by(actor),
            is_org=subscription.is_organizations,
            sees=Capability.SEE_PURCHASES,
        )
    if request.POST.get("action") == "keep":
        return _keep(request, actor, key, at)
    if request.method == "POST":
        return _cancel(request, actor, subscription, at)
    return _page(request, actor, key, at)


def _cancel(request: HttpRequest, actor: Actor, subscription: Subscription, at: datetime) -> HttpResponse:
    try:
        version, seen = _signed(request.POST.get("quote", ""), subscription)
        if seen.refund_minor:
            require_fresh(request)
        canceled = cancel_subscription(
            actor=actor,
            key=subscription.key,
            version=version,
            seen=seen,
            reason=_reason(request.POST.get("reason", "")),
            at=at,
        )
    except (Conflict, Malformed) as refused:
        return _page(request, actor, subscription.key, at, refused=refused)
    messages.success(request, _done(canceled))
    address = reverse("portal:subscription", args=[subscription.key])
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _keep(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> HttpResponse:
    """Decline to cancel, though asked to."""
    try:
        declined = decline_cancel_request(actor=actor, key=key, at=at)
    except NotAsked as refused:
        return _page(request, actor, key, at, refused=refused)
    told = _("%(by)s is told that you keep it. Nothing else changed.") % {"by": declined.asked_by}
    messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:subscription", args=[key]), status=HTTPStatus.SEE_OTHER)


def _sign(subscription: Subscription, quote: CancellationQuote) -> str:
    seen = quote.seen
    facts = [str(seen.ending), seen.refund_minor, seen.credited_minor, seen.still_minor]
    return signing.dumps([str(subscription.key), subscription.version, *facts], salt=SALT)


def _signed(text: str, subscription: Subscription) -> tuple[int, Seen]:
    """Version and money of the page that was shown.

    :raises Malformed: it is not one of ours, or of another purchase.
    """
    try:
        key, version, *facts = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        key = ""
    if key != str(subscription.key):
        raise Malformed(_("Nothing was changed. Look at what happens, and decide again."))
    return version, Seen(*facts)


def _reason(text: str) -> Reason | None:
    return Reason(text) if text in Reason else None


def _done(canceled: Canceled) -> str:
    subscription, quote = canceled.subscription, canceled.quote
    facts = {
        "product": subscription.product.name,
        "refund": money(quote.refund_minor, quote.currency),
        "credited": money(quote.credited_minor, quote.currency),
        "last": day(states.last_day(subscription.term_end), subscription.time_zone),
    }
    if quote.ending == Ending.BEFORE_START:
        return _("%(product)s is canceled and never starts. Nothing was charged.") % facts
    if quote.ending == Ending.AT_TERM:
        return _("The renewal of %(product)s is stopped. Its last day is %(last)s.") % facts
    told = [_("%(product)s is canceled. Nobody has access from now on.") % facts]
    if quote.refund_minor:
        told.append(_("%(refund)s goes back to the card that paid.") % facts)
    if quote.credited_minor:
        told.append(_("%(credited)s is no longer to be paid.") % facts)
    return " ".join(told)


# --- What the page says ------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    actor: Actor,
    key: uuid.UUID,
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    """The preview as things are now; where nothing can be canceled any more, how it stands."""
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        product = subscription.product
        address = reverse("portal:subscription", args=[key])
        context: dict[str, Any] = {
            "title": _("Cancel %(product)s") % {"product": product.name},
            "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
            "problem": str(refused) if refused else "",
            "subscription": subscription,
            "product": product,
            "address": address,
            "zone": subscription.time_zone,
            "asked": notice_of(actor, subscription),
            "is_own": subscription.is_owned_by(actor),
        }
        try:
            quote = quote_cancellation(subscription=subscription, at=at)
        except (NothingToCancel, AlreadyStopped) as nothing:
            return _nothing_to_cancel(request, subscription, context, refused or nothing)
        context |= {
            "quote": quote,
            "signed": _sign(subscription, quote),
            "figures": figures_of(subscription, quote, at),
            "steps": _steps(actor, subscription, quote, at),
            "button": button_of(subscription, quote),
            "reasons": [(str(code), label) for code, label in REASONS.items()],
            "chosen_reason": request.POST.get("reason", ""),
            "removable": quote.plan.removable,
            "removable_until": quote.plan.removable_until,
            "ends_at_once": quote.ending == Ending.AT_ONCE,
            "ends_at_term": quote.ending == Ending.AT_TERM,
            "has_open_bill": quote.ending == Ending.AT_TERM and handovers.has_open_bill(subscription),
            "may_hand_over": subscription.is_owned_by(actor) and can_change_hands(subscription),
            "ends_on": day(states.last_day(subscription.term_end), subscription.time_zone),
            "back_until": _deleted_on(subscription, quote, at),
        }
        return render_page(
            request, "commerce/cancel.html", context, status=refused.status if refused else HTTPStatus.OK
        )


def _nothing_to_cancel(
    request: HttpRequest, subscription: Subscription, context: dict[str, Any], refused: DomainError
) -> HttpResponse:
    context |= {
        "problem": str(refused),
        "status": details.status_of(subscription),
        "can_turn_on": subscription.state == Subscription.State.ACTIVE,
        "can_reactivate": is_reactivable(subscription),
    }
    return render_page(request, "commerce/cancel_over.html", context, status=HTTPStatus.CONFLICT)


def figures_of(
    subscription: Subscription, quote: CancellationQuote, at: datetime
) -> list[tuple[Text, Text, Text]]:
    """Label, value and note of each figure: what happens, the last day, the money."""
    zone, currency = subscription.time_zone, quote.currency
    people = ngettext(
        "%(count)d person loses access", "%(count)d people lose access", subscription.assigned
    ) % {"count": subscription.assigned}
    if quote.ending == Ending.BEFORE_START:
        return [
            (_("What happens"), _("It never starts"), _("It is deleted, which is final")),
            (_("Would have started"), day(subscription.period_start, zone), ""),
            (_("To pay"), money(0, currency), _("Nothing was billed")),
        ]
    if quote.ending == Ending.AT_ONCE:
        figures: list[tuple[Text, Text, Text]] = [
            (_("What happens"), _("Access ends at once"), people),
            (_("Last day"), _("Today"), day(at, zone)),
        ]
        until = moment(quote.plan.refund_until, zone)
        if quote.refund_minor or not quote.credited_minor:
            note = _("With %(tax)s, if you cancel before %(until)s") % {
                "tax": tax_label(subscription.tax_name),
                "until": until,
            }
            figures.append((_("Refund"), money(quote.refund_minor, currency), note))
        if quote.credited_minor:
            owed = _("%(owed)s for the days used stays to be paid") % {
                "owed": money(quote.owed_minor, currency)
            }
            note = owed if quote.owed_minor else _("The open bill is called off")
            figures.append((_("No longer to be paid"), money(quote.credited_minor, currency), note))
        return figures
    figures = [
        (_("What happens"), _("Renewal stops"), _("Everybody keeps working for now")),
        (_("Last day"), day(states.last_day(subscription.term_end), zone), _("Then it expires")),
        (_("Refund"), money(0, currency), _why_no_refund(subscription, quote)),
    ]
    if quote.plan.still_minor:
        note = _("With %(tax)s, month by month until the end of the term") % {
            "tax": tax_label(subscription.tax_name)
        }
        figures.append((_("Still to be charged"), money(quote.plan.still_minor, currency), note))
    return figures


def _why_no_refund(subscription: Subscription, quote: CancellationQuote) -> str:
    if subscription.disputed_at is not None:
        return _("A charge is contested at the bank")
    if quote.plan.refund_until is not None:
        return _("The 7 days ended on %(until)s") % {
            "until": moment(quote.plan.refund_until, subscription.time_zone)
        }
    return _("It is not inside a refund window")


def _steps(actor: Actor, subscription: Subscription, quote: CancellationQuote, at: datetime) -> list[Told]:
    if quote.ending == Ending.BEFORE_START:
        return [Told("is-change", _("Today"), _("It is deleted. Nobody had access, nothing was billed."))]
    if quote.ending == Ending.AT_TERM:
        first = Told("is-change", _("Today"), _("Recurring billing goes off. Nobody loses access today."))
        return [
            first,
            *(
                Told("", step.title, step.text)
                for step in life(actor, subscription, recurring_billing=False)[1:]
            ),
        ]
    today = ngettext(
        "Access ends for the person with a license.",
        "Access ends for the %(count)d people with a license.",
        subscription.assigned,
    ) % {"count": subscription.assigned}
    if quote.refund_minor:
        refund = money(quote.refund_minor, quote.currency)
        today += " " + _("%(refund)s goes back to the card that paid; banks show it within 5 to 10 days.") % {
            "refund": refund
        }
    return [
        Told("is-change", _("Today"), today),
        Told(
            "",
            _("Until it is deleted"),
            _("Holders and data stay listed. You can bring it back by paying a new period."),
        ),
        Told(
            "",
            _("%(day)s: Deleted") % {"day": _deleted_on(subscription, quote, at)},
            _("This is final. The assignments end."),
        ),
    ]


def _deleted_on(subscription: Subscription, quote: CancellationQuote, at: datetime) -> str:
    """The day from which it can no longer be brought back; empty when it never can."""
    product, zone = subscription.product, subscription.time_zone
    if quote.ending == Ending.AT_ONCE:
        return day(periods.days_later(at, product.disabled_days, zone), zone)
    if quote.ending == Ending.AT_TERM:
        steps = details.life_of(subscription, recurring_billing=False)
        return day_of(steps[-1].day) if steps[-1].day else ""
    return ""


def button_of(subscription: Subscription, quote: CancellationQuote) -> str:
    zone = subscription.time_zone
    if quote.ending == Ending.BEFORE_START:
        return _("Cancel before it starts")
    if quote.ending == Ending.AT_TERM:
        return _("Stop the renewal on %(day)s") % {"day": day(states.last_day(subscription.term_end), zone)}
    if quote.refund_minor:
        return _("Cancel now, refund %(refund)s") % {"refund": money(quote.refund_minor, quote.currency)}
    return _("Cancel now")
