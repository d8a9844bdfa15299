"""Idempotency keys as Stripe keeps them.

Same key, same request: the first answer again, whatever it was, for 24 hours of the processor's clock. Other
parameters: refused. While the first is still running: a conflict. What was refused before any work began is
not remembered.
"""

import hashlib
import hmac
import threading
from dataclasses import dataclass

from .errors import ApiError, malformed
from .store import Store

KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Answer:
    """A remembered answer."""

    request_id: str
    status: int
    body: str


class Keys:
    """Which keys are running, and what the others answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._running: set[str] = set()

    def request_hash(self, method: str, path: str, body: str) -> bytes:
        """What two requests must share; keyed, so that nothing of a card can be read out of it."""
        pairs = "&".join(sorted(body.split("&")))
        return hmac.new(self._store.secret, f"{method} {path} {pairs}".encode(), hashlib.sha256).digest()

    def begin(self, key: str, *, request_hash: bytes, path: str, now: int) -> Answer | None:
        """The remembered answer, or None: then the request runs, and `finish` must follow.

        :raises ApiError: 400 for other parameters, 409 while the first request runs.
        """
        if len(key) > 255:
            raise malformed("Idempotency-Key must be at most 255 characters.")
        with self._lock:
            if key in self._running:
                raise ApiError(
                    409,
                    "idempotency_error",
                    "There is currently another in-progress request using this Idempotent Key (that probably "
                    f"means you submitted twice, and the other request is still going through): {key}. Please "
                    "try again later.",
                    code="idempotency_key_in_use",
                    saved=False,
                )
            kept = self._store.answer(key)
            if kept is None or kept[5] <= now - KEPT_SECONDS:
                self._running.add(key)
                return None
        kept_hash, kept_path, request_id, status, body, _ = kept
        if kept_path != path:
            raise _mismatch(
                "Keys for idempotent requests can only be used for the same endpoint they were first used for "
                f"('{kept_path}' vs '{path}').",
                key,
            )
        if kept_hash != request_hash:
            raise _mismatch(
                "Keys for idempotent requests can only be used with the same parameters they were first used "
                "with.",
                key,
            )
        return Answer(request_id, status, body)

    def finish(self, key: str) -> None:
        with self._lock:
            self._running.discard(key)


def _mismatch(message: str, key: str) -> ApiError:
    return ApiError(
        400,
        "idempotency_error",
        f"{message} Try using a key other than '{key}' if you meant to execute a different request.",
        saved=False,
    )
