"""Webhooks: signed as Stripe signs them, delivered in the background, tried again until taken."""

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

from .errors import Json
from .session import public
from .store import Store

type Order = Literal["normal", "reversed", "shuffled"]

ORDERS = ("normal", "reversed", "shuffled")
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 300.0
_LONGEST_KNOCK = 5.0
_MOST_ATTEMPTS = 40
_TIMEOUT = 10.0
_BATCH = 200


@dataclass
class Delivery:
    """How webhooks go out: the address and the switches for tests."""

    url: str = ""
    secret: str = ""
    events: tuple[str, ...] = ("*",)
    is_paused: bool = False
    is_dropped: bool = False
    copies: int = 1
    order: Order = "normal"


def signature(payload: str, secret: str, *, at: int) -> str:
    """The `Stripe-Signature` header; `at` is real time, as receivers check its age against theirs."""
    signed = hmac.new(secret.encode(), f"{at}.{payload}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


class Webhooks:
    """The queue of deliveries and the thread that works it off."""

    def __init__(self, store: Store, settings: Delivery) -> None:
        self._store = store
        self.settings = settings
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._connected_to = ""
        self._generation = 0
        self.counts = {"delivered": 0, "refused": 0, "unreachable": 0, "dropped": 0, "given_up": 0}
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=2)

    def wants(self, type_: str) -> bool:
        return bool(self.settings.url) and any(
            fnmatchcase(type_, pattern) for pattern in self.settings.events
        )

    def enqueue(self, event_ids: list[str]) -> None:
        """Queue these events; call inside the transaction that wrote them, then `wake`."""
        if not self.settings.url:
            return
        if self.settings.is_dropped:
            self.counts["dropped"] += len(event_ids)
            return
        for event_id in event_ids:
            for _ in range(self.settings.copies):
                self._store.queue_delivery(event_id)

    def wake(self) -> None:
        self._wake.set()

    def forget(self) -> None:
        """Drop everything that is queued, also what the thread holds in its hands."""
        self._generation += 1
        self._store.clear_deliveries()

    def state(self) -> Json:
        settings = asdict(self.settings)
        del settings["secret"]
        return settings | self.counts | {"pending": self._store.pending_deliveries()}

    def wait_until_idle(self, seconds: float) -> bool:
        """Whether everything was delivered before the time was up."""
        end = time.monotonic() + seconds
        self._wake.set()
        while self._store.pending_deliveries():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _run(self) -> None:
        unreachable = 0
        while not self._stopped.is_set():
            self._wake.clear()
            if self.settings.is_paused or not self.settings.url:
                self._wake.wait(5.0)
                continue
            unreachable = 0 if self._deliver_due() else unreachable + 1
            if unreachable:
                # Nobody listens there: keep everything, knock again later.
                self._stopped.wait(min(_FIRST_WAIT * 2 ** (unreachable - 1), _LONGEST_KNOCK))
                continue
            next_at = self._store.next_delivery_at()
            self._wake.wait(5.0 if next_at is None else min(max(next_at - time.time(), 0.0), 5.0))

    def _deliver_due(self) -> bool:
        """Deliver what is due; False when the receiver cannot be reached."""
        generation = self._generation
        while due := self._store.due_deliveries(limit=_BATCH):
            if self.settings.order == "reversed":
                due.reverse()
            elif self.settings.order == "shuffled":
                random.shuffle(due)
            for delivery_id, event_id, attempts in due:
                if self._stopped.is_set() or self.settings.is_paused or generation != self._generation:
                    return True
                try:
                    self._deliver(delivery_id, event_id, attempts + 1)
                except (OSError, http.client.HTTPException):
                    self._disconnect()
                    self.counts["unreachable"] += 1
                    return False
        return True

    def _deliver(self, delivery_id: int, event_id: str, attempts: int) -> None:
        event = self._store.get(event_id)
        if event is None or not self.wants(event["type"]):
            self._store.finish_delivery(delivery_id)
            return
        if self._post(json.dumps(public(event))):
            self.counts["delivered"] += 1
            self._store.finish_delivery(delivery_id)
            return
        self.counts["refused"] += 1
        if attempts >= _MOST_ATTEMPTS:
            self.counts["given_up"] += 1
            self._store.finish_delivery(delivery_id)
            return
        wait = min(_FIRST_WAIT * 2 ** (attempts - 1), _LONGEST_WAIT) * random.uniform(0.8, 1.2)
        self._store.postpone_delivery(delivery_id, attempts=attempts, due_at=time.time() + wait)

    def _post(self, payload: str) -> bool:
        """Whether the receiver took it (2xx)."""
        url = urlsplit(self.settings.url)
        if self._connection is None or self._connected_to != self.settings.url:
            self._disconnect()
            maker = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
            self._connection = maker(url.hostname or "", url.port, timeout=_TIMEOUT)
            self._connected_to = self.settings.url
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(payload, self.settings.secret, at=int(time.time())),
        }
        path = url.path + (f"?{url.query}" if url.query else "")
        self._connection.request("POST", path or "/", payload.encode(), headers)
        response = self._connection.getresponse()
        response.read()
        if response.will_close:
            self._disconnect()
        return 200 <= response.status < 300

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
