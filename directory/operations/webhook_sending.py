"""Sending webhooks as Standard Webhooks says, each at least once (docs/adr/0041, docs/webhooks.md).

A message is claimed and counted before it goes out. A process that dies in between leaves it due again once the claim
is over, under the same webhook-id, by which the receiver knows it.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from standardwebhooks.webhooks import Webhook

from config.kit.actors import Actor
from config.kit.faults import reached
from config.kit.fetch import Answer, FetchFailed, post
from config.kit.secrets import Undecipherable, decrypt
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.events import TEST
from directory.models import Tenant, User, WebhookDelivery, WebhookEndpoint
from directory.operations.audit import record
from directory.operations.mail import queue_mail
from directory.operations.webhooks import KEPT, set_paused
from directory.permissions import Role

log = logging.getLogger(__name__)

State = WebhookDelivery.State
Because = WebhookEndpoint.Because

# How long a message waits after its first, second, ... failure: some three days in all. Then it is given up.
GAPS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
# A receiver answers within this, or has not answered.
SECONDS = 10
# Longer than a claimed message takes to be sent and noted; then whoever claimed it has died.
CLAIM = timedelta(minutes=2)
AT_ONCE = 16
# Of one organization at once, so that no backlog of one takes all places.
OF_TENANT = 8
# Of one endpoint at once; of one that fails, a single one, so that it holds up nobody.
OF_ONE = 4
# How long one task sends; less than a worker lets it run.
RUN_SECONDS = 60
GONE = 410

# `place` is which one it would be of its organization's at once: first come those that have none under way.
_TAKE = """
WITH under_way AS (
    SELECT * FROM unnest(%(tenants)s::bigint[], %(endpoints)s::bigint[]) AS u (tenant_id, endpoint_id)
), ready AS (
    SELECT next.id, next.next_try_at,
           (SELECT count(*) FROM under_way u WHERE u.tenant_id = w.tenant_id)
           + row_number() OVER (PARTITION BY w.tenant_id ORDER BY next.next_try_at, next.id) AS place
      FROM directory_webhookendpoint w
     CROSS JOIN LATERAL (
           SELECT d.id, d.next_try_at FROM directory_webhookdelivery d
            WHERE d.endpoint_id = w.id AND d.state = 'queued' AND d.next_try_at <= %(at)s
              AND (w.state = 'active' OR d.type = %(test)s)
            ORDER BY d.next_try_at, d.id
            LIMIT greatest(0, CASE WHEN w.failing_since IS NULL THEN %(of_one)s ELSE 1 END
                              - (SELECT count(*) FROM under_way u WHERE u.endpoint_id = w.id))
              FOR NO KEY UPDATE SKIP LOCKED
     ) next
), due AS (
    SELECT id FROM ready WHERE place <= %(of_tenant)s ORDER BY place, next_try_at, id LIMIT %(limit)s
)
UPDATE directory_webhookdelivery d SET tries = d.tries + 1, next_try_at = %(until)s
  FROM due, directory_webhookendpoint w, directory_tenant t
 WHERE d.id = due.id AND w.id = d.endpoint_id AND t.id = d.tenant_id
RETURNING d.id, d.tenant_id, d.endpoint_id, d.key, d.type, d.at, d.data::text, d.tries, t.key, w.url, w.secret_encrypted,
          w.former_secret_encrypted, w.former_until
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed message with all that sending it needs; `tries` counts this one."""

    id: int
    tenant_id: int
    endpoint_id: int
    key: uuid.UUID
    type: str
    at: datetime
    data: str
    tries: int
    organization: uuid.UUID
    url: str
    secret_encrypted: str
    former_secret_encrypted: str
    former_until: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try: the receiver's answer, or why there is none."""

    answer: Answer | None
    error: str
    milliseconds: int

    @property
    def has_arrived(self) -> bool:
        return self.answer is not None and 200 <= self.answer.status < 300


def send_due(*, clock: Callable[[], datetime], real_clock: Callable[[], datetime]) -> bool:
    """Send what is due, oldest first, for up to a minute; whether there is more. By the worker's login.

    A place that comes free is taken at once by the organization with the fewest messages under way. Any number of
    processes side by side; nothing is sent inside a transaction.
    """
    end = time.monotonic() + RUN_SECONDS
    under_way: dict[Future[Outcome], tuple[Due, datetime]] = {}
    with use_login("worker"), ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhooks") as pool:
        while (is_on := time.monotonic() < end) or under_way:
            if is_on:
                at, real_at = clock(), real_clock()
                taken = _take(at, [due for due, _at in under_way.values()])
                reached("W1:before")
                under_way |= {pool.submit(_send, due, real_at): (due, at) for due in taken}
            if not under_way:
                return False
            for sent in wait(under_way, return_when=FIRST_COMPLETED).done:
                due, at = under_way.pop(sent)
                reached("W1:after")
                with alone("What became of webhook message %s", due.id):
                    _note(due, sent.result(), at)
    return True


def forget_deliveries(*, at: datetime, real_at: datetime) -> int:
    """Delete messages that are kept no longer, and secrets that sign no more; how many messages."""
    with use_login("worker"), atomic():
        WebhookEndpoint.objects.filter(former_until__lte=real_at).update(
            former_secret_encrypted="", former_until=None
        )
        deleted, _by_model = WebhookDelivery.objects.filter(at__lt=at - KEPT).delete()
    return deleted


