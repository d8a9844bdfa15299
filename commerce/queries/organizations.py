"""Every organization as the vendor's staff see it: the list, how one is set up, and what a change of it would change."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet

from commerce.models import AgreementPrice, Market, Subscription
from config.kit.errors import NotVisible
from config.kit.keyset import COUNT_LIMIT, shown_count
from config.kit.listings import Listing
from config.kit.tenancy import tenant_atomic
from directory.models import Domain, IdentityProvider, RoleAssignment, Tenant, User
from directory.permissions import Role
from policies.eligibility import EDUCATION, GOVERNMENT
from policies.models import TenantPolicy

CUSTOMER_KINDS = tuple(kind for kind in Tenant.Kind.choices if kind[0] != Tenant.Kind.VENDOR)


class OrganizationRow(NamedTuple):
    """One organization in the list. `domain`: the first that leads there, else the first; empty for none.

    `counted`: purchases that are not deleted, up to 10,001.
    """

    id: int
    key: uuid.UUID
    name: str
    domain: str
    kind: str
    standing: str
    is_managed: bool
    country: str
    created_at: datetime
    counted: int

    @property
    def kind_label(self) -> str:
        return str(Tenant.Kind(self.kind).label)

    @property
    def is_suspended(self) -> bool:
        return self.standing == Tenant.Standing.SUSPENDED

    @property
    def purchases(self) -> str:
        return shown_count(self.counted)


# Filters: a part of a name or domain, a kind, a country's code, and good, suspended or unmanaged; each may be empty.
ORGANIZATIONS = Listing("staff_organizations", OrganizationRow, filters=4)


@dataclass(frozen=True, slots=True)
class Organization:
    """How one organization is set up: numbers of people and purchases, nobody's name."""

    tenant: Tenant
    market: Market | None
    domains: tuple[Domain, ...]
    provider: IdentityProvider | None
    people: str
    global_admins: int
    purchases: str

    @property
    def is_customer(self) -> bool:
        return self.tenant.kind != Tenant.Kind.VENDOR


@dataclass(frozen=True, slots=True)
class Consequences:
    """What another kind or market changes, and what stays. `market`: the new one, None where nothing is sold.

    `is_open` and `was_open`: whether people may buy by self-service there, as far as kind and market decide.
    """

    market: Market | None
    old_market: Market | None
    currency: str
    old_currency: str
    is_open: bool
    was_open: bool
    self_service: int
    agreed_prices: int
    has_limits: bool

    @property
    def changes_currency(self) -> bool:
        return self.currency != self.old_currency


def organization(tenant_id: int) -> Organization:
    """Inside the vendor's transaction; seven queries under the organization's setting.

    :raises NotVisible: there is none.
    """
    if not 0 < tenant_id < 2**63:
        raise NotVisible
    with tenant_atomic(tenant_id):
        tenant: Tenant | None = Tenant.objects.filter(pk=tenant_id).first()
        if tenant is None:
            raise NotVisible
        people = User.objects.active().filter(tenant=tenant)
        admins = RoleAssignment.objects.filter(tenant=tenant, role=Role.GLOBAL_ADMIN)
        return Organization(
            tenant=tenant,
            market=Market.objects.select_related("vendor_entity").filter(pk=tenant.country).first(),
            domains=tuple(Domain.objects.filter(tenant=tenant).order_by("name")),
            provider=IdentityProvider.objects.filter(tenant=tenant, is_active=True).first(),
            people=shown_count(people[: COUNT_LIMIT + 1].count()),
            global_admins=admins.filter(user__in=people).count(),
            purchases=shown_count(_purchases(tenant)[: COUNT_LIMIT + 1].count()),
        )


def consequences(tenant: Tenant, *, kind: str, country: str) -> Consequences:
    """Inside the organization's transaction. Five queries."""
    markets = Market.objects.select_related("vendor_entity").in_bulk([tenant.country, country])
    market, old_market = markets.get(country), markets.get(tenant.country)
    limited = TenantPolicy.objects.filter(tenant=tenant).filter(
        Q(cap_minor__isnull=False) | Q(threshold_minor__isnull=False)
    )
    currency = market.currency if market else tenant.currency
    return Consequences(
        market=market,
        old_market=old_market,
        currency=currency,
        old_currency=tenant.currency,
        is_open=_is_open(kind, market),
        was_open=_is_open(tenant.kind, old_market),
        self_service=_purchases(tenant).exclude(channel=Subscription.Channel.CENTRAL).count(),
        agreed_prices=AgreementPrice.objects.filter(tenant=tenant, agreement__ended_at=None)
        .exclude(currency=currency)
        .count(),
        has_limits=limited.exclude(limits_currency=currency).exists(),
    )


def _purchases(tenant: Tenant) -> QuerySet[Subscription]:
    rows: QuerySet[Subscription] = Subscription.objects.filter(tenant=tenant)
    return rows.exclude(state=Subscription.State.DELETED)


def _is_open(kind: str, market: Market | None) -> bool:
    return kind not in (GOVERNMENT, EDUCATION) and market is not None and market.self_service
