"""Switches for tests and the demo, under `/_control/`: faults, webhooks, disputes, counts.

Requests and answers are JSON. Only loopback may ask, and never a page in a browser.
"""

from collections.abc import Callable
from typing import Any

from . import charges, payment_intents
from .api import Api
from .errors import Json
from .faults import KINDS, STATUSES
from .session import public
from .webhooks import ORDERS

type Handler = Callable[[Json], Any]


class ControlError(ValueError):
    """A control request that makes no sense."""


class Control:
    """The control requests by method and path; parameters come from the query or the JSON body."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "health"): self.health,
            ("POST", "reset"): self.reset,
            ("GET", "faults"): self.list_faults,
            ("POST", "faults"): self.add_fault,
            ("DELETE", "faults"): self.clear_faults,
            ("POST", "latency"): self.set_latency,
            ("GET", "webhooks"): self.webhooks,
            ("POST", "webhooks"): self.set_webhooks,
            ("DELETE", "webhooks"): self.forget_webhooks,
            ("POST", "webhooks/flush"): self.flush_webhooks,
            ("POST", "webhooks/resend"): self.resend_webhook,
            ("GET", "requests"): self.requests,
            ("DELETE", "requests"): self.forget_requests,
            ("GET", "objects"): self.objects,
            ("GET", "charges/count"): self.count_charges,
            ("POST", "disputes"): self.create_dispute,
            ("POST", "disputes/close"): self.close_dispute,
            ("POST", "refunds/fail"): self.fail_refund,
            ("POST", "processing"): self.hold_settlements,
            ("POST", "settle"): self.settle,
            ("POST", "authenticate"): self.authenticate,
        }

    def answer(self, method: str, path: str, params: Json) -> Any:
        """The answer of one control request; None when there is no such switch.

        :raises ControlError: for parameters that make no sense.
        """
        handler = self._handlers.get((method, path))
        if handler is None:
            return None
        try:
            return handler(params)
        except (KeyError, TypeError, ValueError) as problem:
            raise ControlError(f"{type(problem).__name__}: {problem}") from problem

    def health(self, params: Json) -> Json:
        return {"now": self._api.clock.now(), "objects": self._api.store.counts()}

    def reset(self, params: Json) -> Json:
        """Forget every object, key, fault, recorded request and queued webhook."""
        settings = self._api.webhooks.settings
        settings.is_paused, settings.is_dropped, settings.copies, settings.order = False, False, 1, "normal"
        self._api.faults.clear()
        self._api.hold_settlements(0)
        self._api.recorded.clear()
        self._api.webhooks.forget()
        self._api.store.clear()
        return {"ok": True}

    def list_faults(self, params: Json) -> Json:
        return {"data": self._api.faults.all()}

    def add_fault(self, params: Json) -> Json:
        if params["kind"] not in KINDS:
            raise ControlError(f"kind must be one of {', '.join(KINDS)}")
        status = int(params.get("status", 500))
        if status not in STATUSES:
            raise ControlError(f"status must be one of {', '.join(map(str, STATUSES))}")
        count = params.get("count", 1)
        fault = self._api.faults.add(
            kind=params["kind"],
            method=params.get("method", "*"),
            path=params.get("path", "*"),
            metadata=params.get("metadata", {}),
            left=None if count is None else int(count),
            status=status,
            after_work=bool(params.get("after_work", False)),
            seconds=float(params.get("seconds", 0)),
        )
        return dict(vars(fault))

    def clear_faults(self, params: Json) -> Json:
        self._api.faults.clear(int(params["id"]) if "id" in params else None)
        return {"data": self._api.faults.all()}

    def set_latency(self, params: Json) -> Json:
        """Slow down everything that matches, until changed; 0 ends it."""
        for fault in self._api.faults.all():
            if fault["kind"] == "delay" and fault["left"] is None:
                self._api.faults.clear(fault["id"])
        if float(params["seconds"]) > 0:
            self.add_fault({**params, "kind": "delay", "count": None})
        return self.list_faults({})

    def webhooks(self, params: Json) -> Json:
        return self._api.webhooks.state()

    def set_webhooks(self, params: Json) -> Json:
        settings = self._api.webhooks.settings
        if params.get("order", "normal") not in ORDERS:
            raise ControlError(f"order must be one of {', '.join(ORDERS)}")
        settings.order = params.get("order", settings.order)
        settings.url = str(params.get("url", settings.url))
        settings.secret = str(params.get("secret", settings.secret))
        settings.events = tuple(params.get("events", settings.events))
        settings.is_dropped = bool(params.get("drop", settings.is_dropped))
        settings.copies = int(params.get("copies", settings.copies))
        settings.is_paused = bool(params.get("paused", settings.is_paused))
        self._api.webhooks.wake()
        return self._api.webhooks.state()

    def forget_webhooks(self, params: Json) -> Json:
        """Forget what is queued."""
        self._api.webhooks.forget()
        return self._api.webhooks.state()

    def flush_webhooks(self, params: Json) -> Json:
        """Wait until everything queued was delivered."""
        idle = self._api.webhooks.wait_until_idle(float(params.get("seconds", 5)))
        return {"idle": idle} | self._api.webhooks.state()

    def resend_webhook(self, params: Json) -> Json:
        event = self._found(params["event"], "event")
        with self._api.store.transaction():
            for _ in range(int(params.get("copies", 1))):
                self._api.store.queue_delivery(event["id"])
        self._api.webhooks.wake()
        return self._api.webhooks.state()

    def requests(self, params: Json) -> Json:
        """The last requests to the API, oldest first, without card data."""
        since = int(params.get("since", 0))
        return {"data": [entry for entry in list(self._api.recorded) if entry["number"] > since]}

    def forget_requests(self, params: Json) -> Json:
        self._api.recorded.clear()
        return {"data": []}

    def objects(self, params: Json) -> Json:
        """Objects of a `kind` or all, by their metadata, newest first."""
        found = self._api.store.labelled(
            params.get("kind"), params.get("metadata", {}), limit=int(params.get("limit", 1000))
        )
        return {"data": [public(body) for body in found]}

    def count_charges(self, params: Json) -> Json:
        """Successful charges of a customer, with some metadata, or of all."""
        return self._api.store.charge_totals(
            customer=params.get("customer"), labels=params.get("metadata", {})
        )

    def create_dispute(self, params: Json) -> Json:
        session = self._api.session()
        charge = self._charge(params)
        reason = params.get("reason", "fraudulent")
        if reason not in charges.DISPUTE_REASONS:
            raise ControlError(f"reason must be one of {', '.join(charges.DISPUTE_REASONS)}")
        amount = int(params["amount"]) if "amount" in params else None
        dispute = self._api.work(
            session, lambda: charges.create_dispute(session, charge, reason=reason, amount=amount)
        )
        return public(dispute)

    def close_dispute(self, params: Json) -> Json:
        if params["status"] not in ("won", "lost"):
            raise ControlError("status must be won or lost")
        session = self._api.session()
        dispute = self._found(params["dispute"], "dispute")
        closed = self._api.work(
            session, lambda: charges.close_dispute(session, dispute, status=params["status"])
        )
        return public(closed)

    def fail_refund(self, params: Json) -> Json:
        session = self._api.session()
        refund = self._api.work(session, lambda: charges.fail_refund(session, params["refund"]))
        return public(refund)

    def hold_settlements(self, params: Json) -> Json:
        """Let the next `count` good charges stay in `processing` until `settle`."""
        self._api.hold_settlements(int(params.get("count", 1)))
        return {"ok": True}

    def settle(self, params: Json) -> Json:
        if params.get("outcome", "succeeded") not in ("succeeded", "failed"):
            raise ControlError("outcome must be succeeded or failed")
        session = self._api.session()
        intent = self._found(params["payment_intent"], "payment_intent")
        succeeds = params.get("outcome", "succeeded") == "succeeded"
        self._api.work(session, lambda: payment_intents.settle(session, intent, succeeds=succeeds))
        return public(self._found(intent["id"], "payment_intent"))

    def authenticate(self, params: Json) -> Json:
        """Complete or fail an intent's 3-D Secure as a cardholder would, without a browser."""
        intent = self._api.store.get(params["intent"])
        if intent is None:
            raise ControlError(f"no such intent: {params['intent']}")
        succeeds = params.get("outcome", "succeeded") == "succeeded"
        return public(self._api.authenticate(intent["id"], succeeds=succeeds))

    def _charge(self, params: Json) -> Json:
        if "charge" in params:
            return self._found(params["charge"], "charge")
        intent = self._found(params["payment_intent"], "payment_intent")
        return self._found(intent["latest_charge"] or "", "charge")

    def _found(self, id_: str, kind: str) -> Json:
        found = self._api.store.get(id_)
        if found is None or found["object"] != kind:
            raise ControlError(f"no such {kind}: {id_}")
        return found
