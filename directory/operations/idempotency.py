"""A call with an Idempotency-Key happens once: again, it is answered as it was the first time (product §16)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.http import HttpResponse
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.tenancy import ScopedQuerySet, atomic, connection, tenant_atomic, use_login
from directory.models import IdempotentCall

KEPT = timedelta(days=1)
# Longer than any call runs: who left no answer by then has crashed.
RUNS_AT_MOST = timedelta(minutes=5)
KEY_LENGTH = 255
HEADER = "Idempotency-Key"
# What of an answer is not made anew with each response.
KEPT_HEADERS = ("Content-Type", "Content-Language", "Content-Disposition", "ETag", "Location")
# What was refused before it began may be tried again with the same key, once the token, its rights or the rate are good.
NOT_BEGUN = frozenset({401, 403, 429})


class StillRunning(Conflict):
    """The first call with this key is not answered yet."""

    code = "still_running"
    message = _("A call with this Idempotency-Key is running. Ask again in a moment with the same key.")


class KeyReused(DomainError):
    """The key names another call of the last 24 hours."""

    code = "idempotency_key_reused"
    status = 422
    message = _("This Idempotency-Key was used for a different call.")


class KeyMissing(Malformed):
    """A call that charges a card was sent without a key."""

    code = "idempotency_key_missing"

    def __init__(self) -> None:
        super().__init__(
            _("This call can charge a card: send it with an Idempotency-Key, and again with the same one."),
            field=HEADER,
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer of the first call."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, response: HttpResponse) -> Self:
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return cls(response.status_code, headers, response.content)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a call now, and to keep its answer, until somebody else takes it over."""

    actor: Actor
    caller: str
    key: str
    at: datetime


def digest_of_call(method: str, path: str, body: bytes) -> bytes:
    """What makes two calls the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


def is_kept(status: int) -> bool:
    """Whether an answer of this status is the call's last word: not a failure of ours, and not refused unbegun."""
    return status < 500 and status not in NOT_BEGUN


def begin_call(*, actor: Actor, caller: str, key: str, digest: bytes, real_at: datetime) -> Claim | Answered:
    """Claim a key for a call that is to run now, or the answer that it had. In a transaction of its own.

    :raises StillRunning: another one has it and is not done. :raises KeyReused: it names another call.
    :raises Malformed: no usable key.
    """
    if not key or not key.isascii() or not key.isprintable() or len(key) > KEY_LENGTH:
        raise Malformed(_("An Idempotency-Key has 1 to 255 printable signs."), field=HEADER)
    claim = Claim(actor, caller, key, real_at)
    with tenant_atomic(actor):
        _rows(claim).filter(created_at__lt=real_at - KEPT).delete()
        with connection().cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO directory_idempotentcall
                       (tenant_id, caller, key, request_digest, headers, body, created_at)
                VALUES (%s, %s, %s, %s, '{}', '', %s)
                ON CONFLICT ON CONSTRAINT directory_idempotentcall_once DO NOTHING
                """,
                [actor.tenant_id, caller, key, digest, real_at],
            )
            if cursor.rowcount:
                return claim
        first = _rows(claim).select_for_update().first()
        if first is None:
            # Freed or forgotten this moment.
            raise StillRunning
        if bytes(first.request_digest) != digest:
            raise KeyReused
        if first.status is not None:
            return Answered(first.status, first.headers, bytes(first.body))
        if first.created_at > real_at - RUNS_AT_MOST:
            raise StillRunning
        _rows(claim).update(created_at=real_at)
    return claim


def keep_answer(claim: Claim, answered: Answered) -> None:
    """Keep the answer for whoever asks again, in the transaction that is open if one is.

    :raises StillRunning: the claim was taken over meanwhile; roll back what was done under it.
    """
    with tenant_atomic(claim.actor):
        kept = (
            _rows(claim)
            .filter(created_at=claim.at, status=None)
            .update(status=answered.status, headers=answered.headers, body=answered.body)
        )
    if not kept:
        raise StillRunning


def free_key(claim: Claim) -> None:
    """Nothing was done: the same key may be tried again."""
    with tenant_atomic(claim.actor):
        _rows(claim).filter(created_at=claim.at, status=None).delete()


def forget_calls(*, real_at: datetime) -> int:
    """Delete the answers that are kept no longer; how many. By the worker's login, one statement."""
    with use_login("worker"), atomic():
        deleted, _by_model = IdempotentCall.objects.filter(created_at__lt=real_at - KEPT).delete()
    return deleted


def _rows(claim: Claim) -> ScopedQuerySet:
    rows: ScopedQuerySet = IdempotentCall.objects.filter(
        tenant_id=claim.actor.tenant_id, caller=claim.caller, key=claim.key
    )
    return rows
