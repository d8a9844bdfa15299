"""What tests ask of the running card processor: switches, counts, and a buyer's card details."""

from collections import Counter
from typing import Any

import httpx
from django.conf import settings

# Made once, since each client reads the system's certificates; nothing is kept open between two questions.
_client = httpx.Client(timeout=20, verify=False, limits=httpx.Limits(max_keepalive_connections=0))


def control(method: str, path: str, /, **params: Any) -> Any:
    """One control request; the answer's JSON."""
    url = f"{settings.STRIPE_API_BASE}/_control/{path}"
    sent: Any = {"params": params} if method == "GET" else {"json": params}
    answer = _client.request(method, url, **sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def reset() -> None:
    """Nothing known, no faults, webhooks paused."""
    control("POST", "reset")
    control("POST", "webhooks", paused=True)


def charges(**metadata: str) -> int:
    """How many charges succeeded, of all or of those with that metadata."""
    wanted = {f"metadata[{name}]": value for name, value in metadata.items()}
    return int(control("GET", "charges/count", **wanted)["count"])


def charges_by_bill() -> Counter[str]:
    """How many charges succeeded of each bill, by its number; those of checkouts under an empty one."""
    found = control("GET", "objects", kind="charge", limit=1_000_000)["data"]
    return Counter(each["metadata"].get("bill", "") for each in found if each["status"] == "succeeded")


def intents() -> list[dict[str, Any]]:
    """All PaymentIntents, newest first."""
    found: list[dict[str, Any]] = control("GET", "objects", kind="payment_intent")["data"]
    return found


def refunds() -> list[dict[str, Any]]:
    """All refunds, newest first, those that failed among them."""
    found: list[dict[str, Any]] = control("GET", "objects", kind="refund")["data"]
    return found


def fault(kind: str, path: str, **facts: Any) -> None:
    """Order a fault for the next matching POST, or for others by `method`."""
    control("POST", "faults", **{"kind": kind, "method": "POST", "path": path, **facts})


def card_token(card: str = "pm_card_visa") -> str:
    """A confirmation token, as the browser makes one of the card fields."""
    answer = _client.post(
        f"{settings.STRIPE_API_BASE}/v1/test_helpers/confirmation_tokens",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data={"payment_method": card, "setup_future_usage": "off_session"},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def authenticate(intent_id: str, *, succeeds: bool = True) -> None:
    """What a buyer does in the bank's window."""
    control("POST", "authenticate", intent=intent_id, outcome="succeeded" if succeeds else "failed")
