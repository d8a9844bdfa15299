"""The language: of a visitor and a person, in the footer and on a page, and the organization's default (product §18)."""

from http import HTTPStatus
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language, get_language_info, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from config.kit import access, languages
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from directory.operations.languages import UnknownLanguage, choose_language, set_default_language
from directory.permissions import Capability
from directory.sign_in import safe_next


@access.public(owns_transaction=True)
@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """The footer's buttons: this browser's language, and the person's where somebody is signed in; back to the page."""
    language = request.POST.get("language", "")
    if not languages.is_known(language):
        raise UnknownLanguage
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if actor is not None:
        choose_language(actor=actor, language=language, at=now())
    response = HttpResponseRedirect(_page_before(request), status=HTTPStatus.SEE_OTHER)
    languages.remember(request, response, language)
    return response


def _page_before(request: HttpRequest) -> str:
    """Where the button was, as the browser says. A form that held it would tell pages apart that must be the same bytes."""
    try:
        page = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    if page.netloc != urlsplit(settings.PUBLIC_URL).netloc:
        return "/"
    address = page._replace(scheme="", netloc="", fragment="").geturl()
    return address if safe_next(address) == address else "/"


@access.signed_in(owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def my_language(request: HttpRequest) -> HttpResponse:
    """The person's own choice. POST: another one, or none."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method == "POST":
        wanted = request.POST.get("language", "")
        is_changed = choose_language(actor=actor, language=wanted, at=now())
        with override(wanted or get_language()):
            messages.success(request, _("Saved.") if is_changed else _("Nothing was changed."))
        response = HttpResponseRedirect(reverse("directory:language"), status=HTTPStatus.SEE_OTHER)
        languages.remember(request, response, wanted)
        return response
    with tenant_atomic(actor.home_tenant_id):
        default = Tenant.objects.values_list("language", flat=True).get(pk=actor.home_tenant_id)
    context = {
        "chosen": request.user.chosen_language,  # type: ignore[union-attr]
        "directory_says": _name_of(request.user.language),  # type: ignore[union-attr]
        "default": _name_of(default),
        "section": "account",
    }
    return render(request, "directory/language.html", context)


def _name_of(language: str) -> str:
    """What the reader calls it; empty for what the portal does not speak."""
    return str(get_language_info(language)["name_translated"]) if languages.is_known(language) else ""


@access.requires(sees=Capability.SEE_SETTINGS)
@require_http_methods(["GET", "HEAD", "POST"])
def default_language(request: HttpRequest) -> HttpResponse:
    """The organization's default."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    chosen, problem = tenant.language, ""
    if request.method == "POST":
        chosen = request.POST.get("language", "")
        try:
            is_changed = set_default_language(actor=actor, language=chosen, at=now())
        except Malformed as refused:
            problem = str(refused)
        else:
            messages.success(request, _("Saved.") if is_changed else _("Nothing was changed."))
            return HttpResponseRedirect(reverse("portal:language"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("Language"),
        "chosen": chosen,
        "problem": problem,
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        "fixed": not actor.may(Capability.MANAGE_SETTINGS),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return render_page(request, "directory/default_language.html", context, status=status)
