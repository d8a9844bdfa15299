"""What the vendor's staff agree with an organization: prices of plans and days to pay (product §1, §6).

By the worker's login, staff named in the organization's trail. A new price holds for what is bought or renewed from
then on; a running term keeps the price that it was bought at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from commerce.models import Agreement, AgreementPrice, Market, Plan
from commerce.queries.central import agreement_of
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Domain, Tenant
from directory.operations.audit import record

LONGEST_TERMS = 365
MOST_MINOR = 10**12


@dataclass(frozen=True, slots=True)
class PriceList:
    """An agreement with its prices, by product and plan."""

    tenant: Tenant
    agreement: Agreement
    prices: tuple[AgreementPrice, ...]


def price_list(*, domain: str) -> PriceList:
    """The agreement of the organization with that verified domain. :raises NotVisible: there is none."""
    with _organization(domain) as tenant:
        agreement = agreement_of(tenant.pk)
        if agreement is None:
            raise NotVisible
        return _list(tenant, agreement)


def set_price(
    *, domain: str, product: str, plan: str, unit_price_minor: int, staff: str, at: datetime
) -> PriceList:
    """Agree on a price per seat and billing period, without tax, in the currency of the organization's market.

    Makes the agreement where there is none. Agreed already: nothing changes. `product` is a slug, `plan` its code.

    :raises NotVisible: no such organization. :raises Malformed: the product, plan or price, or no market there.
    """
    if not 0 <= unit_price_minor <= MOST_MINOR:
        raise Malformed(_("Give a price in minor units, from 0 on."), field="price")
    plans = {each.code: each for each in Plan.objects.select_related("product").filter(product__slug=product)}
    if plan not in plans:
        raise Malformed(_("There is no such product with such a plan."), field="plan")
    with _organization(domain) as tenant:
        market = Market.objects.filter(pk=tenant.country).first()
        if market is None:
            raise Malformed(_("The organization's country is no market."), field="domain")
        agreement = _lock_or_make(tenant, staff, at)
        chosen = plans[plan]
        known = AgreementPrice.objects.filter(agreement=agreement, plan=chosen).first()
        before = {"unit_price_minor": known.unit_price_minor, "currency": known.currency} if known else None
        after = {"unit_price_minor": unit_price_minor, "currency": market.currency}
        if before != after:
            AgreementPrice.objects.update_or_create(
                tenant_id=tenant.pk, agreement=agreement, plan=chosen, defaults=after
            )
            named = {"product": chosen.product.key, "plan": chosen.code}
            _record(tenant, agreement, "commerce.agreement.price_set", staff, at, before, named | after)
        return _list(tenant, agreement)


def set_terms(*, domain: str, payment_days: int, staff: str, at: datetime) -> PriceList:
    """Agree on the days in which bills are to be paid; bills that were issued keep their day.

    Makes the agreement where there is none. Agreed already: nothing changes.

    :raises NotVisible: no such organization. :raises Malformed: not 0 to 365 days.
    """
    if not 0 <= payment_days <= LONGEST_TERMS:
        raise Malformed(_("Give 0 to 365 days."), field="days")
    with _organization(domain) as tenant:
        agreement = _lock_or_make(tenant, staff, at)
        if agreement.payment_days != payment_days:
            before = {"payment_days": agreement.payment_days}
            agreement.payment_days = payment_days
            agreement.save(update_fields=["payment_days"])
            after = {"payment_days": payment_days}
            _record(tenant, agreement, "commerce.agreement.terms_set", staff, at, before, after)
        return _list(tenant, agreement)


@contextmanager
def _organization(domain: str) -> Iterator[Tenant]:
    """The organization with that verified domain, in a transaction of the worker's that is set to it."""
    with use_login("worker"):
        found = (
            Domain.objects.filter(name=domain.strip().lower(), verified_at__isnull=False)
            .values_list("tenant_id", flat=True)
            .first()
        )
        if found is None:
            raise NotVisible
        with tenant_atomic(found):
            yield Tenant.objects.get(pk=found)


def _lock_or_make(tenant: Tenant, staff: str, at: datetime) -> Agreement:
    """The organization's agreement, locked against purchases under it; two at once wait for the tenant's row."""
    list(Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).values_list("pk"))
    agreement: Agreement | None = (
        Agreement.objects.select_for_update(no_key=True).filter(tenant_id=tenant.pk).order_by("id").first()
    )
    if agreement is None:
        agreement = Agreement.objects.create(tenant_id=tenant.pk, name="Framework agreement")
        after = {"payment_days": agreement.payment_days}
        _record(tenant, agreement, "commerce.agreement.made", staff, at, None, after)
    return agreement


def _list(tenant: Tenant, agreement: Agreement) -> PriceList:
    rows = AgreementPrice.objects.filter(agreement=agreement).select_related("plan__product")
    prices = rows.order_by("plan__product__name", "plan__term_months", "plan__billing_months")
    return PriceList(tenant, agreement, tuple(prices))


def _record(
    tenant: Tenant,
    agreement: Agreement,
    code: str,
    staff: str,
    at: datetime,
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    record(
        Actor.system(tenant.pk, label=staff, door="cli"),
        code,
        at=at,
        target_type="agreement",
        target_id=agreement.pk,
        target_label=agreement.name,
        before=before,
        after=after,
    )
