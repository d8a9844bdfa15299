"""The dry run: what happens to every person, and the money, before the button that begins (product §10).

The button carries what the page showed, signed; the run does that, or the page comes back with what it would do now.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from commerce.models import Subscription
from commerce.states import last_day
from commerce.views.subscriptions import day, money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, Text
from config.kit.keyset import decode_cursor, encode_cursor
from config.kit.sheets import Cell, csv_lines
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Capability
from directory.sessions import require_fresh
from licensing.models import Centralization
from licensing.operations.centralizing import Seen, seen_of, start_centralizing
from licensing.operations.centralizing.starting import choice_of
from licensing.queries.centralizing import Plan, PurchasePlan, people_of, plan_of
from licensing.views.centralizing import kept_keys, keys_of
from licensing.views.wording import CENTRALIZED

SALT = "licensing.centralize"
Ending = Centralization.Ending
ROWS_AT_ONCE = 1_000


@access.requires(sees=Capability.TAKE_OVER, owns_transaction=True)
def check(request: HttpRequest) -> HttpResponse:
    """GET: the dry run, every person and the money. POST: begin, as it was shown."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return _check_page(request, actor, _choice(request.GET), at)
    choice = _choice(request.POST)
    try:
        seen = _signed(request.POST.get("quote", ""))
        if seen.gives_back:
            require_fresh(request)
        run = start_centralizing(
            actor=actor,
            purchase_keys=choice["keys"],
            target_key=choice["target"],
            ending=choice["ending"],
            ends_now=choice["ends_now"],
            seen=seen,
            at=at,
        )
    except (Conflict, Malformed) as refused:
        return _check_page(request, actor, choice, at, refused=refused)
    return HttpResponseRedirect(reverse("portal:centralization", args=[run.key]), status=HTTPStatus.SEE_OTHER)


def _choice(params: QueryDict) -> dict[str, Any]:
    """What was chosen so far. :raises Malformed: an address that makes no sense."""
    ending = params.get("ending", "") or Ending.TAKE_OVER
    try:
        key = uuid.UUID(params.get("target", ""))
    except ValueError:
        raise Malformed(_("Choose the central subscription to move to."), field="target") from None
    if ending not in Ending.values:
        raise Malformed(_("This page address is not valid."))
    return {
        "keys": keys_of(params),
        "target": key,
        "ending": ending,
        "ends_now": params.get("ends_now") == "1" and ending == Ending.TAKE_OVER,
    }


def _sign(seen: Seen) -> str:
    return signing.dumps([seen.needed, seen.ends_now, seen.purchases], salt=SALT, compress=True)


def _signed(text: str) -> Seen:
    try:
        needed, ends_now, purchases = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        raise Malformed(_("Nothing was changed. Look at what happens, and decide again.")) from None
    return Seen(needed, ends_now, tuple(tuple(each) for each in purchases))


