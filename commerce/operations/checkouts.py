"""A person's way to an order, up to the moment of paying (product §3.4).

The row holds the server's own sums: what is charged is this snapshot and nothing that a client sent (I-17).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.gateways import vat_register
from commerce.models import BillTo, Checkout, Market, Plan, Product
from commerce.queries.catalogue import NotSoldHere, market_of
from commerce.queries.eligibility import eligibility_for
from commerce.queries.quotes import quote_for
from commerce.queries.sites import site_of
from commerce.queries.spending import purchase_of
from commerce.quotes import Quote
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.models import User
from directory.operations import audit
from directory.permissions import Capability
from policies.eligibility import Eligibility, of_the_sum
from policies.queries.spending import Purchase, spending_of
from policies.spending import Spending

# A checkout in one of these may still become an order; a person has one of them per product.
UNDER_WAY = (Checkout.State.OPEN, Checkout.State.PAYING, Checkout.State.ACTION)


class NotEligible(NotAllowed):
    """The person may not buy this product; `eligibility` has every reason."""

    code = "not_eligible"
    message = _("You may not buy this yourself.")

    def __init__(self, eligibility: Eligibility) -> None:
        self.eligibility = eligibility
        super().__init__(codes=eligibility.codes)


class OverLimit(NotEligible):
    """The person may buy this, but not for so much; `eligibility` says which limit. Nothing was saved or charged."""

    code = "over_limit"
    message = _("This is more than you may spend. Nothing was charged.")

    @classmethod
    def of(cls, spending: Spending, organization: str) -> "OverLimit":
        return cls(Eligibility(tuple(of_the_sum(spending, organization))))


class CheckoutClosed(Conflict):
    """The checkout is being paid, was paid, or has ended; `state` says which."""

    code = "checkout_closed"
    message = _("This checkout has moved on since you opened the page. Nothing was charged now.")

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(state=state)


class Sum(Protocol):
    """What a person is asked to pay, however it was counted."""

    @property
    def total_minor(self) -> int: ...

    @property
    def currency(self) -> str: ...


class Sums(Sum, Protocol):
    """The same with how it comes about."""

    @property
    def unit_price_minor(self) -> int: ...

    @property
    def subtotal_minor(self) -> int: ...

    @property
    def tax_name(self) -> str: ...

    @property
    def tax_rate(self) -> Decimal: ...

    @property
    def tax_minor(self) -> int: ...


class PriceChanged(Conflict):
    """What the person saw is no longer the price. Nothing was saved or charged; `quote` is the new one."""

    code = "price_changed"
    message = _("The price changed since you opened the page. Nothing was charged. Look at the new total.")

    def __init__(self, quote: Sum) -> None:
        self.quote = quote
        super().__init__(total_minor=quote.total_minor)


class TermsNotAccepted(DomainError):
    """Nobody is charged who did not agree."""

    code = "terms_not_accepted"
    status = 422
    message = _("Agree to this first. Nothing was charged.")


@dataclass(frozen=True, slots=True)
class BillingDetails:
    """Whom the bill is made out to, as typed and checked by the form."""

    name: str
    street: str
    postal_code: str
    city: str
    country: str
    vat_number: str = ""
    own_reference: str = ""


def start_checkout(
    *,
    actor: Actor,
    product: Product,
    plan: Plan | None,
    quantity: int | None,
    at: datetime,
    return_to: str = "",
) -> Checkout:
    """The person's checkout of a product: the one under way, or a new one that is kept for 24 hours.

    An open one takes over `plan` and `quantity` where they are given; one that is being paid stays as it is. `return_to`:
    where the person came from, kept where the product is registered to run there and ignored elsewhere.
    Locks the person's row, so that two tabs get the same checkout.

    :raises NotEligible: with all reasons.
    :raises Malformed: the quantity is out of range.
    """
    with tenant_atomic(actor):
        list(User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).values_list("pk"))
        _require_eligible(actor, product, at)
        found = (
            Checkout.objects.visible_to(actor)
            .select_for_update(of=["self"])
            .select_related("tenant", "plan", "market", "product")
            .filter(kind=Checkout.Kind.PURCHASE, product=product, state__in=UNDER_WAY)
            .order_by("-id")
            .first()
        )
        if found is not None and _is_over(found, at):
            abandon(actor, found, at)
            found = None
        back = return_to if site_of(product, return_to) else ""
        if found is None:
            return _new_checkout(actor, product, plan or _first_plan(product), quantity or 1, back, at)
        checkout: Checkout = found
        if back and checkout.return_to != back:
            checkout.return_to = back
            checkout.save(update_fields=["return_to"])
        if checkout.state == Checkout.State.OPEN and (plan or quantity):
            _put(checkout, plan or checkout.plan, quantity or checkout.quantity, at)
            checkout.save()
        return checkout


def change_checkout(
    *, actor: Actor, key: uuid.UUID, plan: Plan, quantity: int, takes_first_license: bool, at: datetime
) -> Checkout:
    """Count the sums anew for another plan or number of seats, and keep the choice.

    :raises NotVisible: no such checkout of this person.
    :raises CheckoutClosed: it is no longer open.
    :raises Malformed: the quantity is out of range, or the plan is another product's.
    """
    with tenant_atomic(actor):
        checkout = _lock_open(actor, key, at)
        _put(checkout, plan, quantity, at)
        checkout.takes_first_license = takes_first_license
        checkout.save()
        return checkout


def save_checkout(
    *,
    actor: Actor,
    key: uuid.UUID,
    plan: Plan,
    quantity: int,
    billing: BillingDetails,
    takes_first_license: bool,
    agrees_to_terms: bool,
    seen_total_minor: int | None,
    at: datetime,
) -> Checkout:
    """Write down what the person is about to pay for, to whom the bill goes, and that they agreed.

    The sums come from the price list at `at`; `seen_total_minor` is only compared with them. A VAT number that is
    new is looked up in the public register before the transaction; never call it inside one.

    :raises NotVisible: no such checkout of this person.
    :raises CheckoutClosed: it is no longer open.
    :raises NotEligible: with all reasons; `OverLimit` where it is the sum alone.
    :raises Malformed: a value is out of range; `field` names it.
    :raises TermsNotAccepted: the boxes are not ticked.
    :raises PriceChanged: the total is another one than the person saw.
    """
    is_verified = _ask_register(actor, key, billing)
    with tenant_atomic(actor):
        checkout = _lock_open(actor, key, at)
        _require_eligible(actor, checkout.product, at)
        before = (
            checkout.bill_to_id,
            checkout.terms_version,
            checkout.plan_id,
            checkout.quantity,
            checkout.total_minor,
        )
        quote = _put(checkout, plan, quantity, at)
        if not agrees_to_terms:
            raise TermsNotAccepted
        if seen_total_minor != quote.total_minor:
            raise PriceChanged(quote)
        _require_within_limits(actor, checkout, at)
        bill_to = bill_to_for(actor, checkout.bill_to, billing, is_verified=is_verified)
        agreed = (bill_to.pk, settings.TERMS_VERSION, plan.pk, quantity, quote.total_minor)
        if checkout.consented_at is not None and agreed == before:
            # The same again: the page checks before it makes a token of the card, then pays.
            checkout.takes_first_license = takes_first_license
            checkout.last_error = ""
            checkout.save()
            return checkout
        checkout.bill_to = bill_to
        checkout.takes_first_license = takes_first_license
        checkout.terms_version = settings.TERMS_VERSION
        checkout.consented_at = at
        checkout.last_error = ""
        checkout.save()
        audit.record(
            actor,
            "commerce.checkout.agreed",
            at=at,
            target_type="checkout",
            target_id=checkout.key,
            target_label=checkout.product.name,
            after={
                "plan": plan.code,
                "quantity": quantity,
                "total_minor": quote.total_minor,
                "currency": quote.currency,
                "terms_version": checkout.terms_version,
            },
        )
        return checkout


def require_within_limits(*, actor: Actor, purchase: Purchase, at: datetime) -> None:
    """Whether the person may spend that much now, as far as can be told without a lock.

    :raises OverLimit: no, with the reason.
    """
    spending = spending_of(actor=actor, purchase=purchase, at=at)
    if spending.verdict != "within":
        raise OverLimit.of(spending, tenant_row(actor.tenant_id).name)


def _require_eligible(actor: Actor, product: Product, at: datetime) -> None:
    eligibility = eligibility_for(actor=actor, product=product, at=at)
    if not eligibility.is_eligible:
        raise NotEligible(eligibility)
    actor.require(Capability.BUY, is_own=True, is_org=False, sees=Capability.BUY)


def _require_within_limits(actor: Actor, checkout: Checkout, at: datetime) -> None:
    purchase = purchase_of(checkout)
    assert purchase is not None
    require_within_limits(actor=actor, purchase=purchase, at=at)


def _lock_open(actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    found: Checkout | None = (
        Checkout.objects.visible_to(actor)
        .select_for_update(of=["self"])
        .select_related("tenant", "product", "plan", "market", "bill_to")
        .filter(kind=Checkout.Kind.PURCHASE, key=key)
        .first()
    )
    if found is None:
        raise NotVisible
    if found.state != Checkout.State.OPEN or _is_over(found, at):
        raise CheckoutClosed(found.state)
    return found


def _is_over(checkout: Checkout, at: datetime) -> bool:
    return checkout.state == Checkout.State.OPEN and checkout.expires_at <= at


def abandon(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """End an open checkout that another one takes the place of, or whose time is over."""
    checkout.state = Checkout.State.ABANDONED
    checkout.version += 1
    checkout.save(update_fields=["state", "version"])
    audit.record(
        actor,
        "commerce.checkout.abandoned",
        at=at,
        target_type="checkout",
        target_id=checkout.key,
        target_label=checkout.product.name,
    )


def _first_plan(product: Product) -> Plan:
    return min(product.plans.all(), key=lambda plan: (plan.term_months, plan.billing_months))


def _new_checkout(
    actor: Actor, product: Product, plan: Plan, quantity: int, return_to: str, at: datetime
) -> Checkout:
    tenant = tenant_row(actor.tenant_id)
    market = market_of(tenant.country)
    if market is None:
        raise NotSoldHere
    if actor.user_id is None:
        raise NotVisible
    checkout = Checkout(
        tenant=tenant,
        user_id=actor.user_id,
        product=product,
        market=market,
        return_to=return_to,
        created_at=at,
        expires_at=at + settings.CHECKOUT_KEPT,
    )
    _put(checkout, plan, quantity, at)
    checkout.save(force_insert=True)
    audit.record(
        actor,
        "commerce.checkout.started",
        at=at,
        target_type="checkout",
        target_id=checkout.key,
        target_label=product.name,
    )
    return checkout


def _put(checkout: Checkout, plan: Plan, quantity: int, at: datetime) -> Quote:
    """Write the sums of plan and quantity at today's price into the row; the caller saves it."""
    product: Product = checkout.product
    if plan.product_id != product.pk:
        raise Malformed(_("Choose one of the terms."), field="plan")
    if not 1 <= quantity <= product.max_quantity:
        raise Malformed(
            _("Buy 1 to %(most)s licenses at a time.") % {"most": product.max_quantity}, field="quantity"
        )
    market: Market = checkout.market
    quote = quote_for(
        plan=plan,
        quantity=quantity,
        market=market,
        time_zone=checkout.tenant.time_zone,
        at=at,
    )
    checkout.plan = plan
    checkout.quantity = quantity
    write_sums(checkout, quote)
    checkout.version += 1
    return quote


