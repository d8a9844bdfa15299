"""The gate in front of every view (architecture §3, §4): who, for which tenant, may they, inside which walls.

Order: resolve the address and its rule > read the person under the home tenant > check the rule > open the
acting tenant's transaction around the view and the rendering.
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse

from config.errors import not_found, render_error
from config.kit.access import Rule, rule_of
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, NotAllowed, NotVisible
from config.kit.tenancy import login_alias, tenant_atomic
from directory.actors import build_actor, tenant_row
from directory.models import User

HOME = "home_tenant_id"
USER = "user_id"
ACTING = "acting_tenant_id"
STARTED = "signed_in_at"
SHOWN_FOR = "shown_for_tenant"


class AccessMiddleware:
    """Default deny: an address without a rule answers 404, in production too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.actor = None  # type: ignore[attr-defined]
        request.tenant = None  # type: ignore[attr-defined]
        request.user = AnonymousUser()
        try:
            match = resolve(request.path_info)
        except Resolver404 as error:
            # CommonMiddleware has had its chance to add a slash.
            return self._pass_on(request) if request.path_info.endswith("/") else not_found(request, error)
        rule = rule_of(match.func)
        if rule is None:
            return not_found(request, NotVisible())
        actor = self._sign_in_again(request)
        try:
            self._check(request, rule, actor)
        except _SignInFirst:
            return self._to_sign_in(request)
        except DomainError as error:
            return render_error(request, error)
        if actor is None or rule.owns_transaction:
            return self._pass_on(request)
        with tenant_atomic(actor):
            request.tenant = tenant_row(actor.tenant_id)  # type: ignore[attr-defined]
            response = self._pass_on(request)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or getattr(request, "failed", False):
                transaction.set_rollback(True, using=login_alias())
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Roll back what a failed view wrote, and turn expected errors into their page."""
        request.failed = True  # type: ignore[attr-defined]
        return render_error(request, exception) if isinstance(exception, DomainError) else None

    def _pass_on(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def _sign_in_again(self, request: HttpRequest) -> Actor | None:
        """The actor of the session, from rows read now; a session that no longer holds is emptied."""
        session = request.session
        home, user_id = session.get(HOME), session.get(USER)
        if home is None or user_id is None:
            return None
        at = now()
        with tenant_atomic(home):
            user = User.objects.active().filter(pk=user_id).first()
            actor = (
                build_actor(
                    user,
                    acting_tenant_id=session.get(ACTING, home),
                    at=at,
                    correlation_id=request.headers.get("X-Correlation-Id", "")[:64],
                )
                if user
                else None
            )
            if user and actor is None:
                # The relationship is over: from this request on the person is at home again.
                session[ACTING] = home
                actor = build_actor(user, acting_tenant_id=home, at=at)
        if user is None or actor is None:
            session.flush()
            return None
        request.user = user
        request.actor = actor  # type: ignore[attr-defined]
        return actor

    def _check(self, request: HttpRequest, rule: Rule, actor: Actor | None) -> None:
        if rule.audience == "public":
            return
        if actor is None:
            raise _SignInFirst
        if rule.sees and not actor.may(rule.sees):
            raise NotVisible
        if rule.may and not actor.may(rule.may):
            raise NotAllowed
        shown_for = request.POST.get(SHOWN_FOR) if request.method == "POST" else None
        if shown_for is not None and shown_for != str(actor.tenant_id):
            raise ActingElsewhere

    def _to_sign_in(self, request: HttpRequest) -> HttpResponseRedirect:
        target = request.get_full_path() if request.method == "GET" else "/"
        return HttpResponseRedirect(f"{reverse(str(settings.LOGIN_NAME))}?{urlencode({'next': target})}")


class _SignInFirst(Exception):
    pass


class ActingElsewhere(DomainError):
    """A form shown for one customer was posted while the session acts for another."""

    code = "acting_elsewhere"
    status = 409
