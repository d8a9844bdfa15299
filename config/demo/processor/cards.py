"""Stripe's published test cards and what each one does.

Source: docs.stripe.com/testing. A card that is not listed is refused, as Stripe's test mode refuses a real
one: nobody's own card number is ever accepted here.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Literal

from .errors import ApiError, Json, doc_url, invalid

type Authentication = Literal["never", "unless_set_up", "on_session", "always"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One test card: how it looks, and how its issuer answers."""

    number: str
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: tuple[str, str | None] | None = None
    refuses_attach: bool = False
    authentication: Authentication = "never"
    is_disputed: bool = False
    names: tuple[str, ...] = ()


def _declining(number: str, code: str, decline_code: str | None, *names: str) -> Card:
    return Card(number=number, decline=(code, decline_code), refuses_attach=True, names=names)


_CARDS = (
    Card(number="4242424242424242", names=("visa",)),
    Card(number="4000056655665556", funding="debit", names=("visa_debit",)),
    Card(number="5555555555554444", brand="mastercard", names=("mastercard",)),
    Card(number="2223003122003222", brand="mastercard", names=("mastercard_2_series",)),
    Card(number="5200828282828210", brand="mastercard", funding="debit", names=("mastercard_debit",)),
    Card(number="5105105105105100", brand="mastercard", funding="prepaid", names=("mastercard_prepaid",)),
    Card(number="378282246310005", brand="amex", names=("amex",)),
    Card(number="371449635398431", brand="amex"),
    Card(number="6011111111111117", brand="discover", names=("discover",)),
    Card(number="3056930009020004", brand="diners", names=("diners",)),
    Card(number="36227206271667", brand="diners"),
    Card(number="3566002020360505", brand="jcb", country="JP", names=("jcb",)),
    Card(number="6200000000000005", brand="unionpay", country="CN", names=("unionpay",)),
    Card(number="4000005280000002", country="NL", names=("nl",)),
    Card(number="4000002760000016", country="DE", names=("de",)),
    Card(number="4000008260000000", country="GB", names=("gb",)),
    _declining(
        "4000000000000002", "card_declined", "generic_decline", "visa_chargeDeclined", "chargeDeclined"
    ),
    _declining(
        "4000000000009995",
        "card_declined",
        "insufficient_funds",
        "visa_chargeDeclinedInsufficientFunds",
        "chargeDeclinedInsufficientFunds",
    ),
    _declining("4000000000009987", "card_declined", "lost_card", "visa_chargeDeclinedLostCard"),
    _declining("4000000000009979", "card_declined", "stolen_card", "visa_chargeDeclinedStolenCard"),
    _declining(
        "4000000000000069",
        "expired_card",
        None,
        "chargeDeclinedExpiredCard",
        "visa_chargeDeclinedExpiredCard",
    ),
    _declining(
        "4000000000000127",
        "incorrect_cvc",
        None,
        "chargeDeclinedIncorrectCvc",
        "visa_chargeDeclinedIncorrectCvc",
    ),
    _declining(
        "4000000000000119",
        "processing_error",
        None,
        "chargeDeclinedProcessingError",
        "visa_chargeDeclinedProcessingError",
    ),
    _declining(
        "4000000000006975",
        "card_declined",
        "card_velocity_exceeded",
        "visa_chargeDeclinedVelocityLimitExceeded",
    ),
    Card(
        number="4000000000000341",
        decline=("card_declined", "generic_decline"),
        names=("chargeCustomerFail", "visa_chargeCustomerFail"),
    ),
    Card(
        number="4000002500003155",
        country="DE",
        authentication="unless_set_up",
        names=("authenticationRequiredOnSetup",),
    ),
    Card(
        number="4000002760003184",
        country="DE",
        authentication="always",
        names=("authenticationRequired",),
    ),
    Card(
        number="4000003800000446",
        country="DE",
        authentication="on_session",
        names=("authenticationRequiredSetupForOffSession",),
    ),
    Card(
        number="4000008260003178",
        country="GB",
        authentication="always",
        decline=("card_declined", "insufficient_funds"),
        names=("authenticationRequiredChargeDeclinedInsufficientFunds",),
    ),
    Card(number="4000000000003220", authentication="always", names=("threeDSecure2Required",)),
    Card(number="4000000000003063", authentication="always", names=("threeDSecureRequired",)),
    Card(
        number="4000008400001629",
        authentication="always",
        decline=("card_declined", "generic_decline"),
        names=("threeDSecureRequiredChargeDeclined",),
    ),
    Card(number="4000000000003055", names=("threeDSecureOptional",)),
    Card(number="4000000000000259", is_disputed=True, names=("createDispute",)),
)
_BY_NUMBER = {card.number: card for card in _CARDS}
_BY_NAME = {name: card for card in _CARDS for name in card.names}

