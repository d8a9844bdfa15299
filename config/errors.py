"""The one translator of errors into pages (style §4).

The 404 page is the same bytes for what is missing and what belongs to somebody else: it holds no nonce,
token, path or name.
"""

import sys
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from config.kit.errors import DomainError

# Seconds, in which a restarted database is back.
DATABASE_RETRY_AFTER = "30"


def render_error(request: HttpRequest, error: DomainError) -> HttpResponse:
    """A page for an error that no form caught; 404 says nothing more than that."""
    if error.status == 404:
        return not_found(request, error)
    body = render_to_string("errors/error.html", {"error": error, "status": error.status}, request=request)
    response = HttpResponse(body, status=error.status)
    if error.status in (429, 503):
        response["Retry-After"] = str(getattr(error, "retry_after", 60))
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(render_to_string("errors/404.html"), status=404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(render_to_string("errors/403.html"), status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(render_to_string("errors/400.html"), status=400)


def server_error(request: HttpRequest) -> HttpResponse:
    """A mistake of ours; 503 where the database is away, full, or kept us waiting for too long (F-07, F-08)."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        body = render_to_string("errors/503.html")
        return HttpResponse(body, status=503, headers={"Retry-After": DATABASE_RETRY_AFTER})
    return HttpResponse(render_to_string("errors/500.html"), status=500)


def csrf_failure(request: HttpRequest, reason: str = "", **_: Any) -> HttpResponse:
    return HttpResponse(render_to_string("errors/csrf.html"), status=403)
