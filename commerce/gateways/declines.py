"""What the decline codes mean for us: whether trying later may help, and what to tell the cardholder.

Pure data. Source: docs.stripe.com/declines/codes. A person is never told that a card was reported lost, stolen
or suspected of fraud: the bank tells its own customer.
"""

from typing import Final, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

type Kind = Literal["soft", "hard", "auth"]

AUTHENTICATION: Final = "authentication_required"
# Not the bank's word, and no card helps: the processor refuses the question, or the sum is less than it takes.
REFUSED: Final = "processor_refuses"
TOO_SMALL: Final = "amount_too_small"

# This card never will; everything else may work another day.
HARD: Final = frozenset(
    {
        "card_missing",
        "card_not_supported",
        "currency_not_supported",
        "expired_card",
        "fraudulent",
        "incorrect_number",
        "invalid_account",
        "invalid_number",
        "lost_card",
        "merchant_blacklist",
        "no_card",
        "pickup_card",
        "restricted_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "security_violation",
        "stolen_card",
        "stop_payment_order",
    }
)

_SENTENCES: Final[dict[str, Promise]] = {
    "insufficient_funds": _("The card has not enough funds. Nothing was charged. Try another card."),
    "withdrawal_count_limit_exceeded": _(
        "The card's limit is reached. Nothing was charged. Try another card."
    ),
    "card_velocity_exceeded": _("The card's limit is reached. Nothing was charged. Try another card."),
    "expired_card": _("The card has expired. Nothing was charged. Use another card."),
    "incorrect_cvc": _("The security code is wrong. Nothing was charged. Check it and try again."),
    "incorrect_number": _("The card number is wrong. Nothing was charged. Check it and try again."),
    "card_not_supported": _("This card cannot be used for this. Nothing was charged. Try another card."),
    "currency_not_supported": _(
        "This card cannot pay in this currency. Nothing was charged. Try another card."
    ),
    "processing_error": _(
        "The card could not be processed. Nothing was charged. Try again in a few minutes."
    ),
    "payment_intent_authentication_failure": _(
        "The payment was not confirmed with your bank. Nothing was charged. Try again, or use another card."
    ),
    "setup_intent_authentication_failure": _(
        "The card was not confirmed with your bank. Nothing was charged. Try again, or use another card."
    ),
    "card_details_unusable": _(
        "The card details can no longer be used. Nothing was charged. Enter them again."
    ),
    "canceled": _("The payment was ended before it was confirmed. Nothing was charged. Try again."),
    "interrupted": _("The payment was interrupted. Nothing was charged. Try again."),
    REFUSED: _(
        "The card processor did not take this charge. Nothing was charged. We look into it; you can try again by hand."
    ),
    TOO_SMALL: _("The sum is less than a card can be charged with. Nothing was charged. We look into it."),
    "renewal_stopped": _(
        "The renewal was stopped before it was paid, so no card is tried. Nothing was charged."
    ),
}


def kind_of(decline_code: str) -> Literal["soft", "hard"]:
    return "hard" if decline_code in HARD else "soft"


def sentence_of(decline_code: str) -> Promise | None:
    """What happened and what to do; None for the general sentence."""
    return _SENTENCES.get(decline_code)
