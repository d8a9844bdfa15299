"""The card processor as the rest of Seatkeeper sees it: values and errors, none of the SDK's types.

`commerce.gateways.stripe` is the only module that knows Stripe.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.utils.translation import gettext_lazy as _

from config.kit.errors import DomainError, PeerUnavailable, Text

type IntentStatus = Literal[
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "succeeded",
    "canceled",
]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """A card as the processor describes it; never a number. `fingerprint`: the same for the same number."""

    processor_id: str
    brand: str
    last4: str
    expires_year: int
    expires_month: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """The state of one PaymentIntent. `decline` is set when its last try was declined."""

    id: str
    status: IntentStatus
    amount_minor: int
    currency: str
    customer_id: str
    client_secret: str
    charge_id: str = ""
    card: CardFacts | None = None
    decline: "Declined | NeedsAuthentication | None" = None
    charged_at: datetime | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """The state of one SetupIntent: a card to be kept for later. `decline` is set when its last try was declined."""

    id: str
    status: IntentStatus
    customer_id: str
    client_secret: str
    card: CardFacts | None = None
    decline: "Declined | NeedsAuthentication | None" = None
    metadata: dict[str, str] | None = None


class Declined(DomainError):
    """The bank said no. `kind` soft: trying later may help; hard: this card never will."""

    code = "card_declined"
    status = 402
    message = _("Your bank declined the card. Nothing was charged. Try another card.")

    def __init__(self, kind: Literal["soft", "hard"], decline_code: str, message: Text | None = None) -> None:
        self.kind = kind
        self.decline_code = decline_code
        super().__init__(message, kind=kind, decline_code=decline_code)


class NeedsAuthentication(DomainError):
    """The bank wants the cardholder to confirm, on a page."""

    code = "authentication_required"
    status = 402
    message = _("Your bank wants you to confirm this payment.")


class Retryable(PeerUnavailable):
    """No answer, or one that says to come back. Whether it happened is not known: ask again about the same id."""

    code = "processor_unavailable"


class Rejected(PeerUnavailable):
    """The processor refuses the question itself; asking again changes nothing, the vendor's staff must look."""

    code = "processor_refuses"
    message = _("The payment could not be made. Nothing was charged. We have been told.")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason=reason)


class ForgedEvent(DomainError):
    """A webhook that is not the processor's, too old, altered, or not meant for this installation."""

    code = "forged_event"
    status = 400
    message = _("This event is not accepted.")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason=reason)
