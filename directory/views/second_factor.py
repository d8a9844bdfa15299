"""The second factor of the vendor's staff: shown before any page of /operator/, set up, removed (docs/adr/0033)."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now, real_now
from config.kit.errors import DomainError, Malformed, NotVisible
from config.kit.objects import read_json
from config.kit.operator import render_operator_page
from config.kit.secrets import Undecipherable, decrypt, encrypt
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.operations import second_factor
from directory.operations.second_factor import PasskeyRefused, WrongCode
from directory.queries.factors import Factors, factors_of, passkeys_of
from directory.sessions import STAFF_FACTOR, note_second_factor, require_fresh
from directory.sign_in import safe_next
from directory.staff import StaffCapability
from directory.views.factor_limits import count_try, remember_browser

# What the session keeps while a factor is set up or shown.
PENDING_APP = "factor_app"
CEREMONY = "factor_ceremony"


@access.signed_in(owns_transaction=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """The page in front of the vendor's site. POST: a code, or what a passkey signed."""
    actor = _staff(request)
    have = _factors(actor)
    next_path = safe_next(request.POST.get("next") or request.GET.get("next") or reverse("operator:index"))
    if not have.shown:
        return HttpResponseRedirect(reverse("operator:factor-app"))
    if request.method != "POST":
        return _ask(request, have, next_path)
    try:
        _check(request, actor)
    except DomainError as error:
        return _ask(request, have, next_path, error)
    note_second_factor(request)
    response = HttpResponseRedirect(next_path, status=HTTPStatus.SEE_OTHER)
    remember_browser(request, response, request.user.key)  # type: ignore[union-attr]
    return response


