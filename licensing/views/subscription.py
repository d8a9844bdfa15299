"""One purchase: figures, licenses, order history, what happens next, changes (product §4, §8).

It lives here and not in commerce because it shows who holds the licenses.
"""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from commerce.models import Subscription
from commerce.operations.recurring import SWITCHABLE
from commerce.queries import details
from commerce.states import last_day, per_period
from commerce.views import wording
from commerce.views.subscriptions import CHANNEL_NAMES, day, money, sees_all
from config.kit import access, keyset
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import Malformed
from directory.models import User
from directory.permissions import Capability
from licensing.models import Assignment

ASSIGNABLE = frozenset({Subscription.State.ACTIVE, Subscription.State.EXPIRED})


@access.requires(sees=Capability.SEE_PURCHASES)
def subscription(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The limited view for its purchaser, the full one for admins, readers and partners."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    purchase = details.purchase(actor, key)
    holders = holders_of(purchase, cursor=request.GET.get("page", ""))
    whose = {"is_own": purchase.is_owned_by(actor), "is_org": purchase.is_organizations}
    may_manage = actor.reaches(Capability.MANAGE_PURCHASES, **whose)
    may_assign = actor.reaches(Capability.ASSIGN, **whose) and purchase.state in ASSIGNABLE
    may_unassign = actor.reaches(Capability.ASSIGN, **whose)
    zone = purchase.time_zone
    is_full = sees_all(actor) and not whose["is_own"]
    status = details.status_of(purchase)
    fact, note = wording.paid_by(actor, purchase)
    context: dict[str, Any] = {
        "title": _title(purchase, is_full=is_full),
        "crumbs": [(_("Your products"), reverse("portal:your-products"))],
        "subscription": purchase,
        "product": purchase.product,
        "status": status,
        "has_left": purchase.purchaser is not None and purchase.purchaser.has_left,
        "is_full": is_full,
        "is_own": whose["is_own"],
        "channel": CHANNEL_NAMES[purchase.channel],
        "bought_on": day(purchase.created_at, zone),
        "price": money(purchase.period_price_minor, purchase.currency),
        "unit_price": money(purchase.unit_price_minor, purchase.currency),
        "period": per_period(purchase.billing_months),
        "next_date": day(status.next_at, zone),
        "next_charge": money(details.charge_with_tax(purchase), purchase.currency),
        "has_next_charge": _has_next_charge(purchase),
        "tax": f"{purchase.tax_rate.normalize():f}% {purchase.tax_name}",
        "paid_by": fact,
        "paid_by_note": note,
        "holders": holders.rows,
        "next": f"?page={holders.next}#licenses" if holders.next else "",
        "back": f"?page={holders.back}#licenses" if holders.back else "",
        "history": [
            (entry, wording.history_title(entry)) for entry in details.order_history(actor, purchase)
        ],
        "steps": wording.life(actor, purchase),
        "events": [(event, wording.event_title(event)) for event in details.change_log(actor, purchase)],
        "ends_on": day(last_day(purchase.term_end), zone),
        "renews_on": day(purchase.term_end, zone),
        "may_switch": may_manage and purchase.state in SWITCHABLE,
        "assign_address": _address("portal:assign", purchase) if may_assign else "",
        "unassign_address": _address("portal:unassign", purchase) if may_unassign else "",
    }
    return render_page(request, "licensing/subscription.html", context)


def holders_of(purchase: Subscription, *, cursor: str) -> keyset.Page[Assignment]:
    """Who holds a license, in the order given, 50 a page. One query.

    :raises Malformed: not a place in this list.
    """
    if cursor:
        _backward, values = keyset.decode_cursor(cursor, 1)
        if not isinstance(values[0], int) or abs(values[0]) >= 2**63:
            raise Malformed(_("This page address is not valid."), field="page")
    live = Assignment.objects.live().filter(tenant_id=purchase.tenant_id, subscription=purchase)
    return keyset.paginate(
        live.select_related("user"), order=["id"], cursor=cursor, key=lambda assignment: [assignment.pk]
    )


def _title(purchase: Subscription, *, is_full: bool) -> str:
    """The product; with the purchaser where several people may have bought it."""
    purchaser: User | None = purchase.purchaser
    return f"{purchase.product.name}, {purchaser.name}" if is_full and purchaser else purchase.product.name


def _has_next_charge(purchase: Subscription) -> bool:
    is_running = purchase.state in SWITCHABLE and purchase.due_at is not None
    return is_running and (purchase.recurring_billing or purchase.due_at < purchase.term_end)


def _address(name: str, purchase: Subscription) -> str:
    try:
        return reverse(name, args=[purchase.key])
    except NoReverseMatch:
        return ""
