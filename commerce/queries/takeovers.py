"""What taking a purchase over would do: who pays from then on, what moves, what stays (product §10)."""

import uuid
from dataclasses import dataclass

from django.core import signing
from django.utils.translation import gettext as _

from commerce.models import Agreement, Bill, Card, Subscription
from commerce.models.bills import BillQuerySet
from commerce.queries.central import agreement_of
from config.kit.errors import Malformed

SALT = "commerce.take-over"


@dataclass(frozen=True, slots=True)
class TakeOverSeen:
    """What the person saw before the click; it happens so or not at all."""

    payment_days: int | None
    card_id: int | None
    moved: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class TakeOverPlan:
    """How the organization pays from then on: under `agreement`, else by `card`. `bills` are open and move.

    Neither agreement nor card: it has to add a card first.
    """

    agreement: Agreement | None
    card: Card | None
    bills: tuple[Bill, ...]

    @property
    def is_payable(self) -> bool:
        return self.agreement is not None or self.card is not None

    @property
    def moved_minor(self) -> int:
        return sum(bill.total_minor for bill in self.bills)

    @property
    def seen(self) -> TakeOverSeen:
        return TakeOverSeen(
            payment_days=self.agreement.payment_days if self.agreement else None,
            card_id=self.card.pk if self.card else None,
            moved=tuple((bill.number, bill.total_minor) for bill in self.bills),
        )


def open_bills_of_people(subscription: Subscription) -> BillQuerySet:
    """The open bills of a purchase that a person would have to pay, the oldest first."""
    rows: BillQuerySet = (
        Bill.objects.open()
        .filter(tenant_id=subscription.tenant_id, subscription=subscription, payer__isnull=False)
        .filter(total_minor__gt=0)
        .order_by("id")
    )
    return rows


def plan_take_over(subscription: Subscription) -> TakeOverPlan:
    """What taking it over would do now. Three queries."""
    agreement = agreement_of(subscription.tenant_id)
    card: Card | None = None
    if agreement is None:
        card = (
            Card.objects.live()
            .filter(tenant_id=subscription.tenant_id, user__isnull=True)
            .order_by("-is_default", "id")
            .first()
        )
    return TakeOverPlan(agreement, card, tuple(open_bills_of_people(subscription)))


def quote_take_over(subscription: Subscription, plan: TakeOverPlan) -> str:
    """What was shown, signed: a page or a caller gives it back to have just that done."""
    seen = plan.seen
    facts = [seen.payment_days, seen.card_id, seen.moved]
    return signing.dumps([str(subscription.key), subscription.version, facts], salt=SALT, compress=True)


def read_quote(text: str, key: uuid.UUID) -> tuple[int, TakeOverSeen]:
    """Version and plan that were shown. :raises Malformed: the quote is not one of ours, or of another purchase."""
    try:
        quoted, version, (days, card_id, moved) = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        quoted = ""
    if quoted != str(key):
        raise Malformed(_("Nothing was changed. Look at what happens, and decide again."), field="quote")
    return version, TakeOverSeen(days, card_id, tuple((number, total) for number, total in moved))
