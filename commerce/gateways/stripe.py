"""Stripe, by its official SDK. The only module that knows it (architecture §8).

Every call ends in a value of `commerce.gateways` or in one of its errors. Creations carry a key, so the SDK
may repeat them; a confirmation is sent once, and whoever does not get the answer asks about that id.
"""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import stripe
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from commerce.gateways import (
    CardFacts,
    Declined,
    ForgedEvent,
    Intent,
    NeedsAuthentication,
    Rejected,
    Retryable,
    Setup,
)
from commerce.gateways.declines import AUTHENTICATION, kind_of, sentence_of
from config.kit.rate import Pace

log = logging.getLogger(__name__)

API_VERSION: Final = "2026-10-28.endive"
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 25.0
# An event signed longer ago is refused (F-15).
TOLERANCE_SECONDS: Final = 300

_INTENT_FACTS: Final = ["latest_charge", "payment_method"]
_SETUP_FACTS: Final = ["payment_method"]
_UNEXPECTED_STATES: Final = frozenset(
    {"payment_intent_unexpected_state", "setup_intent_unexpected_state", "intent_invalid_state"}
)
_REPEATS: Final = 2
# How disputes end; every other status waits for somebody. A bank's inquiry that is closed took no money.
_DISPUTE_ENDS: Final[dict[str, Literal["won", "lost"]]] = {
    "won": "won",
    "warning_closed": "won",
    "prevented": "won",
    "lost": "lost",
}

_clients = threading.local()
_pace: ContextVar[Pace | None] = ContextVar("stripe_pace", default=None)


@dataclass(frozen=True, slots=True)
class Event:
    """A verified webhook: what it is about, not what it says."""

    id: str
    type: str
    object_id: str


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """Money given back, or on its way: `is_done`; `failure` says why it did not arrive, else it is empty."""

    id: str
    intent_id: str
    amount_minor: int
    currency: str
    is_done: bool
    failure: str
    made_at: datetime
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class DisputeFacts:
    """A charge that the cardholder contests at the bank; won or lost is said of the vendor."""

    id: str
    amount_minor: int
    currency: str
    reason: str
    status: Literal["open", "won", "lost"]


@contextmanager
def paced(pace: Pace) -> Iterator[None]:
    """Let every request of the block, repeated ones too, wait for its turn. People do not wait: sweeps do."""
    token = _pace.set(pace)
    try:
        yield
    finally:
        _pace.reset(token)


def create_customer(*, key: str, email: str, name: str, metadata: dict[str, str]) -> str:
    """The id of a new customer; the same one for the same key.

    :raises Retryable: no usable answer. :raises Rejected: the processor refuses the question.
    """
    with _translated():
        customer = _client().v1.customers.create(
            {"email": email, "name": name, "metadata": metadata},
            {"idempotency_key": key, "max_network_retries": 2 * _REPEATS},
        )
        return str(customer.id)


def create_intent(
    *,
    key: str,
    amount_minor: int,
    currency: str,
    customer_id: str,
    metadata: dict[str, str],
    description: str,
    keeps_card: bool,
) -> Intent:
    """A PaymentIntent that charges nothing until it is confirmed; the same one for the same key.

    :raises Retryable: no usable answer; repeat with the same key.
    :raises Rejected: the parameters are refused, or differ from those first sent with the key (F-13).
    """
    params: dict[str, Any] = {
        "amount": amount_minor,
        "currency": currency.lower(),
        "customer": customer_id,
        "description": description,
        "metadata": metadata,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "allowed_payment_method_types": ["card"],
    }
    if keeps_card:
        params["setup_future_usage"] = "off_session"
    with _translated():
        return _intent(
            _client().v1.payment_intents.create(
                params,  # type: ignore[arg-type]
                {"idempotency_key": key, "max_network_retries": _REPEATS},
            )
        )


def confirm_intent(
    intent_id: str, *, confirmation_token: str = "", card_id: str = "", off_session: bool = False
) -> Intent:
    """Charge: with the browser's confirmation token, or with a saved card of the intent's customer. Sent once.

    Off session the payer is away, and a bank that wants the cardholder has declined; else it says so by
    `requires_action`, and the browser goes on.

    :raises Declined: the bank said no.
    :raises NeedsAuthentication: off session, and the bank wants the cardholder.
    :raises Retryable: the answer is not known; retrieve the intent.
    :raises Rejected: the processor refuses the question.
    """
    params: dict[str, Any] = {"expand": _INTENT_FACTS}
    params |= {"payment_method": card_id} if card_id else {"confirmation_token": confirmation_token}
    params |= {"off_session": True} if off_session else {"use_stripe_sdk": True}
    try:
        with _translated():
            return _intent(
                _client().v1.payment_intents.confirm(
                    intent_id,
                    params,  # type: ignore[arg-type]
                    {"max_network_retries": 0},
                )
            )
    except UnexpectedState:
        # Confirmed before, or ended: what it is now is the answer.
        return retrieve_intent(intent_id)


