"""What a bank's refusal means, in the words that help: one sentence what to do next.

Pure. The codes are Stripe's. Source: https://docs.stripe.com/declines/codes
"""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

type Text = str | Promise

_ADVICE: dict[str, Text] = {
    "insufficient_funds": _("Try another card, or call your bank and mention “insufficient funds”."),
    "expired_card": _("The card has expired. Try another card."),
    "incorrect_cvc": _("The security code is wrong. Type it again, or try another card."),
    "invalid_cvc": _("The security code is wrong. Type it again, or try another card."),
    "incorrect_number": _("The card number is wrong. Type it again, or try another card."),
    "processing_error": _("The bank could not handle it. Try again in a minute, or try another card."),
    "authentication_required": _("Your bank did not get your confirmation. Try again, or try another card."),
    "authentication_failed": _("Your bank did not get your confirmation. Try again, or try another card."),
    "payment_intent_authentication_failure": _(
        "Your bank did not get your confirmation. Try again, or try another card."
    ),
    "card_velocity_exceeded": _("The card is over its limit. Try another card, or call your bank."),
    "withdrawal_count_limit_exceeded": _("The card is over its limit. Try another card, or call your bank."),
    "currency_not_supported": _("The card cannot pay in this currency. Try another card."),
}


def advice_for(decline_code: str) -> Text:
    """What to do after that refusal. Never says that a card is reported lost or stolen."""
    return _ADVICE.get(decline_code, _("Try another card, or call your bank."))
