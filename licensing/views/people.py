"""One person of the organization, and the pages that end or give back an account (product §2, §11).

Each of them says before the click what happens: access, licenses, purchases, and what stays.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from commerce.views.subscriptions import day, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now, real_now
from config.kit.errors import Conflict, DomainError, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.people import LastGlobalAdmin, OwnAccount, disable_user, enable_user
from directory.permissions import Capability
from directory.queries import groups_of, person_for
from directory.views.people import line_of
from licensing.queries.people import Effect, effect_of_leaving, licenses_held, purchases_of


@access.requires(sees=Capability.SEE_PEOPLE)
@require_safe
def person(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Who somebody is here: account, roles, groups, licenses, purchases."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user = person_for(actor, key)
    line = line_of(user)
    context = {
        "title": user.name,
        "who": user,
        "tone": line["tone"],
        "roles": line["roles"],
        "crumbs": [(_("People"), reverse("portal:people"))],
        "groups": groups_of(user),
        "licenses": licenses_held(actor, user),
        "owned": _owned_lines(actor, user, purchases_of(actor, user)),
        "purchases": _purchases_address(actor, user),
        "may_manage": may_manage(actor, user),
        "may_end_sessions": may_manage(actor, user) and user.is_active,
        "may_change_roles": actor.may(Capability.MANAGE_SETTINGS) and user.status != User.Status.DELETED,
        "is_oneself": user.pk == actor.user_id,
    }
    return render_page(request, "licensing/person.html", context)


def may_manage(actor: Actor, user: User) -> bool:
    """Whether the actor may disable, enable and delete this person: admins are for global admins alone."""
    is_admin = bool(user.role_assignments.all())
    capability = Capability.MANAGE_ADMINS if is_admin else Capability.MANAGE_MEMBERS
    return actor.may(capability) and user.pk != actor.user_id and user.status != User.Status.DELETED


def _purchases_address(actor: Actor, user: User) -> str:
    """The list of what somebody bought, for who sees it; empty for others."""
    if "all" not in actor.scopes(Capability.SEE_PURCHASES):
        return ""
    return f"{reverse('portal:your-products')}?{urlencode({'purchaser': str(user.key)})}"


def _owned_lines(actor: Actor, user: User, purchases: Any) -> list[dict[str, Any]]:
    lines = []
    for owned in purchases:
        subscription = owned.subscription
        page = "portal:subscription" if owned.is_priced else "portal:license-subscription"
        lines.append(
            {
                "subscription": subscription,
                "address": reverse(page, args=[subscription.key]),
                "next_at": owned.next_charge_at,
                "total": money(owned.total_minor, subscription.currency) if owned.total_minor else "",
                "is_priced": owned.is_priced,
            }
        )
    return lines


# --- Ending an account, and giving it back -----------------------------------------------------------------------


@access.requires(sees=Capability.SEE_PEOPLE, may=Capability.MANAGE_MEMBERS, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def disable(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what disabling somebody does. POST: do it."""
    return _end(request, key, "disable", disable_user, _("%(name)s is disabled, and signed out everywhere."))


