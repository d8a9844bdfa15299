"""Signing in, as a test, at a provider that is not in force: the session goes on, and who came back is noted.

What the browser's session keeps of it is made by a post of the person's own and holds for ten minutes, so that no link
can have somebody prove who they are at a provider that they did not choose.
"""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError
from config.kit.tenancy import tenant_atomic
from directory.id_token import Identity
from directory.operations.providers import active_provider, provider_to_try, record_test
from directory.queries import Provider, callback_key_of, provider_to_test

TRYING = "trying_provider"
SECONDS = 600


def begin(request: HttpRequest, *, key: str, next_path: str) -> HttpResponse:
    """The page that goes on to the provider; back at `next_path` the person sees what came of it.

    :raises NotVisible: nothing that this person could try out.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        provider = provider_to_try(actor, key, at=now())
        callback = callback_key_of(provider, active_provider(actor))
    request.session[TRYING] = {
        "key": key,
        "callback": callback,
        "next": next_path,
        "user": actor.user_id,
        "until": time.time() + SECONDS,
    }
    # Answered by a page that goes on, since Chromium applies form-action to redirects (reliability §7).
    return render(request, "directory/go_on.html", {"address": reverse("directory:try-out")})


def tried(request: HttpRequest) -> dict[str, Any] | None:
    """What this browser is trying out, if the person who is signed in began it lately."""
    kept = request.session.get(TRYING)
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if not isinstance(kept, dict) or actor is None or kept["user"] != actor.user_id:
        return None
    return kept if time.time() <= kept["until"] else None


def sent_away(request: HttpRequest, response: HttpResponse) -> None:
    """Remember which answer of the provider is the test's."""
    query = parse_qs(urlsplit(response.headers.get("Location", "")).query)
    request.session[TRYING] = request.session[TRYING] | {"state": query.get("state", [""])[0]}


def key_of_answer(request: HttpRequest, callback_key: str) -> str:
    """Whose answer came to a callback address: of the provider that is tried out, or of the address's own."""
    kept = tried(request)
    is_test = kept and kept["callback"] == callback_key and _is_its_answer(request, kept)
    return str(kept["key"]) if kept and is_test else callback_key


def provider_of(request: HttpRequest, key: str) -> Provider | None:
    """The provider with this key, if this browser is trying it out."""
    kept = tried(request)
    if kept is None or kept["key"] != key:
        return None
    return provider_to_test(tenant_id=request.actor.tenant_id, key=key)  # type: ignore[attr-defined]


def note(request: HttpRequest, identity: Identity, configured: Provider) -> HttpResponse:
    """Back from the provider, with a verified token: keep what it said, change nothing of the session."""
    kept = tried(request)
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if kept is None or actor is None or kept["key"] != configured.key:
        return HttpResponseRedirect(reverse("directory:sign-in"))
    del request.session[TRYING]
    try:
        record_test(actor=actor, key=configured.key, identity=identity, at=now())
    except DomainError as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("You signed in there. Nothing has changed yet."))
    return HttpResponseRedirect(kept["next"])


def failed(request: HttpRequest, reason: object) -> HttpResponse | None:
    """Back to where the test began, with what was wrong; None where no test was under way."""
    kept = tried(request)
    if kept is None or not ("state" not in kept or _is_its_answer(request, kept)):
        return None
    del request.session[TRYING]
    said = _("The test sign-in did not work. Nothing was changed.")
    messages.error(request, f"{said} ({str(reason)[:300]})" if reason else said)
    return HttpResponseRedirect(kept["next"])


def _is_its_answer(request: HttpRequest, kept: dict[str, Any]) -> bool:
    return bool(kept.get("state")) and request.GET.get("state") == kept["state"]