DECLINE_MESSAGES = {
    "card_declined": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def all_cards() -> tuple[Card, ...]:
    """Every test card, in the order of Stripe's page."""
    return _CARDS


def decline_message(code: str, decline_code: str | None) -> str:
    """Stripe's sentence for a decline."""
    return DECLINE_MESSAGES.get(decline_code or "", DECLINE_MESSAGES.get(code, "Your card was declined."))


def named(token: str) -> Card | None:
    """The card behind `pm_card_visa`, `tok_visa` and their like; None when there is no such name."""
    for prefix in ("pm_card_", "tok_"):
        if token.startswith(prefix):
            return _BY_NAME.get(token.removeprefix(prefix))
    return None


def numbered(number: str) -> Card:
    """The card with that number.

    :raises ApiError: 402, as Stripe answers a number that is no card, or a card that is no test card.
    """
    digits = re.sub(r"[\s-]", "", number)
    if not digits.isdigit() or not 12 <= len(digits) <= 19 or not passes_luhn(digits):
        raise _card_error("Your card number is incorrect.", "incorrect_number", "number")
    card = _BY_NUMBER.get(digits)
    if card is None:
        raise ApiError(
            402,
            "card_error",
            "Your card was declined. Your request was in test mode, but used a non test card. For a list of "
            "valid test cards, visit: https://stripe.com/docs/testing.",
            code="card_declined",
            decline_code="test_mode_live_card",
            param="",
        )
    return card


def passes_luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def checked_expiry(month: int | None, year: int | None, *, now: tuple[int, int]) -> tuple[int, int]:
    """Month and four-digit year, in the future; `now` is (year, month)."""
    if month is None or not 1 <= month <= 12:
        raise _card_error("Your card's expiration month is invalid.", "invalid_expiry_month", "exp_month")
    if year is not None and 0 <= year < 100:
        year += 2000
    if year is None or year < now[0] or year > now[0] + 50:
        raise _card_error("Your card's expiration year is invalid.", "invalid_expiry_year", "exp_year")
    if (year, month) < now:
        raise _card_error("Your card's expiration month is invalid.", "invalid_expiry_month", "exp_month")
    return month, year


def check_cvc(cvc: str, card: Card) -> None:
    if not cvc.isdigit() or len(cvc) != (4 if card.brand == "amex" else 3):
        raise _card_error("Your card's security code is invalid.", "invalid_cvc", "cvc")


def fingerprint(number: str, secret: bytes) -> str:
    """The same 16 characters for the same number in one store; says nothing about the number."""
    return hmac.new(secret, number.encode(), hashlib.sha256).hexdigest()[:16]


def traits(card: Card) -> Json:
    """What must be known of the card when it is charged; never its number."""
    return {
        "decline": list(card.decline) if card.decline else None,
        "refuses_attach": card.refuses_attach,
        "authentication": card.authentication,
        "is_disputed": card.is_disputed,
    }


def _card_error(message: str, code: str, param: str) -> ApiError:
    return ApiError(402, "card_error", message, code=code, param=param)


def declined(code: str, decline_code: str | None, **facts: Any) -> ApiError:
    """402: an outcome that was written down, not an abandoned call."""
    return ApiError(
        402,
        "card_error",
        decline_message(code, decline_code),
        code=code,
        decline_code=decline_code,
        keeps_work=True,
        **facts,
    )


def error_record(error: ApiError) -> Json:
    """The error as `last_payment_error` and `last_setup_error` keep it."""
    kept = {
        name: value for name, value in error.error.items() if name not in {"payment_intent", "setup_intent"}
    }
    if "code" in kept:
        kept["doc_url"] = doc_url(kept["code"])
    return kept


def unknown_token(token: str) -> ApiError:
    return invalid(f"No such token: '{token}'", code="resource_missing", param="card[token]")
