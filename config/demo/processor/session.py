"""What one request works with: the store inside its transaction, the time, and events."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import forms
from .errors import ApiError, Json, invalid, malformed, missing_object
from .forms import Spec
from .store import Store

API_VERSION = "2026-10-28.endive"
_NAMES = {
    "payment_method": "PaymentMethod",
    "setup_intent": "setupintent",
    "confirmation_token": "confirmationtoken",
}
_EXPANDABLE = frozenset(
    {
        "charge",
        "customer",
        "data",
        "default_payment_method",
        "invoice_settings",
        "last_payment_error",
        "latest_charge",
        "payment_intent",
        "payment_method",
        "setup_intent",
        "object",
    }
)
PAGE: Spec = {
    "limit": forms.integer,
    "starting_after": forms.string,
    "ending_before": forms.string,
    "created": forms.time_range,
}


@dataclass(kw_only=True)
class Session:
    """One request. Everything is written through it, inside one transaction of the store."""

    store: Store
    now: int
    request_id: str
    base_url: str
    idempotency_key: str | None = None
    is_publishable: bool = False
    publishable_key: str = ""
    take_hold: Callable[[], bool] = lambda: False
    events: list[str] = field(default_factory=list)

    def new(self, prefix: str, kind: str, **facts: Any) -> Json:
        """A new object's common fields and `facts`; not yet written."""
        return {
            "id": f"{prefix}_{secrets.token_hex(12)}",
            "object": kind,
            "created": self.now,
            "livemode": False,
            **facts,
        }

    def put(self, body: Json) -> None:
        self.store.put(body)

    def get(self, kind: str, id_: str, *, param: str = "id", status: int = 404) -> Json:
        """The object of that kind.

        :raises ApiError: `resource_missing`, 404 for an id in the path, pass 400 for one in a parameter.
        """
        found = self.store.get(id_)
        if found is None or found["object"] != kind:
            raise missing_object(_NAMES.get(kind, kind), id_, param=param, status=status)
        return found

    def live_customer(self, id_: str, *, param: str = "customer") -> Json:
        """A customer named by a parameter that is not deleted."""
        customer = self.get("customer", id_, param=param, status=400)
        if customer.get("deleted"):
            raise missing_object("customer", id_, param=param, status=400)
        return customer

    def page_of(
        self,
        url: str,
        kind: str,
        params: Json,
        *,
        where: dict[str, str | None] | None = None,
        types: list[str] | None = None,
    ) -> Json:
        """One page of the objects of that kind, newest first, as Stripe's list object."""
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise malformed("Invalid integer: limit must be from 1 to 100", param="limit")
        after, before = params.get("starting_after"), params.get("ending_before")
        for name, cursor in (("starting_after", after), ("ending_before", before)):
            if cursor:
                self.get(kind, cursor, param=name, status=400)
        found, has_more = self.store.page(
            kind,
            limit=limit,
            after=after,
            before=before,
            created=params.get("created"),
            where={name: value for name, value in (where or {}).items() if value},
            types=types,
        )
        data = [public(body) for body in found]
        return {"object": "list", "url": url, "has_more": has_more, "data": data}

    def emit(self, type_: str, body: Json, *, previous: Json | None = None) -> None:
        """Write an event with a copy of the object as it is now, and queue its webhook."""
        data: Json = {"object": public(body)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.new(
            "evt",
            "event",
            api_version=API_VERSION,
            data=data,
            pending_webhooks=1,
            request={"id": self.request_id, "idempotency_key": self.idempotency_key},
            type=type_,
        )
        self.put(event)
        self.events.append(event["id"])

    def expand(self, body: Json, paths: list[str]) -> Json:
        """A copy of `body` with the objects at these dotted paths in place of their ids."""
        if not paths:
            return body
        copy: Json = json.loads(json.dumps(body))
        for path in paths:
            if path.count(".") > 3:
                raise malformed("You cannot expand more than 4 levels of a property.", param="expand")
            self._expand_path([copy], path.split("."), path)
        return copy

    def _expand_path(self, nodes: list[Json], segments: list[str], path: str) -> None:
        name, rest = segments[0], segments[1:]
        for node in nodes:
            if name == "refunds" and node.get("object") == "charge":
                url = f"/v1/charges/{node['id']}/refunds"
                node[name] = self.page_of(url, "refund", {}, where={"charge": node["id"]})
            elif name not in _EXPANDABLE or name not in node:
                raise malformed(f"This property cannot be expanded ({path}).", param="expand")
            elif isinstance(node[name], str):
                node[name] = public(self.store.get(node[name]) or {"id": node[name]})
            if rest:
                children = node[name] if isinstance(node[name], list) else [node[name]]
                self._expand_path([child for child in children if isinstance(child, dict)], rest, path)


def public(body: Json) -> Json:
    """The object as it is answered: without what the processor remembers for itself (`_` names)."""
    return {name: value for name, value in body.items() if not name.startswith("_")}


def needs_one_of(params: Json, *names: str) -> None:
    """Refuse parameters without any of these names."""
    if not any(name in params for name in names):
        listed = " or ".join(names)
        raise malformed(f"One of the following params should be provided for this request: {listed}.")


def refuse_state(message: str, body: Json, *, code: str, kind: str) -> ApiError:
    """400: the object's state does not allow this; the object rides along."""
    refused = invalid(message, code=code)
    refused.error[kind] = public(body)
    return refused
