"""Which mails a person wants: the page, and the link in a mail (product §5.3, §15)."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.rate import MAIL_LINKS, client_network
from directory.operations.mail import DIGEST_TIME
from directory.operations.preferences import (
    DIGESTS,
    SWITCHABLE,
    Wanted,
    kinds_for,
    preferences_of,
    set_preferences,
    subject_of,
    switch_off,
)


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def notifications(request: HttpRequest) -> HttpResponse:
    """Which kinds of mail come, and when. POST: those that are ticked, from now on."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if actor.is_partner:
        raise NotVisible
    if request.method == "POST":
        changed = set_preferences(actor=actor, wanted=_wanted(request, actor), at=now())
        messages.success(request, _("Saved.") if changed else _("Nothing was changed."))
        return HttpResponseRedirect(reverse("directory:notifications"), status=HTTPStatus.SEE_OTHER)
    kinds = [
        {
            "kind": kind,
            "title": SWITCHABLE[kind][0],
            "note": SWITCHABLE[kind][1],
            "wanted": wanted,
            "has_digest": kind in DIGESTS,
        }
        for kind, wanted in preferences_of(actor).items()
    ]
    context = {"kinds": kinds, "section": "account", "digest_time": DIGEST_TIME.strftime("%H:%M")}
    return render(request, "directory/notifications.html", context)


def _wanted(request: HttpRequest, actor: Actor) -> dict[str, Wanted]:
    """What was posted, of the kinds that the page shows."""
    ticked = set(request.POST.getlist("kind"))
    return {
        kind: Wanted(kind in ticked, request.POST.get(f"{kind}:when") == "daily") for kind in kinds_for(actor)
    }


@access.public(owns_transaction=True)
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def switch_off_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET: which mails would stop, with the button; a link never acts. POST: they stop.

    The token is the right to do so, for the person and for the mail program that posts by itself (RFC 8058), so
    there is nothing to forge.
    """
    MAIL_LINKS.count(client_network(request))
    is_done = request.method == "POST"
    subject = switch_off(token=token, at=now()) if is_done else subject_of(token)
    title, note = SWITCHABLE[subject.kind]
    context = {"subject": subject, "title": title, "note": note, "is_done": is_done, "section": "account"}
    return render(request, "directory/switch_off.html", context)