def write_sums(checkout: Checkout, quote: Sums) -> None:
    """Put what it costs into the row; the caller saves it."""
    checkout.currency = quote.currency
    checkout.unit_price_minor = quote.unit_price_minor
    checkout.subtotal_minor = quote.subtotal_minor
    checkout.tax_name = quote.tax_name
    checkout.tax_rate = quote.tax_rate
    checkout.tax_minor = quote.tax_minor
    checkout.total_minor = quote.total_minor


def _ask_register(actor: Actor, key: uuid.UUID, billing: BillingDetails) -> bool | None:
    """Whether the register has the VAT number: as it was said before of the same number, else asked now."""
    if not billing.vat_number:
        return None
    with tenant_atomic(actor):
        checkout = Checkout.objects.visible_to(actor).select_related("bill_to").filter(key=key).first()
    return is_in_register(checkout.bill_to if checkout else None, billing)


def is_in_register(known: BillTo | None, billing: BillingDetails) -> bool | None:
    """Whether the register has the VAT number: as `known` says of the same number, else asked now.

    None where it cannot tell, or there is no number. Never call it inside a transaction.
    """
    if not billing.vat_number:
        return None
    if known is not None and (known.vat_number, known.country) == (billing.vat_number, billing.country):
        verified: bool | None = known.vat_is_verified
        return verified
    return vat_register.ask(billing.vat_number, country=billing.country)


def bill_to_for(
    actor: Actor,
    before: BillTo | None,
    billing: BillingDetails,
    *,
    is_verified: bool | None = None,
    email: str | None = None,
) -> BillTo:
    """The row for these details: the one already there when nothing changed, since rows never do.

    `email` where it is not the actor's.
    """
    values = {
        "name": billing.name,
        "street": billing.street,
        "postal_code": billing.postal_code,
        "city": billing.city,
        "country": billing.country,
        "vat_number": billing.vat_number,
        "own_reference": billing.own_reference,
        "email": actor.email if email is None else email,
    }
    if before is not None and all(getattr(before, field) == value for field, value in values.items()):
        return before
    return BillTo.objects.create(tenant_id=actor.tenant_id, vat_is_verified=is_verified, **values)
