"""What the vendor's staff agree with an organization: prices of plans, days to pay, premier incidents (product §1, §6, §14).

At the vendor's site, or from the command line under the worker's login; the organization's trail names who. A new price holds for what is bought or renewed from
then on; a running term keeps the price that it was bought at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from commerce.models import Agreement, AgreementPrice, Market, Plan, PremierIncidents
from commerce.queries.central import agreement_of
from commerce.queries.staff_lists import AGREEMENTS
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.listings import find
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Domain, Tenant
from directory.operations.audit import record
from directory.operations.staff_deeds import acting_in, note_at_home, require_staff
from directory.queries.staff_organizations import organization_of_domain
from directory.staff import StaffCapability

LONGEST_TERMS = 365
MOST_MINOR = 10**12
MOST_INCIDENTS = 10_000


@dataclass(frozen=True, slots=True)
class PriceList:
    """An agreement with its prices, by product and plan, and its premier incidents where it has any."""

    tenant: Tenant
    agreement: Agreement
    prices: tuple[AgreementPrice, ...]
    premier: PremierIncidents | None = None


class NotInForce(Conflict):
    """The agreement has ended, or another one is in force."""

    code = "not_in_force"
    message = _("The agreement is not what it was when you opened the page. Nothing was changed.")


class AlreadyInForce(Conflict):
    """The organization has an agreement."""

    code = "agreement_in_force"
    message = _(
        "An agreement with this organization is in force already. Nothing was changed. Change that one."
    )


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
    """`agree_on_price` from the command line, under the worker's login; `staff` is a name.

    :raises NotVisible: no such organization. :raises Malformed: as there.
    """
    with _organization(domain) as tenant:
        by = Actor.system(tenant.pk, label=staff, door="cli")
        return _set_price(by, tenant, product, plan, unit_price_minor, at)


def set_terms(*, domain: str, payment_days: int, staff: str, at: datetime) -> PriceList:
    """`agree_on_terms` from the command line, under the worker's login; `staff` is a name.

    :raises NotVisible: no such organization. :raises Malformed: as there.
    """
    with _organization(domain) as tenant:
        return _set_terms(Actor.system(tenant.pk, label=staff, door="cli"), tenant, payment_days, at)


def make_agreement(*, staff: Actor, domain: str, payment_days: int, at: datetime) -> PriceList:
    """Make an agreement, without prices yet, with the organization that has proved the domain.

    :raises NotVisible: not of the staff. :raises Malformed: nobody's domain, or not 0 to 365 days.
    :raises AlreadyInForce: it has one.
    """
    with _customer(staff, customer_of_domain(staff=staff, domain=domain)) as tenant:
        if _lock_in_force(tenant) is not None:
            raise AlreadyInForce
        return _set_terms(staff, tenant, payment_days, at)


def agree_on_price(
    *,
    staff: Actor,
    tenant_id: int,
    product: str,
    plan: str,
    unit_price_minor: int,
    at: datetime,
    agreement_id: int | None = None,
) -> PriceList:
    """Agree on a price per seat and billing period, without tax, in the currency of the organization's market.

    Makes the agreement where none is in force. Agreed already: nothing changes. `product` is a slug, `plan` its code;
    `agreement_id` the agreement that the page showed.

    :raises NotVisible: no such organization, or not of the staff.
    :raises Malformed: the product, plan or price, or no market there.
    :raises NotInForce: the one that the page showed has ended.
    """
    with _customer(staff, tenant_id, agreement_id) as tenant:
        return _set_price(staff, tenant, product, plan, unit_price_minor, at)


def agree_on_terms(
    *, staff: Actor, tenant_id: int, payment_days: int, at: datetime, agreement_id: int | None = None
) -> PriceList:
    """Agree on the days in which bills are to be paid; bills that were issued keep their day.

    Makes the agreement where none is in force. Agreed already: nothing changes. `agreement_id` as in `agree_on_price`.

    :raises NotVisible: no such organization, or not of the staff. :raises Malformed: not 0 to 365 days.
    :raises NotInForce: the agreement that the page showed has ended.
    """
    with _customer(staff, tenant_id, agreement_id) as tenant:
        return _set_terms(staff, tenant, payment_days, at)


def grant_incidents(
    *, staff: Actor, tenant_id: int, agreement_id: int, granted: int, at: datetime
) -> PriceList:
    """Set how many premier incidents the agreement grants in all, those that cases took among them. So already: nothing
    changes.

    :raises NotVisible: no such organization, or not of the staff. :raises Malformed: not 0 to 10,000, or fewer than used.
    :raises NotInForce: the agreement that the page showed has ended.
    """
    if not 0 <= granted <= MOST_INCIDENTS:
        raise Malformed(_("Give 0 to 10,000 incidents."), field="incidents")
    with _customer(staff, tenant_id, agreement_id) as tenant:
        agreement = Agreement.objects.get(pk=agreement_id)
        # The agreement's row is locked, so that nobody else makes it; cases lock this one.
        row = PremierIncidents.objects.select_for_update().filter(agreement=agreement).first()
        before = row.granted if row else 0
        if row is not None and granted < row.used:
            raise Malformed(_("More are used than that. Nothing was changed."), field="incidents")
        if granted != before:
            PremierIncidents.objects.update_or_create(
                agreement=agreement,
                defaults={"granted": granted},
                create_defaults={"granted": granted, "tenant": tenant},
            )
            facts = {"granted": before}, {"granted": granted}
            _record(staff, tenant, agreement, "commerce.agreement.incidents_granted", at, *facts)
        return _list(tenant, agreement)


def agreement_for(*, staff: Actor, agreement_id: int) -> PriceList:
    """One agreement with its prices. :raises NotVisible: there is none, or not of the staff."""
    require_staff(staff, StaffCapability.OPERATE_CATALOGUE)
    with tenant_atomic(staff):
        found = find(AGREEMENTS, agreement_id, "")
    with _customer(staff, found.tenant_id) as tenant:
        return _list(tenant, Agreement.objects.get(pk=agreement_id))


def customer_of_domain(*, staff: Actor, domain: str) -> int:
    """Whose verified domain it is. :raises Malformed: nobody's. :raises NotVisible: not of the staff."""
    require_staff(staff, StaffCapability.OPERATE_CATALOGUE)
    with tenant_atomic(staff):
        found = organization_of_domain(domain)
    if found is None or found.tenant_id == staff.tenant_id:
        raise Malformed(_("No organization has proved this domain."), field="domain")
    return found.tenant_id


