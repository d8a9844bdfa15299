"""A call with an Idempotency-Key happens once: again, it is answered as it was the first time (product §16)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.tenancy import connection, tenant_atomic
from directory.models import IdempotentCall

KEPT = timedelta(days=1)
# Longer than any call runs: who left no answer by then has crashed.
RUNS_AT_MOST = timedelta(minutes=15)
KEY_LENGTH = 255


class StillRunning(Conflict):
    """The first call with this key is not answered yet."""

    code = "still_running"
    message = _("A call with this Idempotency-Key is running. Ask again in a moment with the same key.")


class KeyReused(Malformed):
    """The key names another call of the last 24 hours."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(_("This Idempotency-Key was used for a different call."), field="Idempotency-Key")


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer of the first call."""

    status: int
    content_type: str
    body: bytes


def digest_of_call(method: str, path: str, body: bytes) -> bytes:
    """What makes two calls the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


def begin_call(*, actor: Actor, caller: str, key: str, digest: bytes, real_at: datetime) -> Answered | None:
    """Claim a key for a call; None when the call is to run now. In a transaction of its own.

    :raises StillRunning: another one has it and is not done. :raises KeyReused: it names another call.
    :raises Malformed: no usable key.
    """
    if not key.isascii() or not key.isprintable() or len(key) > KEY_LENGTH:
        raise Malformed(_("An Idempotency-Key has up to 255 printable signs."), field="Idempotency-Key")
    with tenant_atomic(actor):
        IdempotentCall.objects.filter(tenant_id=actor.tenant_id, created_at__lt=real_at - KEPT).delete()
        with connection().cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO directory_idempotentcall
                       (tenant_id, caller, key, request_digest, content_type, body, created_at)
                VALUES (%s, %s, %s, %s, '', '', %s)
                ON CONFLICT ON CONSTRAINT directory_idempotentcall_once DO NOTHING
                """,
                [actor.tenant_id, caller, key, digest, real_at],
            )
            if cursor.rowcount:
                return None
        rows = IdempotentCall.objects.filter(tenant_id=actor.tenant_id, caller=caller, key=key)
        first = rows.select_for_update().get()
        if bytes(first.request_digest) != digest:
            raise KeyReused
        if first.status is not None:
            return Answered(first.status, first.content_type, bytes(first.body))
        if first.created_at > real_at - RUNS_AT_MOST:
            raise StillRunning
        rows.update(created_at=real_at)
    return None


def end_call(*, actor: Actor, caller: str, key: str, answered: Answered | None) -> None:
    """Keep the answer for whoever asks again; None: nothing was done, the key is free again."""
    with tenant_atomic(actor):
        rows = IdempotentCall.objects.filter(tenant_id=actor.tenant_id, caller=caller, key=key)
        if answered is None:
            rows.delete()
        else:
            rows.update(status=answered.status, content_type=answered.content_type[:100], body=answered.body)
