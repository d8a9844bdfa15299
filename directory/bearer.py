"""The gate in front of every call of the API: a bearer token, its rights now, its limits, its tenant's walls.

No session is looked at, so no page of another site can make a browser call anything here. Order: limit > token >
scope > capability > the tenant's transaction around the call.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext_lazy as _

from config.errors import BadRequest, NotAllowedMethod, not_found, refusal
from config.kit.access import Rule, View, rules_of
from config.kit.actors import Actor, Door
from config.kit.clock import now, real_now
from config.kit.errors import DomainError, NotAllowed, NotVisible
from config.kit.http import clean_id, is_scim
from config.kit.rate import Bucket, Limit, client_network
from config.kit.tenancy import login_alias, tenant_atomic
from directory.operations.idempotency import Answered, begin_call, digest_of_call, end_call
from directory.operations.tokens import Caller, NotAuthenticated, ScopeTooLow, use_token
from directory.tokens import digest_of, includes, is_well_formed

CORRELATION = "x-ms-correlation-id"
IDEMPOTENCY = "Idempotency-Key"
MINUTE = timedelta(minutes=1)


class RoleTooLow(NotAllowed):
    code = "role_too_low"
    message = _("Whoever this token stands for may not do this.")


def answer(
    request: HttpRequest, view: View, get_response: Callable[[HttpRequest], HttpResponseBase]
) -> HttpResponseBase:
    """The call's answer, or the problem that the caller has with it."""
    rules = rules_of(view)
    if not rules:
        return not_found(request, NotVisible())
    rule = rules.get(request.method or "") or rules.get("")
    if rule is None:
        response = refusal(request, NotAllowedMethod())
        response["Allow"] = ", ".join(sorted(rules))
        return response
    if rule.audience == "public" or rule.checks_itself:
        return get_response(request)
    try:
        caller = _caller(request)
        check(rule, caller.actor, caller.scopes)
    except DomainError as error:
        return refusal(request, error)
    request.actor = caller.actor  # type: ignore[attr-defined]
    request.tenant = caller.tenant  # type: ignore[attr-defined]
    if request.method == "POST" and IDEMPOTENCY in request.headers:
        return _once(request, caller, lambda: _run(request, rule, caller.actor, get_response))
    return _run(request, rule, caller.actor, get_response)


def _run(
    request: HttpRequest,
    rule: Rule,
    actor: Actor,
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> HttpResponseBase:
    if rule.owns_transaction:
        return get_response(request)
    with tenant_atomic(actor):
        response = get_response(request)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or getattr(request, "failed", False):
            transaction.set_rollback(True, using=login_alias())
    return response


def _once(request: HttpRequest, caller: Caller, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Run the call, or answer as the one before with the same key did; a failure of ours frees the key."""
    key = request.headers[IDEMPOTENCY]
    try:
        digest = digest_of_call("POST", request.get_full_path(), request.body)
        before = begin_call(
            actor=caller.actor, caller=caller.name, key=key, digest=digest, real_at=real_now()
        )
    except DomainError as error:
        return refusal(request, error)
    except RequestDataTooBig:
        return refusal(request, BadRequest())
    if before is not None:
        again = HttpResponse(before.body, status=before.status, content_type=before.content_type)
        again.headers["Idempotent-Replayed"] = "true"
        return again
    answered = None
    try:
        response = run()
        if isinstance(response, HttpResponse) and response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            answered = Answered(response.status_code, response.headers["Content-Type"], response.content)
    finally:
        end_call(actor=caller.actor, caller=caller.name, key=key, answered=answered)
    return response


def check(rule: Rule, actor: Actor, scopes: frozenset[str]) -> None:
    """Refuse what the token is not for, and what whoever it stands for may not do.

    What exists for nobody is 404, object by object; that a call exists is in the public description.

    :raises ScopeTooLow, RoleTooLow: as named.
    """
    if rule.scope and not includes(scopes, rule.scope):
        raise ScopeTooLow
    if (rule.sees and not actor.may(rule.sees)) or (rule.may and not actor.may(rule.may)):
        raise RoleTooLow


def secret_of(request: HttpRequest) -> str:
    """The token of the request, well formed; counted nowhere yet. :raises NotAuthenticated: none, or no token."""
    scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not is_well_formed(secret):
        raise NotAuthenticated
    return secret


def correlation_of(request: HttpRequest) -> str:
    """The caller's correlation id, else one of ours; the same for the whole request."""
    known: str | None = getattr(request, "correlation_id", None)
    if known is None:
        known = clean_id(request.headers.get(CORRELATION, "")) or uuid.uuid4().hex
        request.correlation_id = known  # type: ignore[attr-defined]
    return known


def echo(request: HttpRequest, response: HttpResponseBase) -> None:
    """The headers of every answer: the correlation id, and that it hangs on the token."""
    response.headers[CORRELATION] = correlation_of(request)
    patch_vary_headers(response, ("Authorization",))


@contextmanager
def counting_bad_tokens(request: HttpRequest) -> Iterator[None]:
    """Count under the caller's network whatever turns out to be no good token: too many of them are 429.

    A good one is never counted and never refused by this, so nobody can lock out a neighbor.
    """
    try:
        yield
    except NotAuthenticated:
        limit = Limit("bad-token", tries=settings.BAD_TOKENS_PER_MINUTE, per=MINUTE, fails_closed=False)
        limit.count(client_network(request))
        raise


def _caller(request: HttpRequest) -> Caller:
    with counting_bad_tokens(request):
        secret = secret_of(request)
        door: Door = "scim" if is_scim(request) else "api"
        _BUCKETS[door]().take(digest_of(secret).hex()[:32])
        return use_token(secret=secret, at=now(), correlation_id=correlation_of(request), door=door)


_BUCKETS: dict[Door, Callable[[], Bucket]] = {
    "api": lambda: Bucket("api", settings.API_PER_SECOND, settings.API_BURST),
    "scim": lambda: Bucket("scim", settings.SCIM_PER_SECOND, settings.SCIM_BURST),
}
