"""The one translator of errors into pages, and into problem details for programs (style §4, RFC 9457).

A 404 is the same bytes for what is missing and what belongs to somebody else: it holds no nonce, token, path or name.
"""

import json
import sys
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from config.kit.errors import DomainError, Malformed, NotVisible
from config.kit.http import is_api, is_graph, is_scim
from config.kit.languages import of_visitor

# Seconds, in which a restarted database is back.
DATABASE_RETRY_AFTER = "30"


# What the standard calls a status, for people; in a problem it follows the language, as `detail` does.
_TITLES = {
    HTTPStatus.BAD_REQUEST: _("Bad Request"),
    HTTPStatus.UNAUTHORIZED: _("Unauthorized"),
    HTTPStatus.FORBIDDEN: _("Forbidden"),
    HTTPStatus.NOT_FOUND: _("Not Found"),
    HTTPStatus.METHOD_NOT_ALLOWED: _("Method Not Allowed"),
    HTTPStatus.CONFLICT: _("Conflict"),
    HTTPStatus.PRECONDITION_FAILED: _("Precondition Failed"),
    HTTPStatus.TOO_MANY_REQUESTS: _("Too Many Requests"),
    HTTPStatus.INTERNAL_SERVER_ERROR: _("Internal Server Error"),
    HTTPStatus.SERVICE_UNAVAILABLE: _("Service Unavailable"),
}
PROBLEM = "application/problem+json"
SCIM = "application/scim+json"
JSON = "application/json"
# What Graph calls the errors of each status; all others are what it calls a bad request.
GRAPH_CODES = {
    401: "InvalidAuthenticationToken",
    403: "Authorization_RequestDenied",
    404: "Request_ResourceNotFound",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


class ServerError(DomainError):
    """A mistake of ours."""

    code = "server_error"
    status = 500
    message = _("Something went wrong on our side. Nothing was changed.")


class DatabaseAway(DomainError):
    code = "unavailable"
    status = 503
    message = _("The database does not answer. Nothing was changed. Try again in half a minute.")
    retry_after = DATABASE_RETRY_AFTER


class BadRequest(Malformed):
    code = "bad_request"

    def __init__(self) -> None:
        super().__init__(_("This request cannot be read."))


class NotAllowedMethod(DomainError):
    """The address exists, and takes other methods."""

    code = "method_not_allowed"
    status = 405
    message = _("This address does not take this method.")


def refusal(request: HttpRequest, error: DomainError) -> HttpResponse:
    """The error in the form of the interface that was called."""
    if is_scim(request):
        return scim_error(error)
    return graph_error(error) if is_graph(request) else problem(error)


def scim_error(error: DomainError) -> HttpResponse:
    """A SCIM error (RFC 7644 §3.12). What is malformed is 400 on the wire; a 404 says nothing more."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, Malformed) else HTTPStatus(error.status)
    if status == HTTPStatus.NOT_FOUND:
        error = NotVisible()
    kind = getattr(error, "scim_type", "invalidValue" if isinstance(error, Malformed) else "")
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(int(status)),
        **({"scimType": kind} if kind else {}),
        "detail": str(error),
    }
    return _with_headers(HttpResponse(json.dumps(body), status=status, content_type=SCIM), error)


def graph_error(error: DomainError) -> HttpResponse:
    """An error as Microsoft Graph answers it. What is malformed is 400 on the wire; a 404 says nothing more."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, Malformed) else HTTPStatus(error.status)
    if status == HTTPStatus.NOT_FOUND:
        error = NotVisible()
    body = {"error": {"code": GRAPH_CODES.get(status, "Request_BadRequest"), "message": str(error)}}
    return _with_headers(HttpResponse(json.dumps(body), status=status, content_type=JSON), error)


def problem(error: DomainError) -> HttpResponse:
    """Problem details of an error (RFC 9457). What is malformed is 400 on the wire; a 404 says nothing more."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, Malformed) else HTTPStatus(error.status)
    if status == HTTPStatus.NOT_FOUND:
        error = NotVisible()
    body = {
        "type": f"urn:seatkeeper:problem:{error.code}",
        "title": str(_TITLES.get(status, status.phrase)),
        "status": int(status),
        "code": error.code,
        "detail": str(error),
    }
    if isinstance(error, Malformed) and error.field:
        body["field"] = error.field
    return _with_headers(HttpResponse(json.dumps(body), status=status, content_type=PROBLEM), error)


def _with_headers(response: HttpResponse, error: DomainError) -> HttpResponse:
    if response.status_code in (429, 503):
        response["Retry-After"] = str(getattr(error, "retry_after", 60))
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def render_error(request: HttpRequest, error: DomainError) -> HttpResponse:
    """A page for an error that no form caught; 404 says nothing more than that."""
    if is_api(request):
        return refusal(request, error)
    if error.status == 404:
        return not_found(request, error)
    body = render_to_string("errors/error.html", {"error": error, "status": error.status}, request=request)
    response = HttpResponse(body, status=error.status)
    if error.status in (429, 503):
        response["Retry-After"] = str(getattr(error, "retry_after", 60))
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return refusal(request, NotVisible())
    # What is foreign is met after the person is known, what is missing before: both in the language of who is not.
    language = of_visitor(request)
    with override(language):
        body = render_to_string("errors/404.html")
    return HttpResponse(body, status=404, headers={"Content-Language": language})


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(render_to_string("errors/403.html"), status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return refusal(request, BadRequest())
    return HttpResponse(render_to_string("errors/400.html"), status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """A mistake of ours; 503 where the database is away, full, or kept us waiting for too long (F-07, F-08)."""
    is_away = isinstance(sys.exception(), OperationalError | InterfaceError)
    if is_api(request):
        return refusal(request, DatabaseAway() if is_away else ServerError())
    if is_away:
        body = render_to_string("errors/503.html")
        return HttpResponse(body, status=503, headers={"Retry-After": DATABASE_RETRY_AFTER})
    return HttpResponse(render_to_string("errors/500.html"), status=500)


def csrf_failure(request: HttpRequest, reason: str = "", **unused: Any) -> HttpResponse:
    return HttpResponse(render_to_string("errors/csrf.html"), status=403)
