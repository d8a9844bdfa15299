"""The gate in front of every view (architecture §3, §4): who, for which tenant, may they, inside which walls.

Order: resolve the address and its rule > read the person under the home tenant > check the rule > open the
acting tenant's transaction around the view and the rendering.

The transaction ends before a streamed body is sent: a view that streams opens its own.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DataError, transaction
from django.db.models import Exists, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve, reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext_lazy as _

from config.errors import BadRequest, not_found, render_error
from config.kit import languages
from config.kit.access import Rule, rule_of
from config.kit.actors import Actor
from config.kit.clock import now, real_now
from config.kit.compiled import Compiled
from config.kit.errors import DomainError, NotAllowed, NotVisible
from config.kit.http import clean_id, is_api
from config.kit.rate import client_address
from config.kit.tenancy import login_alias, tenant_atomic
from directory import bearer
from directory.actors import as_staff, build_actor, staff_roles_of, tenant_row, without_roles
from directory.models import BrowserSession, Tenant, User
from directory.operations.sessions import note_sign_of_life
from directory.permissions import suspended
from directory.queries import customers_of
from directory.sessions import (
    ACTING,
    HOME,
    RIGHTS,
    ROW,
    SECOND_FACTOR,
    SEEN,
    SINCE,
    STAFF_FACTOR,
    STARTED,
    USER,
    SignInTooOld,
    confirm_url,
    follow_rights,
)
from directory.sign_in import LONGEST_WAY
from directory.staff import STAFF_TABLE, staff_grants

SHOWN_FOR = "shown_for_tenant"
READS = ("GET", "HEAD")
# The session's last sign of life is written at most this often.
SEEN_EVERY_SECONDS = 60


class AccessMiddleware:
    """Default deny: an address without a rule answers 404, in production too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.actor = None  # type: ignore[attr-defined]
        request.tenant = None  # type: ignore[attr-defined]
        request.has_stopped_acting = False  # type: ignore[attr-defined]
        request.user = AnonymousUser()
        response = self._answer(request)
        if is_api(request):
            bearer.echo(request, response)
        # Also where the session was not looked at, so that missing and foreign pages have the same headers.
        patch_vary_headers(response, ("Cookie",))
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Roll back what a failed view wrote, and turn expected errors into their page."""
        request.failed = True  # type: ignore[attr-defined]
        if isinstance(exception, SignInTooOld):
            return sign_in_too_old(request, exception)
        if isinstance(exception, DataError) and "NUL" in str(exception):
            # psycopg says so before it asks: no text in PostgreSQL holds it, and no browser lets anybody write it.
            return render_error(request, BadRequest())
        return render_error(request, exception) if isinstance(exception, DomainError) else None

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        try:
            view = resolve(request.path_info).func
        except Resolver404 as error:
            # CommonMiddleware, outside of this one, adds a missing slash to the address of a 404.
            return not_found(request, error)
        if is_api(request):
            return bearer.answer(request, view, self.get_response)
        rule = rule_of(view)
        if rule is None:
            return not_found(request, NotVisible())
        actor = self._sign_in_again(request)
        try:
            # A peer's webhook has no form; reading it as one would take the body away from the view.
            if actor is not None and request.method == "POST" and not getattr(view, "csrf_exempt", False):
                self._check_shown_for(request, actor)
            self._check(rule, actor, is_read=request.method in READS)
        except _SignInFirst:
            return self._to_sign_in(request)
        except _SecondFactorFirst:
            return self._to_second_factor(request)
        except _EndReadingFirst:
            body = render_to_string("errors/reading_elsewhere.html", request=request)
            return HttpResponse(body, status=NotVisible.status)
        except ActingElsewhere as error:
            return acting_elsewhere(request, error)
        except DomainError as error:
            return render_error(request, error)
        if actor is None or rule.owns_transaction:
            return self.get_response(request)
        with tenant_atomic(actor):
            response = self.get_response(request)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or getattr(request, "failed", False):
                transaction.set_rollback(True, using=login_alias())
        return response

    def _sign_in_again(self, request: HttpRequest) -> Actor | None:
        """The actor of the session, from rows read now; a session that no longer holds is emptied.

        Sets `request.user`, `request.actor` and `request.tenant`.
        """
        session = request.session
        home, user_id = session.get(HOME), session.get(USER)
        if home is None or user_id is None:
            return None
        at = now()
        correlation_id = clean_id(request.headers.get("X-Correlation-Id", ""))
        acting = session.get(ACTING, home)
        with tenant_atomic(home):
            youngest = real_now() - settings.SESSION_ABSOLUTE_AGE
            user = _PERSON.first(
                session_id=session.get(ROW), user_id=user_id, tenant_id=home, youngest=youngest
            )
            if user is None or not _is_still_good(user, session.get(STARTED)):
                session.flush()
                return None
            actor = build_actor(user, acting_tenant_id=acting, at=at, correlation_id=correlation_id)
            if actor is not None and actor.is_staff and not session.get(STAFF_FACTOR):
                actor = None
            if actor is None:
                # The relationship, or the staff's session, is over: from this request on the person is at home again.
                session.cycle_key()
                session[ACTING] = home
                session.pop(RIGHTS, None)
                request.has_stopped_acting = True  # type: ignore[attr-defined]
                actor = build_actor(user, acting_tenant_id=home, at=at, correlation_id=correlation_id)
            tenant = tenant_row(home) if actor and not actor.is_partner else None
            is_of_vendor = tenant is not None and tenant.kind == Tenant.Kind.VENDOR
            staff_roles = staff_roles_of(user) if is_of_vendor else frozenset()
        if actor is None or self._is_too_old(request, actor, is_admin=bool(actor.roles or staff_roles)):
            session.flush()
            return None
        follow_rights(request, actor)
        if tenant is None:
            with tenant_atomic(actor):
                tenant = tenant_row(actor.tenant_id)
        has_factor = actor.is_staff or session.get(SECOND_FACTOR)
        if tenant.admins_need_second_factor and actor.roles and not has_factor:
            request.lacks_second_factor = tenant.name  # type: ignore[attr-defined]
            if actor.is_partner:
                # Nothing is left to act with: at home, unless that asks for the same.
                session[ACTING] = home
                return self._sign_in_again(request)
            actor = without_roles(actor)
        if staff_roles:
            actor = as_staff(actor, staff_roles, has_second_factor=bool(session.get(STAFF_FACTOR)))
        if tenant.standing == Tenant.Standing.SUSPENDED:
            actor = replace(actor, grants=suspended(actor.grants))
        languages.follow(request, own=user.reads, default=tenant.language)
        request.user = user
        request.actor = actor  # type: ignore[attr-defined]
        request.tenant = tenant  # type: ignore[attr-defined]
        return actor

    def _is_too_old(self, request: HttpRequest, actor: Actor, *, is_admin: bool) -> bool:
        """Whether the session is past its absolute or its idle age; else its last sign of life is noted."""
        session, real = request.session, time.time()
        since, seen = session.get(SINCE, 0), session.get(SEEN, 0)
        idle = settings.SESSION_IDLE_ADMIN.total_seconds() if is_admin else settings.SESSION_COOKIE_AGE
        if real - since > settings.SESSION_ABSOLUTE_AGE.total_seconds() or real - seen > idle:
            return True
        if real - seen > SEEN_EVERY_SECONDS:
            session[SEEN] = real
            note_sign_of_life(
                home_tenant_id=actor.home_tenant_id,
                session_id=session[ROW],
                address=client_address(request),
                real_at=real_now(),
            )
        return False

    def _check_shown_for(self, request: HttpRequest, actor: Actor) -> None:
        """A form that was shown for another tenant changes nothing (architecture §3). Who acts for a customer names the
        tenant in every post; whoever lost the right to act since the last request is told so.

        :raises ActingEnded, ActingElsewhere: nothing may be saved for the tenant that the session acts for now.
        """
        if request.has_stopped_acting:  # type: ignore[attr-defined]
            raise ActingEnded
        shown_for = request.POST.get(SHOWN_FOR, "" if actor.is_partner else None)
        if shown_for is not None and shown_for != str(actor.tenant_id):
            raise ActingElsewhere(shown_for=shown_for)

    def _check(self, rule: Rule, actor: Actor | None, *, is_read: bool) -> None:
        if rule.audience == "public":
            return
        if actor is None:
            raise _SignInFirst
        if rule.sees and not actor.may(rule.sees):
            if rule.sees in staff_grants(actor.staff_roles):
                raise _SecondFactorFirst
            if actor.is_staff and rule.sees in STAFF_TABLE:
                raise _EndReadingFirst
            raise NotVisible
        if rule.may and not actor.may(rule.may):
            raise NotAllowed
        if rule.sees and actor.is_staff and not is_read:
            # They read: no form of the organization's pages, whatever right it asks for, is theirs to send.
            raise NotAllowed

    def _to_second_factor(self, request: HttpRequest) -> HttpResponseRedirect:
        target = _here(request) or reverse("operator:index")
        return HttpResponseRedirect(f"{reverse('operator:second-factor')}?{urlencode({'next': target})}")

    def _to_sign_in(self, request: HttpRequest) -> HttpResponseRedirect:
        query = {"next": _here(request) or "/"}
        if request.method not in READS:
            query["lost"] = "yes"
        return HttpResponseRedirect(f"{reverse(str(settings.LOGIN_NAME))}?{urlencode(query)}")


def _here(request: HttpRequest) -> str:
    """The page to come back to: what was asked for, or where the form was that was sent; empty when too long to keep."""
    if request.method in READS:
        address = request.get_full_path()
    else:
        address = _path_here(request.headers.get("Referer", ""))
    return address if len(address) <= LONGEST_WAY else ""


def _path_here(address: str) -> str:
    """Path and query of an address of this site; empty for any other, and for what is none."""
    try:
        page = urlsplit(address)
    except ValueError:
        return ""
    is_ours = page.netloc == urlsplit(settings.PUBLIC_URL).netloc
    return urlunsplit(("", "", page.path, page.query, "")) if is_ours else ""


class _SignInFirst(Exception):
    pass


class _SecondFactorFirst(Exception):
    """It is theirs to see, once they have shown it."""


class _EndReadingFirst(Exception):
    """It is a page of their own site, while they read an organization's."""


