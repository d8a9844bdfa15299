"""The API as a whole: its calls from the apps, its addresses, its errors, its description (product §16).

The same calls answer under several prefixes; each path is one address with one rule for each method.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, override

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.operation import Operation

from commerce.api import bills, orders, policies, purchases, takeovers
from config.errors import PROBLEM, BadRequest, refusal
from config.kit import access
from config.kit.api import Bearer
from config.kit.errors import DomainError, Malformed, NotVisible
from directory.api import audit, relationships
from directory.operations import idempotency
from directory.operations.tokens import NotAuthenticated
from licensing.api import capacity, entitlements, exporting, licenses, prompts, requests, workspaces
from licensing.graph import skus, users


class Api(NinjaAPI):
    """Problem details for every error; nothing that a refused call wrote stays."""

    @override
    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        request.failed = True  # type: ignore[attr-defined]
        return super().on_exception(request, exc)

    @override
    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI description, problems under their own media type."""
        schema: dict[str, Any] = self.get_openapi_schema(path_prefix="/api/v1.0/")
        required = {
            self.get_openapi_operation_id(operation)
            for operation in _operations(self)
            if (rule := access.rule_of(operation.view_func)) and rule.needs_key
        }
        for methods in schema["paths"].values():
            for method, call in methods.items():
                if method == "post":
                    _describe_key(call, is_required=call["operationId"] in required)
                for status, answer in call["responses"].items():
                    if int(status) >= 400 and _is_problem(answer):
                        answer["content"] = {PROBLEM: next(iter(answer["content"].values()))}
        return schema


def _operations(api: NinjaAPI) -> Iterator[Operation]:
    for bound in api._get_bound_routers():
        for view_of_path in bound.path_operations.values():
            yield from view_of_path.operations


def _describe_key(call: dict[str, Any], *, is_required: bool) -> None:
    """The Idempotency-Key, which the gate takes with every POST, and what it answers about it (docs/api.md)."""
    call.setdefault("parameters", []).append(
        {
            "in": "header",
            "name": idempotency.HEADER,
            "required": is_required,
            "schema": {"type": "string", "minLength": 1, "maxLength": idempotency.KEY_LENGTH},
            "description": "A fresh one for each thing you want done; send it again to try again. For 24 hours the"
            " first answer is repeated, with Idempotent-Replayed: true. 409 still_running while the first call runs,"
            " 422 where the key named another call.",
        }
    )
    answers = call["responses"]
    told = next(answer for status, answer in answers.items() if int(status) >= 400)
    for status in (400, 409, 422):
        answers.setdefault(
            status, {"description": HTTPStatus(status).phrase, "content": dict(told["content"])}
        )


def _is_problem(answer: dict[str, Any]) -> bool:
    (content,) = answer["content"].values()
    return bool(content["schema"].get("$ref", "").endswith("/Problem"))


def _api(title: str) -> Api:
    api = Api(
        title=title,
        version="1.0",
        description="Purchases, licenses, requests, bills, purchase policies, relationships and the audit trail. See docs/api.md.",
        docs_url=None,
        openapi_url=None,
        auth=Bearer(),
        urls_namespace=title,
    )
    for kind in (DomainError, ValidationError, HttpError, Http404, Exception):
        api.add_exception_handler(kind, _answer)
    return api


def _answer(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    """What is known in the form of the call. All else is ours to mend: Django's handler logs it and answers."""
    match error:
        case DomainError():
            return refusal(request, error)
        case ValidationError():
            return refusal(request, _malformed(error))
        case HttpError():
            return refusal(request, _of_status(error))
        case Http404():
            return refusal(request, NotVisible())
        case _:
            raise error


def _malformed(error: ValidationError) -> Malformed:
    """The first value that does not fit, by its name in the call."""
    first = error.errors[0]
    field = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith("payload"))
    return Malformed(
        _("%(field)s: %(reason)s") % {"field": field or "body", "reason": first["msg"]}, field=field
    )


def _of_status(error: HttpError) -> DomainError:
    return NotAuthenticated() if error.status_code == 401 else BadRequest()


api = _api("Seatkeeper")
# First, since it is called at each sign-in to a product.
api.add_router("entitlements", entitlements.router)
api.add_router("prompts", prompts.router)
api.add_router("policies", policies.router)
api.add_router("purchases", purchases.router)
api.add_router("purchases", licenses.router)
api.add_router("purchases", takeovers.router)
api.add_router("purchases", exporting.router)
api.add_router("orders", orders.router)
api.add_router("requests", requests.router)
api.add_router("capacity", capacity.router)
api.add_router("workspaces", workspaces.router)
api.add_router("bills", bills.router)
api.add_router("audit", audit.router)
api.add_router("relationships", relationships.router)
api.add_router("subscribedSkus", skus.skus)
api.add_router("directory/subscriptions", skus.subscriptions)
api.add_router("users", users.router)

# Where the stock MSCommerce module and a Graph client with its usual path look.
MSCOMMERCE = ("policies",)
GRAPH = ("subscribedSkus", "directory/subscriptions", "users")


def _addresses(router_of: tuple[str, ...] = ()) -> Iterator[URLPattern]:
    """One pattern for each path, with the rules of its methods; only of those routers, when named."""
    for bound in api._get_bound_routers():
        if router_of and bound.prefix not in router_of:
            continue
        for route, view_of_path in bound.path_operations.items():
            full = "/".join(part for part in (bound.prefix, route.strip("/")) if part)
            operations = view_of_path.operations
            rules = {
                method: rule
                for operation in operations
                for method in operation.methods
                if (rule := access.rule_of(operation.view_func))
            }
            view = access.by_method(view_of_path.get_view(), rules)
            yield path(re.sub(r"{([^}]+)}", r"<\1>", full), view, name=operations[0].url_name)


@access.public(owns_transaction=True)
@require_safe
def openapi(request: HttpRequest) -> JsonResponse:
    """What can be called, by whom, and what comes back."""
    return JsonResponse(api.document)


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1.0/", include((list(_addresses()), "api"), namespace="api")),
    path("api/v1.0/openapi.json", openapi, name="openapi"),
    path("api/v1/", include((list(_addresses()), "api"), namespace="api-v1")),
    path("v1.0/", include((list(_addresses(MSCOMMERCE + GRAPH)), "api"), namespace="wire-v1.0")),
    path("v1/", include((list(_addresses(MSCOMMERCE)), "api"), namespace="wire-v1")),
]
