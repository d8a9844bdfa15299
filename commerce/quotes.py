"""What a purchase costs: today, at the next charge, over the term, and until when it can be undone.

Pure: the calendar's instants are given (`commerce.periods` alone computes them). Source: product §3.4, §5.5.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from commerce.proration import Span
from config.kit.money import tax_on


@dataclass(frozen=True, slots=True)
class Quote:
    """The sums of one purchase, in minor units of `currency`; prices without tax, totals with it.

    `next_charge_at` and `term_ends_at` are local midnights of the tenant, `refund_until` an instant.
    `commitment_minor`: what all bills of the term come to, None where one bill covers the term.
    """

    quantity: int
    currency: str
    unit_price_minor: int
    subtotal_minor: int
    tax_name: str
    tax_rate: Decimal
    tax_minor: int
    total_minor: int
    term_months: int
    billing_months: int
    charged_at: datetime
    next_charge_at: datetime
    term_ends_at: datetime
    refund_until: datetime

    @property
    def next_charge_minor(self) -> int:
        """The list price of today, once more; a rise is announced before (product §5.3)."""
        return self.total_minor

    @property
    def bills_per_term(self) -> int:
        return self.term_months // self.billing_months

    @property
    def commitment_minor(self) -> int | None:
        return self.total_minor * self.bills_per_term if self.bills_per_term > 1 else None


def make_quote(
    *,
    quantity: int,
    unit_price_minor: int,
    currency: str,
    tax_name: str,
    tax_rate: Decimal,
    term_months: int,
    billing_months: int,
    at: datetime,
    next_charge_at: datetime,
    term_ends_at: datetime,
    refund_window: timedelta,
) -> Quote:
    """The quote for a charge made at `at`. Tax is counted per line and rounded half up."""
    subtotal = quantity * unit_price_minor
    tax = tax_on(subtotal, tax_rate)
    return Quote(
        quantity=quantity,
        currency=currency,
        unit_price_minor=unit_price_minor,
        subtotal_minor=subtotal,
        tax_name=tax_name,
        tax_rate=tax_rate,
        tax_minor=tax,
        total_minor=subtotal + tax,
        term_months=term_months,
        billing_months=billing_months,
        charged_at=at,
        next_charge_at=next_charge_at,
        term_ends_at=term_ends_at,
        refund_until=at + refund_window,
    )


@dataclass(frozen=True, slots=True)
class AddedSeats:
    """What some more seats of a subscription cost until its running period ends, `service_end`.

    The unit price is that of the running term for a whole period, without tax; sums in minor units of `currency`.
    """

    added: int
    currency: str
    unit_price_minor: int
    days: int
    days_left: int
    subtotal_minor: int
    tax_name: str
    tax_rate: Decimal
    tax_minor: int
    total_minor: int
    service_start: datetime
    service_end: datetime
    refund_until: datetime


def quote_added_seats(
    *,
    added: int,
    unit_price_minor: int,
    currency: str,
    tax_name: str,
    tax_rate: Decimal,
    span: Span,
    day: date,
    at: datetime,
    service_start: datetime,
    service_end: datetime,
    refund_window: timedelta,
) -> AddedSeats:
    """The quote for seats added and charged at `at`, which is on `day` of the running period."""
    subtotal = span.price_from(added * unit_price_minor, day)
    tax = tax_on(subtotal, tax_rate)
    return AddedSeats(
        added=added,
        currency=currency,
        unit_price_minor=unit_price_minor,
        days=span.days,
        days_left=span.days_from(day),
        subtotal_minor=subtotal,
        tax_name=tax_name,
        tax_rate=tax_rate,
        tax_minor=tax,
        total_minor=subtotal + tax,
        service_start=service_start,
        service_end=service_end,
        refund_until=at + refund_window,
    )


@dataclass(frozen=True, slots=True)
class Reactivation:
    """What bringing a subscription back costs, and the term that begins with it.

    `starts_anew`: with an anchor of its own, on the day of the click; else the term goes on where the last one
    ended. The unit price is for a whole period, without tax; sums in minor units of `currency`.
    """

    starts_anew: bool
    quantity: int
    currency: str
    unit_price_minor: int
    subtotal_minor: int
    tax_name: str
    tax_rate: Decimal
    tax_minor: int
    total_minor: int
    term_months: int
    billing_months: int
    service_start: datetime
    service_end: datetime
    term_end: datetime
    refund_until: datetime

    @property
    def bills_per_term(self) -> int:
        return self.term_months // self.billing_months

    @property
    def commitment_minor(self) -> int | None:
        """What all bills of the term come to; None where one bill covers it."""
        return self.total_minor * self.bills_per_term if self.bills_per_term > 1 else None
