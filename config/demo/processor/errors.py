"""Refusals in Stripe's wire form."""

from typing import Any

type Json = dict[str, Any]


class ApiError(Exception):
    """An answer other than 200.

    :param saved: whether an idempotency key remembers it. False for what is refused before any work began
        (bad parameters, bad key, rate limit): such a request may be repeated with the same key.
    :param keeps_work: whether what was written before it is committed; true for a decline, which is an
        outcome and not an abandoned call.
    """

    def __init__(
        self,
        status: int,
        type_: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        saved: bool = True,
        keeps_work: bool = False,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.keeps_work = keeps_work
        self.error: Json = {"type": type_, "message": message}
        if code:
            self.error |= {"code": code, "doc_url": doc_url(code)}
        if param:
            self.error["param"] = param
        self.error |= {name: value for name, value in facts.items() if value is not None}


def doc_url(code: str) -> str:
    """Stripe's page about an error code."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def invalid(message: str, *, code: str | None = None, param: str | None = None, **facts: Any) -> ApiError:
    """A request that was understood and cannot be done: 400."""
    return ApiError(400, "invalid_request_error", message, code=code, param=param, **facts)


def malformed(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    """Parameters refused before any work began: 400, not remembered by an idempotency key."""
    return invalid(message, code=code, param=param, saved=False)


def missing_object(name: str, id_: str, *, param: str, status: int = 404) -> ApiError:
    """No such object: 404 when the path names it, 400 when a parameter does."""
    return ApiError(
        status, "invalid_request_error", f"No such {name}: '{id_}'", code="resource_missing", param=param
    )