def retrieve_intent(intent_id: str) -> Intent:
    """The intent as it is now, with its charge and card.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    with _translated():
        return _intent(
            _client().v1.payment_intents.retrieve(
                intent_id, {"expand": _INTENT_FACTS}, {"max_network_retries": _REPEATS}
            )
        )


def cancel_intent(intent_id: str) -> Intent:
    """End an intent so that nobody can confirm it any more; one that cannot be ended is returned as it is.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    try:
        with _translated():
            return _intent(
                _client().v1.payment_intents.cancel(intent_id, {}, {"max_network_retries": _REPEATS})
            )
    except UnexpectedState:
        return retrieve_intent(intent_id)


def create_setup(*, key: str, customer_id: str, metadata: dict[str, str]) -> Setup:
    """A SetupIntent that keeps no card until it is confirmed; the same one for the same key.

    :raises Retryable: no usable answer; repeat with the same key. :raises Rejected: the question is refused.
    """
    with _translated():
        return _setup(
            _client().v1.setup_intents.create(
                {
                    "customer": customer_id,
                    "usage": "off_session",
                    "metadata": metadata,
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "allowed_payment_method_types": ["card"],
                },
                {"idempotency_key": key, "max_network_retries": _REPEATS},
            )
        )


def confirm_setup(setup_id: str, *, confirmation_token: str) -> Setup:
    """Keep the card of the browser's confirmation token for its customer. Sent once.

    :raises Declined: the bank said no.
    :raises Retryable: the answer is not known; retrieve the setup.
    :raises Rejected: the processor refuses the question.
    """
    try:
        with _translated():
            return _setup(
                _client().v1.setup_intents.confirm(
                    setup_id,
                    {
                        "confirmation_token": confirmation_token,
                        "use_stripe_sdk": True,
                        "expand": _SETUP_FACTS,
                    },
                    {"max_network_retries": 0},
                )
            )
    except UnexpectedState:
        return retrieve_setup(setup_id)


def retrieve_setup(setup_id: str) -> Setup:
    """The SetupIntent as it is now, with its card.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    with _translated():
        return _setup(
            _client().v1.setup_intents.retrieve(
                setup_id, {"expand": _SETUP_FACTS}, {"max_network_retries": _REPEATS}
            )
        )


def cancel_setup(setup_id: str) -> Setup:
    """End a SetupIntent so that nobody can confirm it any more; one that cannot be ended is returned as it is.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    try:
        with _translated():
            return _setup(
                _client().v1.setup_intents.cancel(
                    setup_id, {"expand": _SETUP_FACTS}, {"max_network_retries": _REPEATS}
                )
            )
    except UnexpectedState:
        return retrieve_setup(setup_id)


def detach_card(processor_id: str) -> None:
    """Forget a card over there; one that is gone already, or never was there, is no error.

    :raises Retryable: no usable answer; ask again.
    """
    try:
        with _translated():
            _client().v1.payment_methods.detach(processor_id, {}, {"max_network_retries": _REPEATS})
    except (Declined, Rejected) as gone:
        log.info("Card %s is not there to be detached: %s", processor_id, gone.code)


def refund(*, key: str, intent_id: str, amount_minor: int, metadata: dict[str, str]) -> RefundFacts:
    """Give back some or all of what an intent charged; once for the same key.

    :raises Retryable: no usable answer; repeat with the same key.
    :raises Rejected: more than is left, or not charged.
    """
    with _translated():
        return _refund(
            _client().v1.refunds.create(
                {"payment_intent": intent_id, "amount": amount_minor, "metadata": metadata},
                {"idempotency_key": key, "max_network_retries": _REPEATS},
            )
        )


def retrieve_refund(refund_id: str) -> RefundFacts:
    """The refund as it is now.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    with _translated():
        return _refund(_client().v1.refunds.retrieve(refund_id, {}, {"max_network_retries": _REPEATS}))


def refunds_of(intent_id: str) -> list[RefundFacts]:
    """Every refund of an intent's charge, newest first, those that failed among them.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    with _translated():
        pages = _client().v1.refunds.list(
            {"payment_intent": intent_id, "limit": 100}, {"max_network_retries": _REPEATS}
        )
        return [_refund(made) for made in pages.auto_paging_iter()]


