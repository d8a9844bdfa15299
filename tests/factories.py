"""Boring rows for tests, written through the login in use, each under its own tenant's wall.

Every factory opens `tenant_atomic` itself, so it can be called with or without a tenant set. Extend this
module, do not fork it.
"""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from commerce.models import Market, Plan, Price, Product
from config.kit.actors import Actor
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.actors import build_actor
from directory.models import (
    Domain,
    IdentityProvider,
    Relationship,
    RelationshipAssignment,
    RoleAssignment,
    Tenant,
    User,
)

AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)

_numbers = itertools.count(1)


def next_id(table: str) -> int:
    """An id from a table's own sequence, before its row exists."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [table])
        return int(cursor.fetchone()[0])


def make_tenant(*, domain: str = "", issuer: str = "", **fields: Any) -> Tenant:
    """A commercial, managed tenant in the Netherlands with one verified domain and one identity provider.

    `domain=None` and `issuer=None` leave those rows out.
    """
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": f"Tenant {number}",
        "country": "NL",
        "time_zone": "Europe/Amsterdam",
        "currency": "EUR",
        "created_at": AT,
        **fields,
    }
    tenant_id = next_id("directory_tenant")
    with tenant_atomic(tenant_id):
        tenant = Tenant.objects.create(pk=tenant_id, **values)
        if domain is not None:
            Domain.objects.create(
                tenant=tenant, name=domain or f"tenant-{tenant_id}.example", verified_at=tenant.created_at
            )
        if issuer is not None:
            IdentityProvider.objects.create(
                tenant=tenant,
                key=f"idp-{tenant_id}",
                issuer=issuer or f"https://issuer-{tenant_id}.example",
                client_id=f"client-{tenant_id}",
                created_at=tenant.created_at,
            )
    return tenant


def make_user(tenant: Tenant, *, roles: tuple[str, ...] = (), **fields: Any) -> User:
    """An active member, with `roles` in that tenant; `kind`, `status`, `purchaser_since` and so on by name."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": f"Person {number}",
        "email": f"person-{number}@tenant-{tenant.pk}.example",
        "issuer": f"https://issuer-{tenant.pk}.example",
        "subject": f"subject-{number}",
        "created_at": AT,
        **fields,
    }
    with tenant_atomic(tenant.pk):
        user = User.objects.create(tenant=tenant, **values)
        RoleAssignment.objects.bulk_create(
            RoleAssignment(tenant=tenant, user=user, role=role, granted_at=AT, granted_by="test")
            for role in roles
        )
    return user


def make_relationship(
    customer: Tenant,
    partner: Tenant,
    *,
    roles: tuple[str, ...] = ("billing_admin", "license_admin"),
    users: tuple[User, ...] = (),
    user_roles: tuple[str, ...] = (),
    **fields: Any,
) -> Relationship:
    """An active relationship of a year from `AT`; `users` get `user_roles` of it, all roles by default."""
    values: dict[str, Any] = {
        "name": f"{customer.name} administration",
        "customer_name": customer.name,
        "partner_name": partner.name,
        "status": Relationship.Status.ACTIVE,
        "requested_at": AT - timedelta(days=1),
        "starts_at": AT - timedelta(days=1),
        "ends_at": AT + timedelta(days=364),
        **fields,
    }
    with tenant_atomic(customer.pk):
        relationship = Relationship.objects.create(
            tenant=customer, partner_tenant_id=partner.pk, roles=list(roles), **values
        )
        RelationshipAssignment.objects.bulk_create(
            RelationshipAssignment(
                tenant=customer,
                relationship=relationship,
                partner_tenant_id=partner.pk,
                user_id=user.pk,
                roles=list(user_roles or roles),
            )
            for user in users
        )
    return relationship


def actor_of(user: User, acting_for: Tenant | None = None, *, at: datetime = AT) -> Actor:
    """The actor that the middleware would build for `user`, at home or acting for a customer."""
    with tenant_atomic(user.tenant_id):
        actor = build_actor(
            user,
            acting_tenant_id=acting_for.pk if acting_for else user.tenant_id,
            at=at,
            correlation_id="test",
        )
    assert actor is not None, f"{user} may not act for {acting_for}"
    return actor


# --- Catalogue: loaded once per database by tests/conftest.py, read-only to the app's login ---------------


def product(slug: str = "power-bi-pro") -> Product:
    """A product of the loaded catalogue."""
    return Product.objects.get(slug=slug)


def plan(slug: str = "power-bi-pro", code: str = "monthly") -> Plan:
    """A plan of a loaded product: `monthly`, `yearly` or `yearly-monthly`."""
    term, billing = {"monthly": (1, 1), "yearly": (12, 12), "yearly-monthly": (12, 1)}[code]
    return Plan.objects.select_related("product").get(
        product__slug=slug, term_months=term, billing_months=billing
    )


def make_product(**fields: Any) -> Product:
    """A product that is not in the files, with its three plans, sold nowhere; by the owner's login.

    Committed at once and seen by every test after it, so only for transactional tests, which flush.
    """
    number = next(_numbers)
    values: dict[str, Any] = {
        "key": f"PRODUCT{number}",
        "slug": f"product-{number}",
        "name": f"Product {number}",
        "category": "Power Platform",
        "self_service": True,
        "sku_id": uuid.uuid4(),
        "sku_part_number": f"PRODUCT_{number}",
        **fields,
    }
    with use_login("owner"):
        made = Product.objects.create(**values)
        Plan.objects.bulk_create(
            Plan(product=made, term_months=term, billing_months=billing)
            for term, billing in ((1, 1), (12, 1), (12, 12))
        )
    return made


def make_price(plan: Plan, market: str = "NL", *, unit_price_minor: int, valid_from: datetime = AT) -> Price:
    """A list price from a day on, by the owner's login; only for transactional tests."""
    with use_login("owner"):
        return Price.objects.create(
            plan=plan,
            market_id=market,
            currency=Market.objects.get(pk=market).currency,
            unit_price_minor=unit_price_minor,
            valid_from=valid_from,
        )
