"""The pages of the demo, for anybody: sign in as anyone, move the clock, read the mails (product §16, §17)."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.csp import CSP
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from commerce.views.wording import EVENTS
from config.demo import accounts as cast
from config.demo import cards as test_cards
from config.demo import mailbox, people, walk
from config.demo import names as name_server
from config.demo.environment import names_file
from config.kit import access
from config.kit import clock as kit_clock
from config.kit.errors import Malformed, NotVisible
from directory.queries import door_of_address
from directory.sessions import PENDING, end_session

# The home of most of the demo's people.
ZONE = people.tenant("contoso").time_zone

LONGEST_RECORD = 1000
_MAIL_PAGE_CSP: dict[str, Any] = {**settings.SECURE_CSP, "frame-src": [CSP.SELF]}
_MAIL_CSP: dict[str, Any] = {
    "default-src": [CSP.NONE],
    "style-src": [CSP.UNSAFE_INLINE],
    "img-src": ["data:"],
    "form-action": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.SELF],
    # Links lead out of the frame, to the page of the portal that the mail speaks of.
    "sandbox": ["allow-top-navigation-by-user-activation"],
}


@access.public
@never_cache
@require_safe
def accounts(request: HttpRequest) -> HttpResponse:
    """Every account by organization and role."""
    return _page(request, "accounts", {"cards": cast.cards()})


@access.public
@never_cache
@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign out whoever is here, and start the sign-in of the chosen account at its own identity provider.

    An address that leads to no provider gets the e-mail page, as it would there.
    """
    found = people.find(request.POST.get("mail", ""))
    if found is None:
        raise NotVisible
    home, person = found
    mail = home.mail(person)
    door = door_of_address(mail)
    end_session(request)
    request.user, request.actor = AnonymousUser(), None  # type: ignore[attr-defined]
    if door is None:
        return redirect(f"{reverse('directory:sign-in')}?{urlencode({'email': mail})}")
    request.session[PENDING] = {
        "key": door.provider_key,
        "next": "/operator/" if person.staff_roles else "/",
        "hint": mail,
    }
    # A page that goes on, since Chromium applies form-action to redirects (reliability §7).
    address = reverse("directory:provider-login", args=[door.provider_key])
    return render(request, "directory/go_on.html", {"address": address})


@access.public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def clock(request: HttpRequest) -> HttpResponse:
    """What time it is in the demo, what the last walk did, and the buttons that start one."""
    if request.method == "POST":
        days = request.POST.get("days", "")
        if not days.isascii() or not days.isdigit() or len(days) > 3:
            raise Malformed(_("Choose 1, 7 or 30 days."), field="days")
        walk.start(int(days))
        return redirect("demo:clock")
    # Asked in this order, a walk that ends in between is shown as going once more, and never as broken off.
    is_going, shown = walk.is_going(), walk.shown()
    done = len(shown["log"]) if shown else 0
    context = {
        "steps": walk.STEPS,
        "is_going": is_going,
        "walk": shown,
        "done": done,
        "is_broken_off": shown is not None and not is_going and done < shown["days"],
        "days": list(_told(shown["log"])) if shown else [],
        "offset_days": round(kit_clock.offset().total_seconds() / 86400),
    }
    return _page(request, "clock", context)


@access.public
@never_cache
@require_safe
def mails(request: HttpRequest) -> HttpResponse:
    """The mails that were sent, newest first."""
    return _page(request, "mails", {"mails": mailbox.mails()})


@access.public
@never_cache
@require_safe
@csp_override(_MAIL_PAGE_CSP)
def mail(request: HttpRequest, key: str) -> HttpResponse:
    """One mail: its text, and its HTML in a frame of its own."""
    return _page(request, "mail", {"mail": _found(key)})


@access.public
@never_cache
@require_safe
@csp_override(_MAIL_CSP)
def mail_html(request: HttpRequest, key: str) -> HttpResponse:
    """The HTML of one mail, without script and without anything from elsewhere."""
    html = _found(key).html
    if not html:
        raise NotVisible
    return HttpResponse(html.replace("<head>", '<head><base target="_top">', 1))


@access.public
@never_cache
@require_safe
def cards(request: HttpRequest) -> HttpResponse:
    """The card numbers that the processor knows and what each does."""
    return _page(request, "cards", {"groups": test_cards.groups()})


@access.public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def names(request: HttpRequest) -> HttpResponse:
    """The records that the demo's name server answers with. POST: publish one, or withdraw those of a name."""
    file = names_file({"CLOCK_FILE": str(settings.CLOCK_FILE)})
    if request.method == "POST":
        name, text = (request.POST.get(field, "").strip()[:LONGEST_RECORD] for field in ("name", "text"))
        if request.POST.get("action") == "withdraw":
            name_server.withdraw(file, name)
        elif not text or not text.isascii() or not text.isprintable() or "." not in name:
            raise Malformed(_("Enter the name and the value of the record."), field="name")
        else:
            name_server.publish(file, name, text)
        return redirect("demo:names")
    return _page(request, "names", {"records": sorted(name_server.published(file).items())})


def _page(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    shared = {"section": "demo", "page": name, "now": kit_clock.now(), "zone": ZONE}
    return render(request, f"demo/{name}.html", shared | context)


def _found(key: str) -> mailbox.Mail:
    found = mailbox.find(key)
    if found is None:
        raise NotVisible
    return found


def _told(log: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The days on which something happened, in words."""
    for entry in log:
        happenings = [_happening(each) for each in entry["happenings"]]
        if happenings or entry["paid"] or entry["declined"] or entry["mails"]:
            yield entry | {"happenings": happenings}


def _happening(happening: dict[str, Any]) -> dict[str, Any]:
    code = happening["code"]
    return happening | {"what": EVENTS.get(code, code.replace("_", " ").capitalize())}
