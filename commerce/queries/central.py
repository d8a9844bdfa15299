"""What an organization agreed with the vendor, and what central buying costs under it (product §6, §8)."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from commerce import periods
from commerce.models import Agreement, AgreementPrice, Bill, BillTo, Market, Plan
from commerce.queries.catalogue import PLAN_ORDER, NotSoldHere
from config.kit.money import tax_on
from directory.models import Tenant


@dataclass(frozen=True, slots=True)
class Seen:
    """The money and the days that the person saw before the click; it is bought so or not at all."""

    unit_price_minor: int
    total_minor: int
    currency: str
    starts_at: str
    due_date: str


@dataclass(frozen=True, slots=True)
class CentralQuote:
    """What a central purchase costs and when it is paid.

    Sums in minor units of `currency`, prices without tax. `starts_at` and `ends_at` are those of its first period;
    `is_later`: it is Scheduled until then. `due_date` is the day, in the organization's zone, by which its first
    bill is to be paid.
    """

    plan: Plan
    quantity: int
    currency: str
    unit_price_minor: int
    subtotal_minor: int
    tax_name: str
    tax_rate: str
    tax_minor: int
    total_minor: int
    payment_days: int
    is_later: bool
    starts_at: datetime
    ends_at: datetime
    term_ends_at: datetime
    due_date: date

    @property
    def seen(self) -> Seen:
        days = (self.starts_at.isoformat(), self.due_date.isoformat())
        return Seen(self.unit_price_minor, self.total_minor, self.currency, *days)

    @property
    def bills_per_term(self) -> int:
        return int(self.plan.term_months // self.plan.billing_months)

    @property
    def commitment_minor(self) -> int | None:
        """What all bills of the term come to; None where one bill covers it."""
        return self.total_minor * self.bills_per_term if self.bills_per_term > 1 else None


def agreed_price(*, tenant_id: int, plan: Plan) -> AgreementPrice | None:
    """The organization's price of a plan, the lowest of its agreements that have not ended; None of a product
    that was withdrawn. One query.
    """
    price: AgreementPrice | None = (
        AgreementPrice.objects.select_related("agreement")
        .filter(tenant_id=tenant_id, plan=plan, agreement__ended_at=None, plan__product__withdrawn_at=None)
        .order_by("unit_price_minor", "id")
        .first()
    )
    return price


def agreed_prices(tenant_id: int) -> list[AgreementPrice]:
    """Every plan that is sold and that the organization has a price for, once, by product and in the order of plans. One query."""
    rows = (
        AgreementPrice.objects.filter(
            tenant_id=tenant_id, agreement__ended_at=None, plan__product__withdrawn_at=None
        )
        .select_related("plan__product", "agreement")
        .order_by("plan_id", "unit_price_minor", "id")
        .distinct("plan_id")
    )
    return sorted(
        rows,
        key=lambda price: (
            price.plan.product.name,
            PLAN_ORDER.index((price.plan.term_months, price.plan.billing_months)),
        ),
    )


def agreement_of(tenant_id: int) -> Agreement | None:
    """The organization's first agreement in force, under which taken-over purchases are billed. One query."""
    agreement: Agreement | None = (
        Agreement.objects.filter(tenant_id=tenant_id, ended_at=None).order_by("id").first()
    )
    return agreement


def latest_bill_to(tenant_id: int) -> BillTo | None:
    """To whom the organization's latest bill is made out. One query."""
    latest: Bill | None = (
        Bill.objects.select_related("bill_to")
        .filter(tenant_id=tenant_id, payer__isnull=True)
        .order_by("-id")
        .first()
    )
    return latest.bill_to if latest else None


def quote_centrally(
    *, tenant: Tenant, price: AgreementPrice, quantity: int, starts_on: date | None, at: datetime
) -> CentralQuote:
    """What so many seats of the agreed plan cost from `starts_on` on, None: from now on. Three queries.

    :raises NotSoldHere: the organization's country is no market.
    """
    market: Market | None = Market.objects.filter(pk=tenant.country).first()
    if market is None:
        raise NotSoldHere
    plan = price.plan
    today = periods.local_date(at, tenant.time_zone)
    months = [0, plan.billing_months, plan.term_months]
    starts_at, ends_at, term_ends_at = periods.instants(starts_on or today, months, tenant.time_zone)
    days = timedelta(days=price.agreement.payment_days)
    (due_date,) = periods.local_dates([(starts_at if starts_on else at) + days], tenant.time_zone)
    subtotal: int = quantity * price.unit_price_minor
    tax = tax_on(subtotal, market.tax_rate)
    return CentralQuote(
        plan=plan,
        quantity=quantity,
        currency=price.currency,
        unit_price_minor=price.unit_price_minor,
        subtotal_minor=subtotal,
        tax_name=market.tax_name,
        tax_rate=f"{market.tax_rate.normalize():f}",
        tax_minor=tax,
        total_minor=subtotal + tax,
        payment_days=price.agreement.payment_days,
        is_later=starts_on is not None,
        starts_at=starts_at,
        ends_at=ends_at,
        term_ends_at=term_ends_at,
        due_date=due_date,
    )