def disputes_of(intent_id: str) -> list[DisputeFacts]:
    """Every dispute of an intent's charge, newest first.

    :raises Retryable: no usable answer. :raises Rejected: unknown to the processor.
    """
    with _translated():
        pages = _client().v1.disputes.list(
            {"payment_intent": intent_id, "limit": 100}, {"max_network_retries": _REPEATS}
        )
        return [_dispute(told) for told in pages.auto_paging_iter()]


def intents_since(since: datetime) -> Iterator[Intent]:
    """Every intent created since then, newest first, whatever became of it, with charge and card.

    :raises Retryable: no usable answer.
    """
    with _translated():
        pages = _client().v1.payment_intents.list(
            {
                "created": {"gte": int(since.timestamp())},
                "expand": [f"data.{fact}" for fact in _INTENT_FACTS],
                "limit": 100,
            },
            {"max_network_retries": _REPEATS},
        )
        for made in pages.auto_paging_iter():
            yield _intent(made)


def events_since(since: datetime, *, types: Sequence[str]) -> Iterator[Event]:
    """The processor's own list of what happened, newest first: what a webhook that never came would have told.

    It goes back 30 days.

    :raises Retryable: no usable answer.
    """
    with _translated():
        pages = _client().v1.events.list(
            {"created": {"gte": int(since.timestamp())}, "types": list(types), "limit": 100},
            {"max_network_retries": _REPEATS},
        )
        for told in pages.auto_paging_iter():
            about: dict[str, Any] = told.data.to_dict()["object"]
            yield Event(str(told.id), str(told.type), str(about.get("payment_intent") or about["id"]))


def verify_webhook(payload: bytes, header: str) -> Event:
    """The event in a webhook's body, when it is genuine, fresh, of our mode and of our own account.

    Any of the configured secrets will do, so that one can be replaced by another (reliability §7).

    :raises ForgedEvent: anything about it is wrong.
    """
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        try:
            stripe.WebhookSignature.verify_header(payload.decode(), header, secret, TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, ValueError):
            continue
        return _event(payload)
    raise ForgedEvent("signature")


class UnexpectedState(Rejected):
    """The intent is not in a state in which this can be done; never leaves the module."""


class _Paced(stripe.RequestsClient):
    """Sends each request when its turn comes, where there is a pace to keep."""

    def request(self, *args: Any, **facts: Any) -> Any:
        pace = _pace.get()
        if pace is not None:
            pace.wait()
        return super().request(*args, **facts)


def _client() -> stripe.StripeClient:
    """This thread's client; one HTTP session each."""
    made: stripe.StripeClient | None = getattr(_clients, "made", None)
    wanted = (settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE)
    if made is None or _clients.made_for != wanted:
        if settings.DEMO and settings.STRIPE_LIVEMODE:
            raise ImproperlyConfigured("Demo mode refuses a live card key.")
        made = _clients.made = stripe.StripeClient(
            settings.STRIPE_SECRET_KEY,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.STRIPE_API_BASE},
            max_network_retries=0,
            http_client=_Paced(timeout=(CONNECT_SECONDS, READ_SECONDS)),
        )
        _clients.made_for = wanted
    return made


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the SDK's errors into ours; none of its types passes."""
    try:
        yield
    except stripe.CardError as error:
        raise _declined(_error_facts(error)) from None
    except stripe.IdempotencyError as error:
        log.error("The processor refuses a key: %s", error.user_message)
        raise Rejected("idempotency_error") from None
    except stripe.InvalidRequestError as error:
        raise _refused(error) from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        # Ours to mend, never the customer's fault.
        log.error("The processor does not accept our key: %s", error.user_message)
        raise Retryable from None
    except stripe.StripeError as error:
        # No connection, too many requests, a conflict with a request still running, or trouble over there.
        log.warning("No usable answer from the processor: %s", type(error).__name__)
        raise Retryable from None


def _refused(error: stripe.InvalidRequestError) -> Declined | Rejected | Retryable:
    if error.http_status in (409, 429):
        return Retryable()
    if error.code in _UNEXPECTED_STATES:
        return UnexpectedState(str(error.code))
    if error.param in ("confirmation_token", "setup_future_usage"):
        return Declined("soft", "card_details_unusable", sentence_of("card_details_unusable"))
    if error.param == "payment_method":
        return Declined("hard", "card_missing")
    log.error("The processor refuses a request: %s (%s)", error.code, error.param)
    return Rejected(str(error.code or "invalid_request"))


