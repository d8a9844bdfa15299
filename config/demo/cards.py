"""The card processor's test cards in words, for the page /demo/cards/."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from config.demo.processor.cards import Card, all_cards
from config.kit.errors import Text

_BRANDS = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}
_FUNDING: dict[str, Text] = {"credit": "", "debit": _("debit"), "prepaid": _("prepaid")}
_DECLINES: dict[str, Text] = {
    "generic_decline": _("Declined, without a reason"),
    "insufficient_funds": _("Declined: not enough money"),
    "lost_card": _("Declined: reported lost"),
    "stolen_card": _("Declined: reported stolen"),
    "card_velocity_exceeded": _("Declined: over the card's limit"),
    "expired_card": _("Declined: expired"),
    "incorrect_cvc": _("Declined: wrong security code"),
    "processing_error": _("Declined: something went wrong at the bank"),
}
_CONFIRMATIONS: dict[str, Text] = {
    "unless_set_up": _("Asks once; renewals are charged without asking"),
    "always": _("Asks every time, also at a renewal, which fails without an answer"),
    "on_session": _("Asks at every purchase; renewals are charged without asking"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One card: its number in blocks as on the card, whose it is, what it does."""

    number: str
    brand: str
    funding: Text
    country: str
    does: Text


@dataclass(frozen=True, slots=True)
class Group:
    """Cards that end alike."""

    title: Text
    about: Text
    rows: tuple[Row, ...]


def groups() -> Iterator[Group]:
    """Every card that the processor knows, by how a payment with it ends."""
    cards = all_cards()
    asking = [card for card in cards if card.authentication != "never"]
    declined = [card for card in cards if card.decline and card not in asking]
    disputed = [card for card in cards if card.is_disputed]
    paying = [card for card in cards if card not in (*asking, *declined, *disputed)]
    yield _group(_("Pays"), _("The purchase goes through, and so do its renewals."), paying)
    yield _group(
        _("The bank asks for confirmation"), _("A page of the bank opens: confirm or refuse there."), asking
    )
    yield _group(
        _("Is declined"), _("Nothing is charged; the checkout says why and takes another card."), declined
    )
    yield _group(_("Trouble afterwards"), _("The purchase goes through first."), disputed)


def _group(title: Text, about: Text, cards: list[Card]) -> Group:
    return Group(title, about, tuple(_row(card) for card in cards))


def _row(card: Card) -> Row:
    sizes = (4, 6, 5) if len(card.number) == 15 else (4, 4, 4, 4)
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    number = " ".join(card.number[start : start + size] for start, size in zip(starts, sizes, strict=True))
    return Row(number, _BRANDS[card.brand], _FUNDING[card.funding], card.country, _does(card))


def _does(card: Card) -> Text:
    if card.is_disputed:
        return _("Pays, then the cardholder disputes the charge")
    if card.decline and card.authentication != "never":
        return _("Asks, and is declined after the confirmation")
    if card.decline:
        code, reason = card.decline
        told = _DECLINES[reason or code]
        return told if card.refuses_attach else _("Can be kept, and is declined when it is charged")
    return _CONFIRMATIONS.get(card.authentication, _("Pays"))
