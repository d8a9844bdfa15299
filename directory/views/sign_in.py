"""Sign-in by work e-mail, the way to the identity provider and back, sign-out (product §3.2)."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base import ProviderException
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.kit import access
from config.kit.errors import NotVisible
from config.kit.rate import Limit, client_network
from directory import tryout
from directory.operations.people import AccountDisabled, AccountUnknown
from directory.queries import door_of_address
from directory.sessions import PENDING, PROVIDER, end_session
from directory.sign_in import (
    CallbackView,
    TenantOAuth2Adapter,
    refuse,
    safe_next,
    way_to_provider,
)

MINUTE = timedelta(minutes=1)
PER_ADDRESS = Limit("sign-in", tries=settings.SIGN_INS_PER_MINUTE, per=MINUTE)
# One address of a large organization's network signs in many people.
PER_NETWORK = Limit("sign-in-network", tries=20 * settings.SIGN_INS_PER_MINUTE, per=MINUTE)
STARTS = Limit("sign-in-start", tries=20 * settings.SIGN_INS_PER_MINUTE, per=MINUTE)
CALLBACKS = Limit("sign-in-callback", tries=20 * settings.SIGN_INS_PER_MINUTE, per=MINUTE)


def email_step(request: HttpRequest, *, next_path: str, about: str = "", **context: Any) -> HttpResponse:
    """The work e-mail page, and what its form does; for every view that needs to know who comes.

    The form posts to the view's own address. `next_path` is where the person comes back to after sign-in;
    `about` names a template shown above the form, rendered with `context`. For GET and POST of somebody who is
    not signed in; the calling view is `public`.
    """
    email = request.POST.get("email", "").strip()
    page = {"about": about, "email": email, "problem": False, **context}
    if request.method != "POST":
        page["email"] = request.GET.get("email", "")[:254]
        return render(request, "directory/email.html", page)
    caller = client_network(request)
    PER_NETWORK.count(caller)
    PER_ADDRESS.count(caller, email.lower())
    door = door_of_address(email)
    if door is None:
        page["problem"] = True
        return render(request, "directory/email.html", page, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    request.session[PENDING] = {"key": door.provider_key, "next": safe_next(next_path), "hint": email}
    # Answered by a page that goes on, since Chromium applies form-action to redirects (reliability §7).
    address = reverse("directory:provider-login", args=[door.provider_key])
    return render(request, "directory/go_on.html", {"address": address})


@access.public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """The e-mail page by itself; who is signed in goes straight on."""
    next_path = safe_next(request.POST.get("next") or request.GET.get("next"))
    if request.actor is not None:  # type: ignore[attr-defined]
        return HttpResponseRedirect(next_path)
    about = "directory/_was_signed_out.html" if "lost" in request.GET else ""
    return email_step(request, next_path=next_path, about=about, next=next_path)


@access.public(owns_transaction=True)
@never_cache
@require_GET
def provider_login(request: HttpRequest, key: str) -> HttpResponse:
    """On to the identity provider; only for a browser in which the e-mail form led here.

    Without that, a link could sign a visitor in at somebody else's provider, as somebody else.
    """
    STARTS.count(client_network(request))
    pending = request.session.get(PENDING)
    if not isinstance(pending, dict) or pending.get("key") != key:
        return redirect("directory:sign-in")
    try:
        provider = get_adapter().get_provider(request, key)
        return way_to_provider(request, provider, next_path=pending["next"], hint=pending["hint"])
    except SocialApp.DoesNotExist as error:
        raise NotVisible from error
    except ProviderException:
        return render(request, "directory/provider_away.html", status=HTTPStatus.SERVICE_UNAVAILABLE)


@access.signed_in(owns_transaction=True)
@never_cache
@require_GET
def confirm(request: HttpRequest) -> HttpResponse:
    """To the person's own provider, which asks anew who they are, and back to `next`; their session goes on."""
    PER_NETWORK.count(client_network(request))
    next_path = safe_next(request.GET.get("next"))
    try:
        provider = get_adapter().get_provider(request, request.session.get(PROVIDER, ""))
        hint = request.user.email  # type: ignore[union-attr]
        return way_to_provider(request, provider, next_path=next_path, hint=hint, confirms=True)
    except SocialApp.DoesNotExist:
        # The provider was replaced since: by the one that there is now, a new session.
        end_session(request)
        return redirect(f"{reverse('directory:sign-in')}?{urlencode({'next': next_path})}")
    except ProviderException:
        return render(request, "directory/provider_away.html", status=HTTPStatus.SERVICE_UNAVAILABLE)


@access.signed_in(owns_transaction=True)
@never_cache
@require_GET
def try_out(request: HttpRequest) -> HttpResponse:
    """To a provider that is not in force, for a browser in which a form of the person's own led here."""
    PER_NETWORK.count(client_network(request))
    kept = tryout.tried(request)
    if kept is None:
        return redirect("/")
    try:
        provider = get_adapter().get_provider(request, kept["key"])
        response = way_to_provider(request, provider, next_path=kept["next"], hint="", tries=True)
    except SocialApp.DoesNotExist as error:
        raise NotVisible from error
    except ProviderException as error:
        return refuse(request, kept["key"], error)
    tryout.sent_away(request, response)
    return response


@access.public(owns_transaction=True)
@never_cache
@require_GET
def provider_callback(request: HttpRequest, key: str) -> HttpResponse:
    """Back from the identity provider: verify, find or make the account, start the session."""
    CALLBACKS.count(client_network(request))
    key = tryout.key_of_answer(request, key)
    try:
        response: HttpResponse = CallbackView.adapter_view(TenantOAuth2Adapter(request, key))(request)
    except SocialApp.DoesNotExist as error:
        raise NotVisible from error
    except ImmediateHttpResponse as error:
        return error.response  # type: ignore[no-any-return]
    except ProviderException as error:
        return refuse(request, key, error)
    except (AccountDisabled, AccountUnknown) as error:
        return render(
            request,
            "directory/account_closed.html",
            {"error": error, "is_disabled": isinstance(error, AccountDisabled)},
            status=error.status,
        )
    return response


@access.public
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session; the one at the identity provider goes on."""
    end_session(request)
    return redirect("/")