@access.requires(sees=Capability.SEE_PEOPLE, may=Capability.MANAGE_MEMBERS, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what deleting somebody does. POST: do it."""
    change = partial(delete_user, real_at=real_now())
    return _end(request, key, "delete", change, _("%(name)s is deleted."))


@access.requires(sees=Capability.SEE_PEOPLE, may=Capability.MANAGE_MEMBERS, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def enable(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what enabling somebody does. POST: do it."""
    return _end(request, key, "enable", enable_user, _("%(name)s can sign in again."))


def _end(
    request: HttpRequest, key: uuid.UUID, deed: str, change: Callable[..., None], told: str
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    with tenant_atomic(actor):
        user = person_for(actor, key)
        _require_managed(actor, user)
    if request.method != "POST":
        return _page(request, actor, user, deed, at)
    try:
        change(actor=actor, user_id=user.pk, at=at)
    except (OwnAccount, LastGlobalAdmin) as refused:
        return _page(request, actor, user, deed, at, refused=refused)
    messages.success(request, told % {"name": user.name})
    return HttpResponseRedirect(reverse("portal:person", args=[key]), status=HTTPStatus.SEE_OTHER)


def _require_managed(actor: Actor, user: User) -> None:
    """:raises NotVisible: deleted, which is for good. :raises NotAllowed: an admin, whom a global admin manages."""
    if user.status == User.Status.DELETED:
        raise NotVisible
    if user.pk != actor.user_id and not may_manage(actor, user):
        raise NotAllowed(_("Global admins manage the accounts of admins. Nothing was changed."))


def _page(
    request: HttpRequest,
    actor: Actor,
    user: User,
    deed: str,
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    if user.pk == actor.user_id:
        refused = refused or OwnAccount()
    titles = {
        "disable": _("Disable %(name)s"),
        "enable": _("Enable %(name)s"),
        "delete": _("Delete %(name)s"),
    }
    with tenant_atomic(actor):
        effect = effect_of_leaving(actor, user, at=at)
        steps = {"disable": _disabling, "enable": _enabling, "delete": _deleting}[deed]
        context = {
            "title": titles[deed] % {"name": user.name},
            "crumbs": [
                (_("People"), reverse("portal:people")),
                (user.name, reverse("portal:person", args=[user.key])),
            ],
            "who": user,
            "deed": deed,
            "steps": steps(tenant, user, effect, at),
            "licenses": effect.licenses,
            "owned": _owned_lines(actor, user, effect.purchases),
            "problem": str(refused) if refused else "",
            "is_possible": not isinstance(refused, Conflict),
            "zone": tenant.time_zone,
        }
        status = refused.status if refused else HTTPStatus.OK
        return render_page(request, "licensing/person_end.html", context, status=status)


def _disabling(tenant: Tenant, user: User, effect: Effect, at: datetime) -> list[Told]:
    facts = {"name": user.name, "day": day(effect.seats_until, tenant.time_zone), "n": effect.seats_kept_days}
    steps = [_access(user, effect), _mails(user, effect)]
    if effect.licenses and effect.seats_kept_days:
        kept = _("Kept until %(day)s, %(n)s days from now, and free after that.")
        steps.append(Told("", _own(effect), kept % facts))
    elif effect.licenses:
        steps.append(Told("", _own(effect), _("Free at once: your organization keeps none.")))
    steps += _purchases(user, effect)
    undo = _("You can enable %(name)s again at any time. Until %(day)s everything is then as before.")
    steps.append(Told("", _("If it was a mistake"), undo % facts))
    return steps


def _deleting(tenant: Tenant, user: User, effect: Effect, at: datetime) -> list[Told]:
    facts = {"name": user.name}
    steps = [_access(user, effect), _mails(user, effect)]
    if effect.licenses:
        steps.append(Told("", _own(effect), _("Free at once, for somebody else to have.")))
    steps += _purchases(user, effect)
    names = _(
        "On bills and in the audit trail it stays, as the law asks. Everywhere else it says Former user."
    )
    steps.append(Told("", _("The name"), names))
    undo = _("No. %(name)s cannot be brought back, and cannot sign in under the same account again.")
    steps.append(Told("", _("Can it be undone?"), undo % facts))
    return steps


def _enabling(tenant: Tenant, user: User, effect: Effect, at: datetime) -> list[Told]:
    facts = {"name": user.name}
    again = _("%(name)s can sign in again, with the roles, groups and tokens from before.")
    steps = [Told("is-change", _("At once"), again % facts)]
    if effect.licenses:
        steps.append(Told("", _own(effect), _("Kept, and working again at once.")))
    else:
        none = _("%(name)s holds none now. Those that were freed can be assigned again while some are free.")
        steps.append(Told("", _("Licenses"), none % facts))
    if effect.purchases:
        owns = _("%(name)s manages them again, and gets reminders and bills from now on.")
        steps.append(Told("", _("Purchases"), owns % facts))
    return steps


def _access(user: User, effect: Effect) -> Told:
    text = _("%(name)s is signed out everywhere and can no longer use any product.") % {"name": user.name}
    if effect.tokens:
        stop = ngettext("%d token stops working.", "%d tokens stop working.", effect.tokens)
        text = f"{text} {stop % effect.tokens}"
    if effect.checkouts:
        text = f"{text} {_('A payment that was begun and not confirmed yet is not charged.')}"
    return Told("is-change", _("Access ends at once"), text)


def _mails(user: User, effect: Effect) -> Told:
    text = _("%(name)s gets no more mail from here.") % {"name": user.name}
    if effect.purchases:
        text = (
            f"{text} {_('Billing and global admins get one now, with the purchases and what they can do.')}"
        )
    return Told("", _("Mail"), text)


def _own(effect: Effect) -> str:
    count = len(effect.licenses)
    return ngettext("%d license of their own", "%d licenses of their own", count) % count


def _purchases(user: User, effect: Effect) -> list[Told]:
    if not effect.purchases:
        return []
    count = len(effect.purchases)
    title = ngettext("%d purchase is left", "%d purchases are left", count) % count
    text = _(
        "What was bought stays active and renews on the purchaser's card. Everybody keeps their license."
    )
    then = _("Admins can take it over, or ask support to cancel it.")
    return [Told("", title, f"{text} {then}")]
