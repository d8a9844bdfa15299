"""Where the organization's people sign in: the provider in force, and another one tried out before it is (I-23)."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.rate import TooManyTries, client_network
from config.kit.tenancy import tenant_atomic
from directory import tryout
from directory.models import AccountLink, IdentityProvider, User
from directory.operations import provider_changes as changes
from directory.operations.people import PROVIDER_KEPT
from directory.operations.providers import active_provider, can_come, discard_provider, prepare_provider
from directory.permissions import Capability
from directory.queries import callback_key_of
from directory.queries.providers import company_of
from directory.sessions import SignInTooOld, fresh_to_post
from directory.views.sign_in import PER_NETWORK


@access.requires(sees=Capability.SEE_SETTINGS, owns_transaction=True)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def identity_provider(request: HttpRequest) -> HttpResponse:
    """The provider in force, one that is tried out or waits, and the way back. POST: one of their buttons."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    problem: DomainError | None = None
    if request.method == "POST":
        if not actor.may(Capability.MANAGE_SETTINGS):
            raise NotAllowed
        try:
            return _do(request, actor)
        except (TooManyTries, NotVisible, SignInTooOld):
            raise
        except DomainError as refused:
            problem = refused
    with tenant_atomic(actor):
        context = _context(request, actor)
        context["problem"] = str(problem) if problem else ""
        status = problem.status if problem else HTTPStatus.OK
        return render_page(request, "directory/identity_provider.html", context, status=status)


def _do(request: HttpRequest, actor: Actor) -> HttpResponse:
    key, at = request.POST.get("key", "")[:40], now()
    here = reverse("portal:identity-provider")
    match request.POST.get("action", ""):
        case "prepare":
            PER_NETWORK.count(client_network(request))
            names = ("issuer", "client_id", "client_secret")
            prepare_provider(
                actor=actor, at=at, **{name: request.POST.get(name, "")[:2000] for name in names}
            )
            said = _("Kept. It decides nothing yet: sign in there as a test.")
        case "test":
            return tryout.begin(request, key=key, next_path=here)
        case "put":
            provider = changes.put_in_force(actor=actor, key=key, at=at)
            said = (
                _("In force.")
                if provider.is_active
                else _("Planned. Every global admin has a mail about it.")
            )
        case "confirm":
            changes.confirm_change(actor=actor, key=key, at=at)
            said = _("Confirmed.")
        case "stop":
            changes.stop_change(actor=actor, key=key, at=at)
            said = _("Stopped. People go on signing in as before.")
        case "discard":
            discard_provider(actor=actor, key=key, at=at)
            said = _("Discarded.")
        case "back":
            changes.go_back(actor=actor, at=at)
            said = _("People sign in as before the change.")
        case _:
            raise Malformed(_("Choose what to do."), field="action")
    messages.success(request, said)
    return HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)


def _context(request: HttpRequest, actor: Actor) -> dict[str, Any]:
    at, active = now(), active_provider(actor)
    rows = list(can_come(actor, at=at).order_by("-switch_at", "-created_at", "-pk"))
    waiting = next((row for row in rows if row.switch_at), None)
    candidates = [] if waiting else [row for row in rows if row.ended_at is None][:1]
    earlier = changes.earlier_provider(actor, at=at)
    return {
        "title": _("Identity provider"),
        "crumbs": [(_("Sign-in"), reverse("portal:sign-in-settings"))],
        "active": active,
        "active_callback": _callback(active.key) if active else "",
        "waiting": _waiting(actor, waiting, active) if waiting else None,
        "candidate": _candidate(actor, candidates[0], active, at) if candidates else None,
        "earlier": _earlier(actor, earlier, active, at) if earlier and not waiting else None,
        "form": {name: request.POST.get(name, "")[:500] for name in ("issuer", "client_id")},
        "connect_address": f"{settings.PUBLIC_URL}{reverse('directory:connect')}",
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
    }


def _waiting(actor: Actor, provider: IdentityProvider, active: IdentityProvider | None) -> dict[str, Any]:
    seconds = changes.second_admins(provider)
    return {
        "provider": provider,
        "link": _link(actor, provider),
        "callback": _callback(provider.key),
        "company": company_of(provider, active) if active else None,
        "may_confirm": not provider.confirmed_by and seconds.filter(pk=actor.user_id).exists(),
        "is_staffs": not provider.confirmed_by and not seconds.exists(),
    }


def _candidate(
    actor: Actor, provider: IdentityProvider, active: IdentityProvider | None, at: Any
) -> dict[str, Any]:
    link = _link(actor, provider)
    is_same_issuer = active is not None and active.issuer == provider.issuer
    is_secret = active is not None and callback_key_of(provider, active) == active.key
    own = User.objects.filter(tenant_id=actor.tenant_id, pk=actor.user_id or 0).first()
    is_same = bool(link and own and is_same_issuer and own.subject == link.subject)
    return {
        "provider": provider,
        "callback": _callback(callback_key_of(provider, active)),
        "link": link,
        "is_same": is_same,
        "is_secret": is_secret,
        "is_at_once": is_secret or is_same,
        "is_tested": bool(link and link.proved_at and at - link.proved_at <= changes.TEST_HOLDS),
        "company": company_of(provider, active) if active else None,
    }


def _earlier(
    actor: Actor, provider: IdentityProvider, active: IdentityProvider | None, at: Any
) -> dict[str, Any]:
    ended: Any = provider.ended_at
    return _candidate(actor, provider, active, at) | {
        "may_undo": changes.may_undo(provider, at=at),
        "undo_until": ended + changes.UNDO,
        "kept_until": ended + PROVIDER_KEPT,
    }


def _link(actor: Actor, provider: IdentityProvider) -> AccountLink | None:
    """As whom the person came back from a test there; None where they did not try it."""
    rows = AccountLink.objects.filter(tenant_id=actor.tenant_id, provider=provider, proved_at__isnull=False)
    link: AccountLink | None = rows.filter(user_id=actor.user_id or 0).first()
    return link


def _callback(key: str) -> str:
    return f"{settings.PUBLIC_URL}{reverse('directory:provider-callback', args=[key])}"