def body_of(due: Due) -> str:
    """The message: thin, and the same on every try."""
    content = {
        "type": due.type,
        "timestamp": due.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {"organizationId": str(due.organization), **json.loads(due.data)},
    }
    return json.dumps(content, separators=(",", ":"))


def headers_of(due: Due, body: str, real_at: datetime) -> dict[str, str]:
    """What the receiver verifies by; after a rotation signed with both secrets, for a day.

    :raises Undecipherable: a secret that no configured key opens.
    """
    secrets = [decrypt(due.secret_encrypted)]
    if due.former_until is not None and due.former_until > real_at:
        secrets.append(decrypt(due.former_secret_encrypted))
    message_id = f"msg_{due.key.hex}"
    signatures = [Webhook(secret).sign(message_id, real_at, body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "Seatkeeper",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(real_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _take(at: datetime, under_way: Sequence[Due]) -> Sequence[Due]:
    """Claim the next messages, as many as there are places left, fairly over organizations and their endpoints."""
    values: dict[str, Any] = {
        "at": at,
        "test": TEST,
        "tenants": [due.tenant_id for due in under_way],
        "endpoints": [due.endpoint_id for due in under_way],
        "of_one": OF_ONE,
        "of_tenant": OF_TENANT,
        "limit": AT_ONCE - len(under_way),
        "until": at + CLAIM,
    }
    with atomic(), connection().cursor() as cursor:
        cursor.execute(_TAKE, values)
        rows = cursor.fetchall()
    return [Due(*row) for row in rows]


def _send(due: Due, real_at: datetime) -> Outcome:
    """One try, on a thread of the pool: no row is touched here."""
    began = time.monotonic()
    answer, error = None, ""
    try:
        body = body_of(due)
        answer = post(due.url, content=body.encode(), headers=headers_of(due, body, real_at), seconds=SECONDS)
    except FetchFailed as failed:
        error = str(failed)
    except Undecipherable:
        error = "The secret cannot be read: a key of FIELD_ENCRYPTION_KEYS is missing"
        log.error("Webhook %s: no key of FIELD_ENCRYPTION_KEYS opens its secret", due.endpoint_id)
    return Outcome(answer, error, int((time.monotonic() - began) * 1000))


def _note(due: Due, outcome: Outcome, at: datetime) -> None:
    """What became of it, unless the message was taken over, queued anew or deleted meanwhile."""
    answer = outcome.answer
    is_over = due.type == TEST or due.tries > len(GAPS) or (answer is not None and answer.status == GONE)
    facts: dict[str, Any] = {
        "tried_at": at,
        "status": answer.status if answer else None,
        "answer": answer.text[:500] if answer else "",
        "error": outcome.error.replace("\0", "")[:300],
        "milliseconds": outcome.milliseconds,
    }
    if outcome.has_arrived:
        facts["state"] = State.DELIVERED
    elif is_over:
        facts["state"] = State.DEAD
    else:
        facts["next_try_at"] = at + GAPS[due.tries - 1]
    with tenant_atomic(due.tenant_id):
        # First the endpoint, as its operations do.
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=due.endpoint_id).first()
        if endpoint is None:
            return
        rows = WebhookDelivery.objects.filter(pk=due.id, tries=due.tries, state=State.QUEUED)
        if not rows.update(**facts) or due.type == TEST:
            return
        _note_health(endpoint, outcome, at, is_over=is_over)


def _note_health(endpoint: WebhookEndpoint, outcome: Outcome, at: datetime, *, is_over: bool) -> None:
    """Since when it fails; once a message is given up, pause it and tell the global admins."""
    if outcome.has_arrived:
        if endpoint.failing_since is not None:
            endpoint.failing_since = None
            endpoint.save(update_fields=["failing_since"])
        return
    if endpoint.failing_since is None:
        endpoint.failing_since = at
        endpoint.save(update_fields=["failing_since"])
    if not is_over or endpoint.is_paused:
        return
    is_gone = outcome.answer is not None and outcome.answer.status == GONE
    set_paused(endpoint, Because.GONE if is_gone else Because.FAILING, at)
    said = f"HTTP {outcome.answer.status}" if outcome.answer else outcome.error[:200]
    record(
        Actor.system(endpoint.tenant_id),
        "directory.webhook.given_up",
        at=at,
        target_type="webhook",
        target_id=endpoint.key,
        target_label=endpoint.name,
        after={"because": endpoint.paused_because, "last": said},
    )
    _tell(endpoint, said, at)


def _tell(endpoint: WebhookEndpoint, said: str, at: datetime) -> None:
    admins = User.objects.active().filter(
        tenant_id=endpoint.tenant_id, role_assignments__role=Role.GLOBAL_ADMIN
    )
    tenant = Tenant.objects.get(pk=endpoint.tenant_id)
    queue_mail(
        "webhook_paused",
        event_key=f"{endpoint.key}:{at.isoformat()}",
        to=admins,
        tenant_id=endpoint.tenant_id,
        context={
            "name": endpoint.name,
            "url": endpoint.url,
            "is_gone": endpoint.paused_because == Because.GONE,
            "said": said,
            "since_at": endpoint.failing_since.isoformat() if endpoint.failing_since else at.isoformat(),
            "organization": tenant.name,
            "time_zone": tenant.time_zone,
            "link": f"{settings.PUBLIC_URL}{reverse('portal:webhook', args=[endpoint.key])}",
        },
        at=at,
    )
