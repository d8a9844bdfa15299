"""The gate in front of every call of the API: a bearer token, its rights now, its limits, its tenant's walls.

No session is looked at, so no page of another site can make a browser call anything here. Order: limit > token >
scope > capability > the tenant's transaction around the call.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from config.kit.faults import reached
from config.kit.http import clean_id, is_scim
from config.kit.rate import Bucket, Limit, client_network
from config.kit.tenancy import login_alias, tenant_atomic
from directory.operations.idempotency import (
    HEADER,
    Answered,
    KeyMissing,
    StillRunning,
    begin_call,
    digest_of_call,
    free_key,
    is_kept,
    keep_answer,
)
from directory.operations.tokens import Caller, NotAuthenticated, ScopeTooLow, use_token
from directory.tokens import digest_of, includes, is_well_formed

CORRELATION = "x-ms-correlation-id"
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
    if request.method == "POST" and HEADER in request.headers:
        return _once(request, rule, caller, get_response)
    if request.method == "POST" and rule.needs_key:
        return refusal(request, KeyMissing())
    return _run(request, rule, caller.actor, get_response)


def _run(
    request: HttpRequest,
    rule: Rule,
    actor: Actor,
    get_response: Callable[[HttpRequest], HttpResponseBase],
    keep: Callable[[HttpResponseBase], None] = lambda response: None,
) -> HttpResponseBase:
    """The call's answer. What it did and `keep` are one transaction, from the start or from where the call begins it."""
    has_begun = False

    with ExitStack() as around:

        def begin() -> None:
            nonlocal has_begun
            around.enter_context(tenant_atomic(actor))
            has_begun = True

        request.begin_transaction = begin  # type: ignore[attr-defined]
        if not rule.owns_transaction:
            begin()
        response = get_response(request)
        if not has_begun:
            return response
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or getattr(request, "failed", False):
            transaction.set_rollback(True, using=login_alias())
        else:
            keep(response)
            reached("K1:uncommitted")
    return response


def _once(
    request: HttpRequest,
    rule: Rule,
    caller: Caller,
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> HttpResponseBase:
    """Run the call, or answer as the one before with the same key did; what did not begin or failed frees the key."""
    try:
        digest = digest_of_call("POST", request.get_full_path(), request.body)
        claim = begin_call(
            actor=caller.actor,
            caller=caller.name,
            key=request.headers[HEADER],
            digest=digest,
            real_at=real_now(),
        )
    except DomainError as error:
        return refusal(request, error)
    except RequestDataTooBig:
        return refusal(request, BadRequest())
    if isinstance(claim, Answered):
        headers = {**claim.headers, "Idempotent-Replayed": "true"}
        return HttpResponse(claim.body, status=claim.status, headers=headers)
    reached("K0:after")
    is_done = False

    def keep(response: HttpResponseBase) -> None:
        nonlocal is_done
        if not is_done and isinstance(response, HttpResponse) and is_kept(response.status_code):
            keep_answer(claim, Answered.of(response))
            is_done = True

    try:
        response = _run(request, rule, caller.actor, get_response, keep)
        keep(response)
        reached("K1:after")
    except StillRunning as lost:
        return refusal(request, lost)
    except BaseException:
        free_key(claim)
        raise
    if not is_done:
        free_key(claim)
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