def _check_page(
    request: HttpRequest,
    actor: Actor,
    choice: dict[str, Any],
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    only = request.GET.get("show") == "exceptions"
    with tenant_atomic(actor):
        purchases, goal = choice_of(actor, choice["keys"], choice["target"])
        plan = plan_of(purchases=purchases, target=goal, ending=choice["ending"], at=at)
        ids = [row.pk for row in purchases]
        people, next_after = people_of(
            goal, ids, after=_after(request.GET.get("page", "")), only_exceptions=only
        )
        by_id = {row.pk: row for row in purchases}
        kept = _address(choice)
        context: dict[str, Any] = {
            "title": _("Centralize %(product)s") % {"product": goal.product.name},
            "crumbs": [(_("Centralize"), reverse("portal:centralize"))],
            "step": 3,
            "problem": str(refused) if refused else "",
            "plan": plan,
            "product": goal.product,
            "choice": choice,
            "keys": [str(key) for key in choice["keys"]],
            "quote": _sign(seen_of(plan, ends_now=choice["ends_now"])),
            "figures": _figures(plan, choice["ends_now"]),
            "steps": _steps(request, plan, choice["ends_now"], at),
            "obstacles": _obstacles(plan),
            "purchases": [_end_line(each, choice) for each in plan.purchases],
            "can_end_now": any(each.money.can_end_now for each in plan.purchases),
            "people": [
                {
                    "name": each.name,
                    "email": each.email,
                    "initials": User(name=each.name).initials,
                    "from": by_id[each.subscription_id].purchaser_name,
                    "outcome": CENTRALIZED[each.outcome],
                }
                for each in people
            ],
            "exceptions": plan.people - plan.counts.get("moved", 0),
            "only_exceptions": only,
            "all_address": f"?{kept}",
            "exceptions_address": f"?{kept}&show=exceptions",
            "csv_address": f"{reverse('portal:centralize-people')}?{kept}",
            "next_address": _next_address(kept, only, next_after),
            "back": f"{reverse('portal:centralize-target')}?{kept_keys(choice['keys'])}",
            "button": ngettext("Centralize %d purchase", "Centralize %d purchases", len(purchases))
            % len(purchases),
        }
        return render_page(
            request,
            "licensing/centralize_check.html",
            context,
            status=refused.status if refused else HTTPStatus.OK,
        )


def _after(cursor: str) -> tuple[str, int, int]:
    if not cursor:
        return "", 0, 0
    name, user, subscription = decode_cursor(cursor, 3)[1]
    if not (isinstance(name, str) and isinstance(user, int) and isinstance(subscription, int)):
        raise Malformed(_("This page address is not valid."), field="page")
    return name, user, subscription


def _next_address(kept: str, only: bool, after: tuple[str, int, int] | None) -> str:
    if after is None:
        return ""
    page = urlencode({"page": encode_cursor(after, backward=False)})
    return f"?{kept}&{page}" + ("&show=exceptions" if only else "")


def _address(choice: dict[str, Any]) -> str:
    pairs = [("purchase", str(key)) for key in choice["keys"]]
    pairs += [("target", str(choice["target"])), ("ending", str(choice["ending"]))]
    return urlencode(pairs + ([("ends_now", "1")] if choice["ends_now"] else []))


def _figures(plan: Plan, ends_now: bool) -> list[tuple[Text, Text, Text]]:
    """Label, value and note: purchases, people, licenses, the refund, and what is no longer paid a month."""
    currency = plan.target.currency
    names = ", ".join(dict.fromkeys(each.subscription.purchaser_name for each in plan.purchases[:4]))
    held = plan.counts.get("held", 0)
    figures: list[tuple[Text, Text, Text]] = [
        (_("Purchases to end"), str(len(plan.purchases)), names),
        (
            _("People who get a license"),
            str(plan.needed),
            ngettext("%d has a central one already", "%d have a central one already", held) % held,
        ),
        (
            _("Central licenses after"),
            _("%(free)d free") % {"free": max(plan.free - plan.needed, 0)},
            _("of %(bought)d, now %(free)d free") % {"bought": plan.target.quantity, "free": plan.free},
        ),
    ]
    if plan.ending == Ending.TAKE_OVER:
        refunded = [each.subscription.purchaser_name for each in plan.purchases if each.money.refund_minor]
        note = (
            _("%(names)s, with tax") % {"names": ", ".join(refunded[:3])}
            if refunded
            else _("No window is open")
        )
        figures.append((_("Refund to cards"), money(plan.refund_minor, currency), note))
        still = sum(each.money.still_minor for each in plan.purchases)
        if still:
            figures.append(
                (
                    _("Still billed to you"),
                    money(still, currency),
                    _("Until the end of their terms, with tax"),
                )
            )
    saved = sum(each.money.monthly_minor for each in plan.purchases if each.subscription.recurring_billing)
    figures.append((_("Saved a month"), money(saved, currency), _("Once all have ended, without tax")))
    return figures


def _obstacles(plan: Plan) -> list[dict[str, str]]:
    """Why it cannot run, each with what to do about it."""
    found = []
    if plan.missing:
        found.append(
            {
                "title": ngettext(
                    "%d central license is missing", "%d central licenses are missing", plan.missing
                )
                % plan.missing,
                "text": _("Add licenses to the central subscription first, or choose fewer purchases."),
                "address": reverse("portal:seats", args=[plan.target.key])
                + f"?quantity={plan.target.quantity + plan.missing}",
                "link": _("Add licenses"),
            }
        )
    if plan.stranded:
        found.append(
            {
                "title": ngettext("%d guest would lose access", "%d guests would lose access", plan.stranded)
                % plan.stranded,
                "text": _("The product is for members only now. Take their licenses back first."),
                "address": "",
                "link": "",
            }
        )
    found += [
        {
            "title": _("%(name)s cannot be asked to cancel") % {"name": each.subscription.purchaser_name},
            "text": _("They left, or it ends or belongs to the organization already. Choose to take over."),
            "address": "",
            "link": "",
        }
        for each in plan.unaskable
    ]
    if plan.unpayable:
        found.append(
            {
                "title": _("Nobody would pay what is taken over"),
                "text": _("Your organization has neither an agreement nor a card."),
                "address": reverse("portal:card-add") + "?payer=organization",
                "link": _("Add the organization's card"),
            }
        )
    return found


def _end_line(each: PurchasePlan, choice: dict[str, Any]) -> dict[str, Any]:
    """How one purchase ends, in a sentence."""
    row, sums = each.subscription, each.money
    zone, currency = row.time_zone, row.currency
    facts = {
        "refund": money(sums.refund_minor, currency),
        "still": money(sums.still_minor, currency),
        "day": day(last_day(sums.ends_at), zone) if sums.ends_at else "",
        "credited": money(sums.credited_minor, currency),
    }
    if row.state == Subscription.State.DISABLED:
        text = _("Gives no access any more; it stays Disabled.")
    elif choice["ending"] == Ending.ASK:
        text = _("Asked by mail to cancel; goes on until then.")
    elif sums.ends_at_once and sums.refund_minor:
        text = _("%(refund)s back to the card that paid; Disabled then.") % facts
    elif sums.ends_at_once:
        text = _("Its open bill of %(credited)s is called off; Disabled then.") % facts
    elif sums.still_minor:
        text = _("No refund. Runs to %(day)s; %(still)s is still billed to your organization.") % facts
    elif choice["ends_now"] and sums.can_end_now:
        text = _("No refund. Ends with the money, before %(day)s.") % facts
    else:
        text = _("No refund. Renewal stops; it runs out on %(day)s.") % facts
    people = ngettext("%d person", "%d people", row.assigned) % row.assigned
    return {"name": row.purchaser_name, "people": people, "text": text}


def _steps(request: HttpRequest, plan: Plan, ends_now: bool, at: datetime) -> list[tuple[str, str]]:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    until = at + settings.CENTRALIZE_MONEY_AFTER
    count = len(plan.purchases)
    people = ngettext("%d person.", "%d people.", plan.needed) % plan.needed
    steps = [(_("Assign central licenses"), f"{people} {_('Nobody loses access at any moment.')}")]
    if plan.ending == Ending.ASK:
        steps.append(
            (
                ngettext("Ask %d purchaser to cancel", "Ask %d purchasers to cancel", count) % count,
                _("Mail at once, reminders after 3, 7 and 14 days; then you are offered to take over."),
            )
        )
    else:
        steps.append(
            (
                ngettext("Take over %d purchase", "Take over %d purchases", count) % count,
                _("Renewals stop; no further charge to the purchasers' cards."),
            )
        )
        refund = money(plan.refund_minor, plan.target.currency)
        steps.append(
            (
                _("Money, after %(when)s") % {"when": moment(until, tenant.time_zone)},
                _("%(refund)s back to cards, as of now. After that nothing can be undone.")
                % {"refund": refund},
            )
        )
    steps.append((_("Tell"), _("Purchasers, and the billing and global admins, by mail.")))
    steps.append(
        (
            _("Undo"),
            _("Until the money moves, one button gives back holders, owners and cards as they are now."),
        )
    )
    return steps


@access.requires(sees=Capability.TAKE_OVER, owns_transaction=True)
@require_safe
def people(request: HttpRequest) -> StreamingHttpResponse:
    """The dry run's people, all of them, as CSV."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    choice = _choice(request.GET)
    with tenant_atomic(actor):
        purchases, goal = choice_of(actor, choice["keys"], choice["target"])
    head = [_("Name"), _("E-mail"), _("Now from"), _("Then")]
    response = StreamingHttpResponse(
        csv_lines(head, _people_cells(actor, goal, purchases)), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = 'attachment; filename="centralize-dry-run.csv"'
    return response


def _people_cells(actor: Actor, goal: Subscription, purchases: list[Subscription]) -> Iterator[list[Cell]]:
    """A thousand rows a query, each in a short transaction of its own."""
    names = {row.pk: row.purchaser_name for row in purchases}
    after: tuple[str, int, int] | None = ("", 0, 0)
    while after is not None:
        with tenant_atomic(actor):
            found, after = people_of(goal, list(names), after=after, limit=ROWS_AT_ONCE)
        for each in found:
            yield [each.name, each.email, names[each.subscription_id], str(CENTRALIZED[each.outcome][0])]