@access.signed_in(owns_transaction=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def set_up_app(request: HttpRequest) -> HttpResponse:
    """The secret for an authenticator app, as a QR code and in letters. POST: the code that it shows."""
    actor = _may_set_up(request)
    if isinstance(actor, HttpResponse):
        return actor
    secret = _pending_secret(request)
    problem: DomainError | None = None
    if request.method == "POST":
        try:
            codes = second_factor.set_up_app(
                actor=actor,
                secret=secret,
                code=request.POST.get("code", ""),
                has_shown=_has_shown(request),
                at=now(),
                real_at=real_now(),
            )
        except (WrongCode, second_factor.FactorTaken) as error:
            problem = error
        else:
            del request.session[PENDING_APP]
            return _set_up(request, codes, _("The app is set up."))
    path, size = factors.qr_path(factors.app_address(actor.email, secret))
    context = {
        "secret": " ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
        "address": factors.app_address(actor.email, secret),
        "qr_path": path,
        "qr_size": size,
        "problem": problem,
        "is_first": not _factors(actor).shown,
        "passkeys_work": factors.passkeys_work(),
    }
    return render(request, "directory/factor_app.html", context, status=problem.status if problem else 200)


@access.signed_in(owns_transaction=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def set_up_passkey(request: HttpRequest) -> HttpResponse:
    """The browser makes a passkey. POST: what it made."""
    actor = _may_set_up(request)
    if isinstance(actor, HttpResponse):
        return actor
    if not factors.passkeys_work():
        raise NotVisible
    problem: DomainError | None = None
    if request.method == "POST":
        try:
            codes = second_factor.set_up_passkey(
                actor=actor,
                name=request.POST.get("name", ""),
                state=request.session.pop(CEREMONY, None) or {},
                answer=_answer(request),
                has_shown=_has_shown(request),
                at=now(),
                real_at=real_now(),
            )
        except (PasskeyRefused, second_factor.FactorTaken) as error:
            problem = error
        else:
            return _set_up(request, codes, _("The passkey is set up."))
    with tenant_atomic(actor.home_tenant_id):
        known = passkeys_of(request.user.pk or 0)
    options, request.session[CEREMONY] = factors.ask_for_new_passkey(request.user, known)  # type: ignore[arg-type]
    context = {"options": options, "problem": problem}
    return render(
        request, "directory/factor_passkey.html", context, status=problem.status if problem else 200
    )


@access.requires(sees=StaffCapability.OPERATE, owns_transaction=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def manage(request: HttpRequest) -> HttpResponse:
    """The person's own second factors. POST, by a fresh sign-in: remove one, or make new recovery codes."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    problem: DomainError | None = None
    codes: list[str] = []
    if request.method == "POST":
        require_fresh(request)
        try:
            codes = _change(request, actor)
        except second_factor.LastFactor as error:
            problem = error
        else:
            if not codes:
                messages.success(request, _("Removed."))
                return HttpResponseRedirect(reverse("operator:factors"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("Second factor"),
        "have": _factors(actor),
        "codes": codes,
        "problem": problem,
        "passkeys_work": factors.passkeys_work(),
    }
    return render_operator_page(
        request, "directory/factors.html", context, status=problem.status if problem else 200
    )


def _change(request: HttpRequest, actor: Actor) -> list[str]:
    has_shown = _has_shown(request)
    if request.POST.get("action") == "codes":
        return second_factor.renew_recovery_codes(
            actor=actor, has_shown=has_shown, at=now(), real_at=real_now()
        )
    factor = request.POST.get("factor", "")
    if not (factor.isascii() and factor.isdigit() and len(factor) < 19):
        raise Malformed(_("Choose one from the list."), field="factor")
    second_factor.remove_factor(actor=actor, factor_id=int(factor), has_shown=has_shown, at=now())
    return []


def _staff(request: HttpRequest) -> Actor:
    """:raises NotVisible: nobody of the vendor's staff."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not actor.staff_roles:
        raise NotVisible
    return actor


def _may_set_up(request: HttpRequest) -> Actor | HttpResponse:
    """Who has a factor shows it first; everybody proves at their own sign-in page that they are there.

    :raises NotVisible: nobody of the vendor's staff. :raises SignInTooOld: signed in too long ago.
    """
    actor = _staff(request)
    if _factors(actor).shown and not _has_shown(request):
        return HttpResponseRedirect(f"{reverse('operator:second-factor')}?next={request.path}")
    require_fresh(request)
    return actor


def _factors(actor: Actor) -> Factors:
    with tenant_atomic(actor.home_tenant_id):
        return factors_of(actor.user_id or 0)


def _has_shown(request: HttpRequest) -> bool:
    return bool(request.session.get(STAFF_FACTOR))


def _pending_secret(request: HttpRequest) -> str:
    """The secret that is being set up, kept encrypted in the session, so that a reload shows the same."""
    try:
        secret = decrypt(str(request.session.get(PENDING_APP, "")))
    except Undecipherable:
        secret = ""
    if not secret:
        secret = factors.new_secret()
        request.session[PENDING_APP] = encrypt(secret)
    return secret


def _ask(
    request: HttpRequest, have: Factors, next_path: str, error: DomainError | None = None
) -> HttpResponse:
    context: dict[str, Any] = {"have": have, "next": next_path, "problem": error, "options": None}
    if have.has_passkey and factors.passkeys_work():
        actor: Actor = request.actor  # type: ignore[attr-defined]
        with tenant_atomic(actor.home_tenant_id):
            known = passkeys_of(actor.user_id or 0)
        context["options"], request.session[CEREMONY] = factors.ask_for_passkey(known)
    response = render(
        request, "directory/second_factor.html", context, status=error.status if error else HTTPStatus.OK
    )
    if error and error.status == HTTPStatus.TOO_MANY_REQUESTS:
        response["Retry-After"] = str(error.facts["retry_after"])
    return response


def _check(request: HttpRequest, actor: Actor) -> None:
    """:raises WrongCode, PasskeyRefused, TooManyTries: it was not shown."""
    times = {"at": now(), "real_at": real_now()}
    if "credential" in request.POST:
        state = request.session.pop(CEREMONY, None) or {}
        if not second_factor.take_passkey(actor=actor, state=state, answer=_answer(request), **times):
            raise PasskeyRefused
        return
    count_try(request, request.user.key)  # type: ignore[union-attr]
    if not second_factor.take_code(actor=actor, code=request.POST.get("code", "")[:40], **times):
        raise WrongCode


def _answer(request: HttpRequest) -> object:
    """:raises PasskeyRefused: no JSON."""
    try:
        return read_json(request.POST.get("credential", "")[:20_000])
    except ValueError as error:
        raise PasskeyRefused from error


def _set_up(request: HttpRequest, codes: list[str], said: str) -> HttpResponse:
    """A factor just set up counts as shown; the first recovery codes are shown this once."""
    note_second_factor(request)
    if codes:
        response = render(request, "directory/factor_codes.html", {"codes": codes, "said": said})
    else:
        messages.success(request, said)
        response = HttpResponseRedirect(reverse("operator:factors"), status=HTTPStatus.SEE_OTHER)
    remember_browser(request, response, request.user.key)  # type: ignore[union-attr]
    return response
