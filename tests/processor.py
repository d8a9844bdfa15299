"""What tests ask of the running card processor: switches, counts, and a buyer's card details."""

from typing import Any

import httpx
from django.conf import settings


def control(method: str, path: str, /, **params: Any) -> Any:
    """One control request; the answer's JSON."""
    url = f"{settings.STRIPE_API_BASE}/_control/{path}"
    sent = {"params": params} if method == "GET" else {"json": params}
    answer = httpx.request(method, url, timeout=20, **sent)
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
    answer = httpx.post(
        f"{settings.STRIPE_API_BASE}/v1/test_helpers/confirmation_tokens",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data={"payment_method": card, "setup_future_usage": "off_session"},
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def authenticate(intent_id: str, *, succeeds: bool = True) -> None:
    """What a buyer does in the bank's window."""
    control("POST", "authenticate", intent=intent_id, outcome="succeeded" if succeeds else "failed")