def _error_facts(error: stripe.CardError) -> dict[str, Any]:
    body: Any = error.json_body or {}
    facts: dict[str, Any] = body.get("error", {})
    return facts


def _declined(facts: Any) -> Declined | NeedsAuthentication:
    """The error of a `card_error` or of `last_payment_error`."""
    code = str(facts.get("decline_code") or facts.get("code") or "generic_decline")
    if AUTHENTICATION in (code, facts.get("code")):
        return NeedsAuthentication()
    return Declined(kind_of(code), code, sentence_of(code))


def _intent(made: stripe.PaymentIntent) -> Intent:
    raw: dict[str, Any] = made.to_dict()
    charge = raw.get("latest_charge")
    method = raw.get("payment_method")
    is_paid = raw["status"] == "succeeded"
    last_error = raw.get("last_payment_error")
    return Intent(
        id=raw["id"],
        status=raw["status"],
        amount_minor=raw["amount_received"] if is_paid else raw["amount"],
        currency=raw["currency"].upper(),
        customer_id=_id_of(raw.get("customer")),
        client_secret=raw.get("client_secret") or "",
        charge_id=_id_of(charge) if is_paid else "",
        card=_card(method) if isinstance(method, dict) else None,
        decline=_declined(last_error) if last_error and raw["status"] == "requires_payment_method" else None,
        charged_at=(
            datetime.fromtimestamp(charge["created"], UTC) if is_paid and isinstance(charge, dict) else None
        ),
        metadata=dict(raw.get("metadata") or {}),
    )


def _refund(made: stripe.Refund) -> RefundFacts:
    raw: dict[str, Any] = made.to_dict()
    has_failed = raw["status"] in ("failed", "canceled")
    return RefundFacts(
        id=raw["id"],
        intent_id=_id_of(raw.get("payment_intent")),
        amount_minor=raw["amount"],
        currency=raw["currency"].upper(),
        is_done=raw["status"] == "succeeded",
        failure=str(raw.get("failure_reason") or raw["status"]) if has_failed else "",
        made_at=datetime.fromtimestamp(raw["created"], UTC),
        metadata=dict(raw.get("metadata") or {}),
    )


def _setup(made: stripe.SetupIntent) -> Setup:
    raw: dict[str, Any] = made.to_dict()
    method = raw.get("payment_method")
    last_error = raw.get("last_setup_error")
    return Setup(
        id=raw["id"],
        status=raw["status"],
        customer_id=_id_of(raw.get("customer")),
        client_secret=raw.get("client_secret") or "",
        card=_card(method) if isinstance(method, dict) else None,
        decline=_declined(last_error) if last_error and raw["status"] == "requires_payment_method" else None,
        metadata=dict(raw.get("metadata") or {}),
    )


def _dispute(told: stripe.Dispute) -> DisputeFacts:
    raw: dict[str, Any] = told.to_dict()
    return DisputeFacts(
        id=raw["id"],
        amount_minor=raw["amount"],
        currency=raw["currency"].upper(),
        reason=str(raw.get("reason") or ""),
        status=_DISPUTE_ENDS.get(raw["status"], "open"),
    )


def _card(method: dict[str, Any]) -> CardFacts | None:
    card = method.get("card")
    if card is None:
        return None
    return CardFacts(
        processor_id=method["id"],
        brand=card["brand"],
        last4=card["last4"],
        expires_year=card["exp_year"],
        expires_month=card["exp_month"],
        fingerprint=card.get("fingerprint") or "",
    )


def _id_of(value: Any) -> str:
    """The id of an object that may have been expanded."""
    if isinstance(value, dict):
        return str(value["id"])
    return str(value or "")


def _event(payload: bytes) -> Event:
    try:
        body = json.loads(payload)
        about = body["data"]["object"]
        event = Event(str(body["id"]), str(body["type"]), str(about.get("payment_intent") or about["id"]))
        is_live, account = body["livemode"], body.get("account")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ForgedEvent("body") from None
    if is_live is not settings.STRIPE_LIVEMODE:
        raise ForgedEvent("livemode")
    if account:
        raise ForgedEvent("account")
    if (
        not event.id.startswith("evt_")
        or max(len(event.id), len(event.object_id)) > 80
        or len(event.type) > 60
    ):
        raise ForgedEvent("body")
    return event