class ActingElsewhere(DomainError):
    """A form shown for one tenant was posted while the session acts for another."""

    code = "acting_elsewhere"
    status = 409
    message = _(
        "This form was opened for another organization than the one you act for now. Nothing was saved."
    )


class ActingEnded(DomainError):
    """Something was posted for a customer for whom the person may not act any more."""

    code = "acting_ended"
    status = 409
    message = _(
        "You can no longer act for this customer: the relationship has ended, or your roles in it were taken back. "
        "Nothing was saved. You are back in your own organization."
    )


def acting_elsewhere(request: HttpRequest, error: ActingElsewhere) -> HttpResponse:
    """The 409 page. It offers to switch back to where the form was shown, if the person may act there."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    shown_for = str(error.facts["shown_for"])
    context: dict[str, Any] = {"error": error, "customer": None}
    if shown_for == str(actor.home_tenant_id):
        context["offers_home"] = True
    else:
        customers = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=now())
        context["customer"] = next((c for c in customers if str(c.tenant_id) == shown_for), None)
    body = render_to_string("errors/acting_elsewhere.html", context, request=request)
    return HttpResponse(body, status=error.status)


def sign_in_too_old(request: HttpRequest, error: SignInTooOld) -> HttpResponse:
    """The 403 page that leads to the person's provider and back."""
    context = {"error": error, "confirm_url": confirm_url(request.get_full_path())}
    body = render_to_string("errors/sign_in_too_old.html", context, request=request)
    return HttpResponse(body, status=error.status)


def _person_of_session(session_id: int, user_id: int, tenant_id: int, youngest: datetime) -> QuerySet[User]:
    """The person, while the account is active and the session of theirs goes on."""
    goes_on = BrowserSession.objects.open().filter(pk=session_id, user_id=user_id, started_at__gt=youngest)
    rows: QuerySet[User] = User.objects.active().filter(Exists(goes_on), pk=user_id, tenant_id=tenant_id)
    return rows


_PERSON = Compiled(_person_of_session, session_id=int, user_id=int, tenant_id=int, youngest=datetime)


def _is_still_good(user: User, started: object) -> bool:
    """Whether the session began after everything that ends the person's sessions."""
    if user.sessions_valid_from is None:
        return True
    try:
        return datetime.fromisoformat(str(started)) > user.sessions_valid_from
    except ValueError:
        return False
