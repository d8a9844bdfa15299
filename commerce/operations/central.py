"""Buying for the organization at the agreement's price, as the page showed it (product §6, §8)."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Agreement, AgreementPrice, Bill, BillTo, Plan, Subscription
from commerce.operations import notices
from commerce.operations.changes.rules import require_service_on
from commerce.operations.orders import (
    MOST_CENTRAL_SEATS,
    NotInAgreement,
    later_start,
    organizations_bill_to,
    purchase_centrally,
)
from commerce.periods import local_date
from commerce.queries.central import CentralQuote, Seen, agreed_price, quote_centrally
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.models import Tenant
from directory.permissions import Capability

LONGEST_REFERENCE = 60


class TermsChanged(Conflict):
    """The agreement's price or terms, or the day, are no longer those on the page; `quote` is what holds now."""

    code = "terms_changed"
    message = _(
        "The price or the day of payment changed since you opened the page. Nothing was bought. Look again."
    )

    def __init__(self, quote: CentralQuote) -> None:
        self.quote = quote
        super().__init__(total_minor=quote.total_minor)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be bought. `starts_on` None: now. `reference`: a cost center or order number, for the bills."""

    plan: Plan
    quantity: int
    starts_on: date | None = None
    reference: str = ""


def quote_purchase(*, actor: Actor, choice: Choice, at: datetime) -> CentralQuote:
    """What the choice costs and when it is to be paid. Inside the tenant's transaction; locks nothing.

    :raises NotVisible: the actor may not buy centrally. :raises NotAllowed: the organization is suspended.
    :raises Malformed: the number of seats, the start, or the reference.
    :raises NotInAgreement, NotSoldHere: there is no price, or no market.
    :raises ServiceOff: a data policy switched the product off, and on for no group.
    """
    actor.require(Capability.BUY_CENTRALLY, is_own=False, is_org=True, sees=Capability.BUY_CENTRALLY)
    tenant = tenant_row(actor.tenant_id)
    if tenant.standing != Tenant.Standing.GOOD:
        raise NotAllowed(_("Your organization is suspended; nothing can be bought."))
    require_service_on(actor, choice.plan.product)
    if not 1 <= choice.quantity <= MOST_CENTRAL_SEATS:
        raise Malformed(_("Enter a number of licenses from 1 on."), field="quantity")
    if len(choice.reference) > LONGEST_REFERENCE:
        raise Malformed(_("Use at most 60 letters."), field="reference")
    later = later_start(choice.starts_on, today=local_date(at, tenant.time_zone))
    price: AgreementPrice | None = agreed_price(tenant_id=tenant.pk, plan=choice.plan)
    if price is None:
        raise NotInAgreement
    price.plan = choice.plan
    return quote_centrally(tenant=tenant, price=price, quantity=choice.quantity, starts_on=later, at=at)


def buy_centrally(*, actor: Actor, choice: Choice, seen: Seen, key: uuid.UUID, at: datetime) -> Subscription:
    """Buy as the page said: the bill, on account, comes to what was shown; other admins are told.

    `key` is the order's: clicked again, the subscription that it made. Locks the organization's agreements, so that
    neither a second click nor a new price comes in between.

    :raises NotVisible, NotAllowed, Malformed, NotInAgreement, NotSoldHere, ServiceOff: as `quote_purchase`.
    :raises TermsChanged: it would not be what was shown. Nothing was bought.
    """
    with tenant_atomic(actor):
        actor.require(Capability.BUY_CENTRALLY, is_own=False, is_org=True, sees=Capability.BUY_CENTRALLY)
        agreements = Agreement.objects.select_for_update(no_key=True).filter(tenant_id=actor.tenant_id)
        list(agreements.order_by("pk").values_list("pk"))
        made: Subscription | None = (
            Subscription.objects.select_related("product")
            .filter(tenant_id=actor.tenant_id, order_lines__order__key=key)
            .first()
        )
        if made is not None:
            return made
        quote = quote_purchase(actor=actor, choice=choice, at=at)
        if quote.seen != seen:
            raise TermsChanged(quote)
        subscription = purchase_centrally(
            actor=actor,
            product=choice.plan.product,
            plan=choice.plan,
            quantity=choice.quantity,
            bill_to=_bill_to(actor, choice.reference),
            starts_on=choice.starts_on,
            order_key=key,
            at=at,
        )
        notices.queue_central_purchase(
            subscription=subscription,
            bill=Bill.objects.filter(subscription=subscription).first(),
            quote=quote,
            order_key=key,
            by=actor,
            at=at,
        )
    return subscription


def _bill_to(actor: Actor, reference: str) -> BillTo:
    """The organization's details with this reference; the row already there when it has it."""
    known = organizations_bill_to(tenant_row(actor.tenant_id))
    if known.own_reference == reference:
        return known
    copied = ("name", "street", "postal_code", "city", "country", "vat_number", "vat_is_verified", "email")
    return BillTo.objects.create(
        tenant_id=actor.tenant_id,
        own_reference=reference,
        **{field: getattr(known, field) for field in copied},
    )
