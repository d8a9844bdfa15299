"""What every page that charges a card shares: its problems in words, the processor's script, the limit of tries."""

from datetime import timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.gateways import Declined
from commerce.gateways.declines import sentence_of
from commerce.operations.checkouts import OverLimit, PriceChanged, Sum
from config.kit.actors import Actor
from config.kit.errors import Text
from config.kit.money import format_money
from config.kit.rate import Limit

MINUTE = timedelta(minutes=1)


class Problem:
    """The notice over the form: what did not happen and what to do; `anchor` names the part to look at."""

    def __init__(self, fact: Text, advice: Text, anchor: str) -> None:
        self.fact, self.advice, self.anchor = fact, advice, anchor


# Ways in which a payment ended that were not the bank's doing.
_NOT_THE_BANK = frozenset({"not_eligible", "checkout_closed", "replaced", "processor_refuses", "mismatch"})


_KEPT = gettext_lazy("Your order is kept.")


def declined(code: str, kept: Text = _KEPT) -> Problem:
    """How a payment ended, by its code; `kept` says what the person has not lost."""
    if code == PriceChanged.code:
        fact: Text = PriceChanged.message
    elif code == OverLimit.code:
        fact = OverLimit.message
    elif code in _NOT_THE_BANK:
        fact = _("The payment was not made. Nothing was charged.")
    else:
        fact = sentence_of(code) or Declined.message
    return Problem(fact, kept, "card")


def another_total(quote: Sum) -> Problem:
    total = format_money(quote.total_minor, quote.currency)
    return Problem(
        _("The total is now %(total)s. Nothing was charged.") % {"total": total},
        _("It is not what the page showed you before. Look at it, and pay again if you agree."),
        "summary",
    )


def over_limit(refused: OverLimit) -> Problem:
    """Which of the organization's limits refuses the sum, and what to do."""
    reason = refused.eligibility.reasons[0]
    return Problem(reason.heading, f"{reason.advice} {_('Nothing was charged.')}", "summary")


def no_card() -> Problem:
    return Problem(
        _("Nothing was charged: the card is missing."),
        _("Card details go straight from your browser to our payment provider. That needs JavaScript."),
        "card",
    )


def count_try(actor: Actor) -> None:
    """At most so many payments a minute are tried for one person, whatever the card (reliability §7)."""
    Limit("buy", tries=settings.BUYS_PER_MINUTE, per=MINUTE).count(str(actor.user_id))


def processor() -> dict[str, str]:
    """What the templates need to load the processor's script and to speak for this installation."""
    return {"stripe_js_url": settings.STRIPE_JS_URL, "stripe_key": settings.STRIPE_PUBLISHABLE_KEY}
