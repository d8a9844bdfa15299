"""Response headers that no view sets by itself (reliability §7)."""

import re
from collections.abc import Callable
from wsgiref.headers import Headers

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csp import ContentSecurityPolicyMiddleware

ADMIN_PREFIXES = ("/admin/", "/operator/")
# Where an organization's directory keeps its accounts: SCIM, whose errors have a form of their own.
SCIM_PREFIX = "/scim/"
# Where programs call, with a token in place of a session; `/v1` is where the stock MSCommerce module looks.
API_PREFIXES = ("/api/", "/v1.0/", "/v1/", SCIM_PREFIX)
# The calls in the shapes of Microsoft Graph (licensing/graph), whose errors have Graph's form.
_GRAPH = re.compile(r"/(?:api/v1\.0|api/v1|v1\.0)/(?:subscribedSkus|directory/subscriptions|users)(?:/|$)")


# What pages of products load and ask (docs/embed.md).
EMBED_PREFIX = "/embed/"


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith(API_PREFIXES)


def is_scim(request: HttpRequest) -> bool:
    return request.path_info.startswith(SCIM_PREFIX)


def is_graph(request: HttpRequest) -> bool:
    return _GRAPH.match(request.path_info) is not None


_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._-]")


def clean_id(text: str) -> str:
    """A caller's correlation id as far as it can be written anywhere: at most 64 letters, digits, dots and dashes."""
    return _NOT_IN_AN_ID.sub("", text)[:64]


def embedded_headers(headers: Headers, path: str, url: str) -> None:
    """Of what other sites' pages load (whitenoise): they may, also where they are isolated, and keep it for an hour."""
    if url.startswith(EMBED_PREFIX):
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        headers["Cache-Control"] = "public, max-age=3600, stale-while-revalidate=86400"


class SecurityPolicyMiddleware(ContentSecurityPolicyMiddleware):
    """Content-security policy by part of the site, and no shared caching of anything personal."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.path.startswith(ADMIN_PREFIXES) and not hasattr(response, "_csp_config"):
            response._csp_config = settings.ADMIN_CSP  # type: ignore[attr-defined]
        response = super().process_response(request, response)
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response
