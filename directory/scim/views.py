"""The calls of SCIM 2.0 (RFC 7644): each one's rule, what comes in, what goes out."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from scim2_models import PayloadTooLargeException, SCIMException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from config.errors import SCIM, refusal
from config.kit.access import Rule, View, by_method
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, NotVisible
from directory.operations.provisioning import Moved
from directory.permissions import Capability
from directory.scim.service import Handler, Service
from directory.scim.storage import DirectoryStorage
from directory.tokens import SCIM as SCOPE

ROOT: Final = "/scim/v2"
LARGEST_BODY: Final = 2_000_000
# How often a change starts again that nobody made depend on a version, when something else came first.
TRIES: Final = 3

_READ: Final = Rule("token", sees=Capability.SEE_PEOPLE, owns_transaction=True, scope=SCOPE)
_WRITE: Final = Rule(
    "token", Capability.SEE_PEOPLE, Capability.MANAGE_MEMBERS, owns_transaction=True, scope=SCOPE
)


def answer(request: HttpRequest, **_parts: str) -> HttpResponse:
    """One call. Nothing that fails leaves anything behind; a missing and another organization's id are the same bytes."""
    service = Service()
    try:
        return _response(_served(request, service))
    except SCIMException as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return refusal(request, NotVisible())
        return _response(service.error_response(error))
    except DomainError as error:
        return refusal(request, error)


def _served(request: HttpRequest, service: Service) -> ScimResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    query = request.GET.dict()
    call = ScimRequest(
        method=request.method or "",
        base_url=f"{settings.PUBLIC_URL}{ROOT}",
        path=request.path_info.removeprefix(ROOT),
        query={str(name): str(value) for name, value in query.items()},
        headers=request.headers,
        body=_body(request),
    )
    is_conditional = bool(request.headers.get("If-Match") or request.headers.get("If-None-Match"))
    shows_all = bool(query.keys() & {"attributes", "excludedAttributes"})
    for left in reversed(range(1 if is_conditional else TRIES)):
        storage = DirectoryStorage(actor, now())
        try:
            return Handler(service, storage, shows_all=shows_all).handle(call)
        except Moved:
            if not left:
                raise
    raise AssertionError("unreachable")


def _body(request: HttpRequest) -> bytes:
    """:raises PayloadTooLargeException: it is longer than is read."""
    try:
        body = request.body
    except RequestDataTooBig:
        raise PayloadTooLargeException from None
    if len(body) > LARGEST_BODY:
        raise PayloadTooLargeException(detail=f"A body has at most {LARGEST_BODY} bytes.")
    return body


def _response(answered: ScimResponse) -> HttpResponse:
    body = b"" if answered.body is None else json.dumps(answered.body).encode()
    response = HttpResponse(body, status=answered.status, content_type=SCIM)
    for name, value in answered.headers.items():
        response[name] = value
    return response


def _address(**rules: Rule) -> View:
    """The same view under the rules of one address."""

    def view(request: HttpRequest, **parts: Any) -> HttpResponse:
        return answer(request, **parts)

    methods: Mapping[str, Rule] = rules
    return by_method(csrf_exempt(view), methods)


described = _address(GET=_READ)
searched = _address(POST=_READ)
found = _address(GET=_READ)
listed = _address(GET=_READ, POST=_WRITE)
one = _address(GET=_READ, PUT=_WRITE, PATCH=_WRITE, DELETE=_WRITE)
# Not done here, and said so.
bulk = _address(POST=_WRITE)
me = _address(GET=_READ, POST=_WRITE, PUT=_WRITE, PATCH=_WRITE, DELETE=_WRITE)