def end_agreement(*, staff: Actor, agreement_id: int, at: datetime) -> PriceList:
    """End an agreement: nothing is bought or taken over under it any more. What runs under it goes on at its prices.

    :raises NotVisible: there is none, or not of the staff. :raises NotInForce: it has ended.
    """
    return _put_in_force(staff, agreement_id, False, at)


def take_up_agreement(*, staff: Actor, agreement_id: int, at: datetime) -> PriceList:
    """Put an ended agreement in force again.

    :raises NotVisible: there is none, or not of the staff. :raises NotInForce: it has not ended, or another is in force.
    """
    return _put_in_force(staff, agreement_id, True, at)


def _put_in_force(staff: Actor, agreement_id: int, in_force: bool, at: datetime) -> PriceList:
    require_staff(staff, StaffCapability.OPERATE_CATALOGUE)
    with tenant_atomic(staff):
        found = find(AGREEMENTS, agreement_id, "")
    with _customer(staff, found.tenant_id) as tenant:
        rows = Agreement.objects.select_for_update(no_key=True).filter(tenant_id=tenant.pk)
        known = {agreement.pk: agreement for agreement in rows.order_by("id")}
        agreement = known[agreement_id]
        is_other_in_force = any(each.ended_at is None for each in known.values())
        if (agreement.ended_at is None) == in_force or (in_force and is_other_in_force):
            raise NotInForce
        before = {"ended_at": agreement.ended_at.isoformat() if agreement.ended_at else None}
        agreement.ended_at = None if in_force else at
        agreement.save(update_fields=["ended_at"])
        code = "commerce.agreement.taken_up" if in_force else "commerce.agreement.ended"
        _record(staff, tenant, agreement, code, at, before, {})
        return _list(tenant, agreement)


