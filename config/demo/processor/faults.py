"""Faults to order: errors, lost questions, lost answers and slowness for the requests that match."""

import itertools
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from .errors import ApiError, Json

type FaultKind = Literal["error", "lose_request", "lose_answer", "delay"]

KINDS = ("error", "lose_request", "lose_answer", "delay")
STATUSES = (400, 401, 403, 409, 429, 500, 502, 503)
_BODIES = {
    409: (
        "invalid_request_error",
        "lock_timeout",
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request.",
    ),
    429: (
        "invalid_request_error",
        "rate_limit",
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
    ),
}


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `left` requests that match; None means to all of them."""

    id: int
    kind: FaultKind
    method: str = "*"
    path: str = "*"
    metadata: dict[str, str] = field(default_factory=dict)
    left: int | None = 1
    status: int = 500
    after_work: bool = False
    seconds: float = 0.0

    def matches(self, method: str, path: str, params: Json) -> bool:
        if self.method not in ("*", method) or not fnmatchcase(path, self.path):
            return False
        given = params.get("metadata")
        return not self.metadata or (isinstance(given, dict) and self.metadata.items() <= given.items())

    def error(self) -> ApiError:
        """The answer of an `error` fault; conflicts and rate limits never began, so no key keeps them."""
        type_, code, message = _BODIES.get(
            self.status, ("api_error", None, "An unknown error occurred on our end. Please try again.")
        )
        return ApiError(
            self.status,
            type_,
            message,
            code=code,
            saved=self.status >= 500,
            keeps_work=self.after_work,
        )


class Faults:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._faults: list[Fault] = []

    def add(self, **facts: object) -> Fault:
        with self._lock:
            fault = Fault(id=next(self._ids), **facts)  # type: ignore[arg-type]
            self._faults.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        with self._lock:
            self._faults = [fault for fault in self._faults if fault_id is not None and fault.id != fault_id]

    def all(self) -> list[Json]:
        with self._lock:
            return [dict(vars(fault)) for fault in self._faults]

    def take(self, method: str, path: str, params: Json) -> tuple[float, Fault | None]:
        """Seconds to wait (all delays that match), and the first other fault that matches, each used once."""
        if not self._faults:
            return 0.0, None
        seconds, taken = 0.0, None
        with self._lock:
            for fault in list(self._faults):
                if not fault.matches(method, path, params) or (fault.kind != "delay" and taken):
                    continue
                if fault.kind == "delay":
                    seconds += fault.seconds
                else:
                    taken = fault
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left <= 0:
                        self._faults.remove(fault)
        return seconds, taken
