"""The card processor without its socket: the very peer of the demo, asked through the official SDK in one process.

What the portal sends and what it gets are the same as over HTTP (`tests/contract` judges that side); what is left
out is the connection. So a question and an answer can be lost exactly where the seed says, and years fit in seconds.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from unittest import mock
from urllib.parse import unquote, urlsplit

import stripe
from django.conf import settings

from commerce.gateways import stripe as portal
from commerce.operations.payments import store_event
from config.demo.processor.api import Api, Question
from config.demo.processor.clock import Clock
from config.demo.processor.control import Control
from config.demo.processor.errors import Json
from config.demo.processor.session import public
from config.demo.processor.store import Store
from config.demo.processor.webhooks import Delivery, Webhooks, signature

type Weather = Literal["calm", "rough", "away"]

# How often a question goes wrong, and how. In rough weather the SDK's own repetitions often get through.
WEATHERS: dict[Weather, float] = {"calm": 0.0, "rough": 0.25, "away": 1.0}
_TROUBLES = ("question_lost", "answer_lost", "answer_lost", "500", "500_after", "429", "409")


class _SimulatedClock(Clock):
    """The seed's time; the processor forgets its keys after 24 hours of it."""

    def __init__(self) -> None:
        super().__init__(None)
        self.at: datetime | None = None

    def now(self) -> int:
        return int(self.at.timestamp()) if self.at else int(time.time())


class Gateway:
    """The processor's state and what the simulation does to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = _SimulatedClock()
        self._store = Store(folder)
        self._secret = settings.STRIPE_WEBHOOK_SECRETS[0]
        webhooks = Webhooks(self._store, Delivery(url="http://never.asked.example/", secret=self._secret))
        self.api = Api(
            self._store,
            self.clock,
            webhooks,
            secret_key=settings.STRIPE_SECRET_KEY,
            publishable_key="pk_test_simulated",
        )
        self._control = Control(self.api)
        self.forget()

    def forget(self) -> None:
        """Nothing known, calm weather."""
        self.control("POST", "reset")
        self.weather: Weather = "calm"
        self.rng = random.Random(0)
        self.before_call: Callable[[], None] = lambda: None
        self.after_call: Callable[[], None] = lambda: None
        self.calls = self.troubles = 0

    def close(self) -> None:
        self._store.close()

    def control(self, method: str, switch: str, /, **params: Any) -> Any:
        """What the demo's control requests do."""
        return self._control.answer(method, switch, params)

    # --- The portal's side ------------------------------------------------------------------------------

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[str, int, dict[str, str]]:
        """One request of the SDK's, with the weather in between."""
        self.before_call()
        self.calls += 1
        trouble = ""
        if self.rng.random() < WEATHERS[self.weather]:
            trouble = self.rng.choice(_TROUBLES)
            self.troubles += 1
        if trouble == "question_lost":
            raise _no_connection()
        if trouble in ("429", "409", "500", "500_after"):
            self.api.faults.add(kind="error", status=int(trouble[:3]), after_work=trouble == "500_after")
        answer = self.ask(method, url, headers.get("Idempotency-Key"), body)
        self.api.faults.clear()
        self.after_call()
        if trouble == "answer_lost":
            raise _no_connection()
        return answer

    def ask(self, method: str, url: str, key: str | None, body: Any) -> tuple[str, int, dict[str, str]]:
        """Ask without weather."""
        parts = urlsplit(url)
        reply = self.api.answer(
            Question(
                method=method.upper(),
                path=unquote(parts.path.rstrip("/")),
                query=parts.query,
                body=body if isinstance(body, str) else "",
                key=settings.STRIPE_SECRET_KEY,
                idempotency_key=key,
                base_url="http://processor.example",
            )
        )
        return reply.body, reply.status, {name.lower(): value for name, value in reply.headers.items()}

    # --- The buyer's side -------------------------------------------------------------------------------

    def card_token(self, card: str) -> str:
        """What the browser makes of the card fields."""
        body = f"payment_method=pm_card_{card}&setup_future_usage=off_session"
        text, status, _ = self.ask("POST", "/v1/test_helpers/confirmation_tokens", None, body)
        assert status == 200, text
        return str(json.loads(text)["id"])

    def authenticate(self, intent_id: str, *, succeeds: bool) -> None:
        """What the cardholder does in the bank's window."""
        self.api.authenticate(intent_id, succeeds=succeeds)

    def turn_card(
        self, processor_id: str, *, decline: tuple[str, str | None] | None, asks_bank: bool
    ) -> bool:
        """Let a saved card answer otherwise from now on, as its bank might; False for one not known here."""
        method = self._store.get(processor_id)
        if method is None:
            return False
        method["_traits"] |= {
            "decline": list(decline) if decline else None,
            "authentication": "always" if asks_bank else "never",
        }
        with self._store.transaction():
            self._store.put(method)
        return True

    # --- Webhooks ---------------------------------------------------------------------------------------

    def deliver(self, rng: random.Random, at: datetime, *, all_of_them: bool = False) -> int:
        """Some of the waiting events in any order, some twice, some never; how many arrived.

        What happens to an intent is found without them. A refund that the bank sent back is told by them alone, so
        those arrive in the end.
        """
        waiting = self._store.due_deliveries(limit=10_000)
        rng.shuffle(waiting)
        arrived = 0
        for delivery_id, event_id, _attempts in waiting:
            if not all_of_them and rng.random() < 0.4:
                continue
            self._store.finish_delivery(delivery_id)
            event = self._store.get(event_id) or {}
            if not all_of_them and event["type"].startswith("payment_intent.") and rng.random() < 0.15:
                continue
            for _ in range(2 if rng.random() < 0.2 else 1):
                payload = json.dumps(public(event))
                header = signature(payload, self._secret, at=int(time.time()))
                store_event(portal.verify_webhook(payload.encode(), header), at=at)
                arrived += 1
        return arrived

    # --- What it knows, for the books -------------------------------------------------------------------

    def objects(self, kind: str) -> list[Json]:
        """All of a kind, oldest first."""
        return list(reversed(self._store.labelled(kind, {}, limit=1_000_000)))


class _Wire(stripe.HTTPClient):
    """The SDK's transport: into the same process, and no waiting between its repetitions."""

    name = "simulated"
    gateway: Gateway

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        return self.gateway.request(method, url, headers or {}, post_data)

    def _sleep_time_seconds(self, num_retries: int) -> float:
        return 0.0

    def close(self) -> None:
        """There is no connection."""


def _no_connection() -> stripe.APIConnectionError:
    return stripe.APIConnectionError("No answer.", should_retry=True)


@contextmanager
def reached_by_the_portal(gateway: Gateway) -> Iterator[None]:
    """Let the portal's own gateway module speak to this one instead of opening a connection."""
    wire = type("Wire", (_Wire,), {"gateway": gateway})
    with mock.patch.object(portal, "_Paced", wire), mock.patch.object(portal, "_clients", threading.local()):
        yield