def _set_price(
    by: Actor, tenant: Tenant, product: str, plan: str, unit_price_minor: int, at: datetime
) -> PriceList:
    if not 0 <= unit_price_minor <= MOST_MINOR:
        raise Malformed(_("Give a price in minor units, from 0 on."), field="price")
    plans = {each.code: each for each in Plan.objects.select_related("product").filter(product__slug=product)}
    if plan not in plans:
        raise Malformed(_("There is no such product with such a plan."), field="plan")
    market = Market.objects.filter(pk=tenant.country).first()
    if market is None:
        raise Malformed(_("The organization's country is no market."), field="domain")
    agreement = _lock_or_make(by, tenant, at)
    chosen = plans[plan]
    known = AgreementPrice.objects.filter(agreement=agreement, plan=chosen).first()
    before = {"unit_price_minor": known.unit_price_minor, "currency": known.currency} if known else None
    after = {"unit_price_minor": unit_price_minor, "currency": market.currency}
    if before != after:
        AgreementPrice.objects.update_or_create(
            tenant_id=tenant.pk, agreement=agreement, plan=chosen, defaults=after
        )
        named = {"product": chosen.product.key, "plan": chosen.code}
        _record(by, tenant, agreement, "commerce.agreement.price_set", at, before, named | after)
    return _list(tenant, agreement)


def _set_terms(by: Actor, tenant: Tenant, payment_days: int, at: datetime) -> PriceList:
    if not 0 <= payment_days <= LONGEST_TERMS:
        raise Malformed(_("Give 0 to 365 days."), field="days")
    agreement = _lock_or_make(by, tenant, at)
    if agreement.payment_days != payment_days:
        before = {"payment_days": agreement.payment_days}
        agreement.payment_days = payment_days
        agreement.save(update_fields=["payment_days"])
        _record(
            by, tenant, agreement, "commerce.agreement.terms_set", at, before, {"payment_days": payment_days}
        )
    return _list(tenant, agreement)


@contextmanager
def _customer(staff: Actor, tenant_id: int, agreement_id: int | None = None) -> Iterator[Tenant]:
    """A customer organization, in a transaction that is set to it, inside the vendor's.

    :raises NotInForce: `agreement_id` is not that of its agreement in force, which is locked then.
    """
    require_staff(staff, StaffCapability.OPERATE_CATALOGUE)
    with tenant_atomic(staff), tenant_atomic(tenant_id):
        tenant: Tenant | None = Tenant.objects.exclude(kind=Tenant.Kind.VENDOR).filter(pk=tenant_id).first()
        if tenant is None:
            raise NotVisible
        if agreement_id is not None:
            in_force = _lock_in_force(tenant)
            if in_force is None or in_force.pk != agreement_id:
                raise NotInForce
        yield tenant


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


def _lock_in_force(tenant: Tenant) -> Agreement | None:
    """The organization's agreement in force, locked against purchases under it; two at once wait for the tenant's row."""
    list(Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).values_list("pk"))
    agreement: Agreement | None = (
        Agreement.objects.select_for_update(no_key=True)
        .filter(tenant_id=tenant.pk, ended_at=None)
        .order_by("id")
        .first()
    )
    return agreement


def _lock_or_make(by: Actor, tenant: Tenant, at: datetime) -> Agreement:
    """The organization's agreement in force, locked; made where there is none."""
    agreement = _lock_in_force(tenant)
    if agreement is None:
        agreement = Agreement.objects.create(tenant_id=tenant.pk, name="Framework agreement")
        after = {"payment_days": agreement.payment_days}
        _record(by, tenant, agreement, "commerce.agreement.made", at, None, after)
    return agreement


def _list(tenant: Tenant, agreement: Agreement) -> PriceList:
    rows = AgreementPrice.objects.filter(agreement=agreement).select_related("plan__product")
    prices = rows.order_by("plan__product__name", "plan__term_months", "plan__billing_months")
    premier = PremierIncidents.objects.filter(agreement=agreement).first()
    return PriceList(tenant, agreement, tuple(prices), premier)


def _record(
    by: Actor,
    tenant: Tenant,
    agreement: Agreement,
    code: str,
    at: datetime,
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    """In the organization's trail, and in the vendor's where a staff member does it at a page."""
    facts: dict[str, Any] = {
        "at": at,
        "target_type": "agreement",
        "target_id": agreement.pk,
        "target_label": agreement.name,
        "before": before,
        "after": after,
    }
    record(by if by.tenant_id == tenant.pk else acting_in(by, tenant.pk), code, **facts)
    note_at_home(by, code, organization=tenant.pk, **facts)
