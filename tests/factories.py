"""Boring rows for tests, written through the login in use, each under its own tenant's wall.

Every factory opens `tenant_atomic` itself, so it can be called with or without a tenant set. Extend this
module, do not fork it.
"""

import itertools
import time
import uuid
from collections import defaultdict, deque
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest
from django.test import Client

from commerce.models import (
    Agreement,
    AgreementPrice,
    Bill,
    BillTo,
    Card,
    Checkout,
    Market,
    Order,
    OrderLine,
    PaymentAttempt,
    Plan,
    Price,
    Product,
    Subscription,
)
from commerce.operations.bills import Line, book_payment, issue_bill
from commerce.operations.credits import issue_credit_note
from commerce.operations.orders import place_order, purchase_centrally
from commerce.operations.payments.guards import lock_bill
from config.kit.actors import Actor
from config.kit.clock import real_now
from config.kit.money import tax_on
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.actors import as_staff, build_actor
from directory.models import (
    STAFF_SESSION_LASTS,
    Domain,
    IdentityProvider,
    Job,
    Relationship,
    RelationshipAssignment,
    RoleAssignment,
    StaffAssignment,
    StaffSession,
    Tenant,
    User,
)
from directory.models.people import fold
from directory.operations.tokens import issue_for_person, issue_service_token
from directory.permissions import Capability
from directory.sessions import ACTING, STAFF_FACTOR, start_session

AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)

_numbers = itertools.count(1)
_ids: defaultdict[str, deque[int]] = defaultdict(deque)
# What may still change of a bill.
_CHANGING = frozenset(
    {
        *("status", "paid_minor", "paid_at", "charge_due_at", "leased_until", "tries", "last_decline"),
        *("decline_kind", "failed_at", "dunning_step", "next_dunning_at"),
    }
)


def next_id(table: str) -> int:
    """An id from a table's own sequence, before its row exists. Taken by the hundred: sequences take nothing back."""
    ids = _ids[table]
    if not ids:
        with connection().cursor() as cursor:
            cursor.execute(
                "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, 100)", [table]
            )
            ids.extend(each for (each,) in cursor.fetchall())
    return ids.popleft()


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


def make_staff(vendor: Tenant, *roles: str, **fields: Any) -> User:
    """Somebody of the vendor who works at `roles`."""
    user = make_user(vendor, **fields)
    with tenant_atomic(vendor.pk):
        StaffAssignment.objects.bulk_create(
            StaffAssignment(tenant=vendor, user=user, role=role, granted_at=AT, granted_by="test")
            for role in roles
        )
    return user


def make_staff_session(user: User, organization: Tenant, at: datetime = AT) -> StaffSession:
    """One of the vendor's staff reads the pages of an organization, from `at` on."""
    with tenant_atomic(user.tenant_id):
        session: StaffSession = StaffSession.objects.create(
            tenant=organization,
            staff_tenant_id=user.tenant_id,
            user_id=user.pk,
            staff_name=user.name,
            organization=organization.name,
            reason="Case 17: a bill is wrong",
            opened_at=at,
            ends_at=at + STAFF_SESSION_LASTS,
        )
    return session


def staff_actor_of(user: User, *, at: datetime = AT, with_factor: bool = True) -> Actor:
    """The actor of somebody of the vendor's staff who has shown the second factor, or not yet."""
    with tenant_atomic(user.tenant_id):
        held = frozenset(StaffAssignment.objects.filter(user=user).values_list("role", flat=True))
    return as_staff(actor_of(user, at=at), held, has_second_factor=with_factor)


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
                holder_name=user.name,
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


def make_price(
    plan: Plan,
    market: str = "NL",
    *,
    unit_price_minor: int,
    valid_from: datetime = AT,
    published_at: datetime | None = None,
) -> Price:
    """A list price from a day on, by the owner's login; only for transactional tests. Published long before."""
    with use_login("owner"):
        return Price.objects.create(
            plan=plan,
            market_id=market,
            currency=Market.objects.get(pk=market).currency,
            unit_price_minor=unit_price_minor,
            valid_from=valid_from,
            published_at=published_at or valid_from - timedelta(days=62),
        )


# --- Subscriptions ----------------------------------------------------------------------------------------


def _monthly_power_bi() -> Plan:
    return plan("power-bi-pro", "monthly")


def make_subscription(
    tenant: Tenant, *, owner: User | None = None, plan: Plan | None = None, **fields: Any
) -> Subscription:
    """An active subscription of ten seats whose first month began on 1 March 2026, bought by `owner`.

    Without an owner it is central and the organization's. Fields are set as given: `state`, `quantity`,
    `channel`, `period_end`, `due_at` and so on.
    """
    plan = plan or _monthly_power_bi()
    market = Market.objects.select_related("vendor_entity").get(pk=tenant.country)
    price = Price.objects.filter(plan=plan, market=market).order_by("-valid_from").first()
    unit_price_minor = fields.pop("unit_price_minor", price.unit_price_minor if price else 1_000)
    quantity = fields.pop("quantity", 10)
    starts_at = datetime(2026, 2, 28, 23, 0, tzinfo=UTC)
    ends_at = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
    values: dict[str, Any] = {
        "product": plan.product,
        "channel": "self-service" if owner else "central",
        "owner_kind": "person" if owner else "organization",
        "owner_user": owner,
        "purchaser": owner,
        "purchaser_name": owner.name if owner else "",
        "purchaser_sort": owner.sort_name if owner else "",
        "product_sort": fold(plan.product.name),
        "search_text": fold(
            f"{plan.product.name} {owner.name if owner else ''} {owner.email if owner else ''}"
        ),
        "currency": market.currency,
        "tax_name": market.tax_name,
        "tax_rate": market.tax_rate,
        "term_months": plan.term_months,
        "billing_months": plan.billing_months,
        "time_zone": tenant.time_zone,
        "anchor_date": starts_at.astimezone(ZoneInfo("Europe/Amsterdam")).date(),
        "state": "active",
        "period_start": starts_at,
        "period_end": ends_at,
        "term_end": ends_at,
        "due_at": fields.get("period_end", ends_at),
        "activated_at": starts_at,
        "created_at": starts_at,
        **fields,
    }
    with tenant_atomic(tenant.pk):
        values.setdefault(
            "bill_to",
            BillTo.objects.create(
                tenant=tenant,
                name=tenant.name,
                street="Keizersgracht 1",
                city="Amsterdam",
                country=tenant.country,
            ),
        )
        if owner and owner.purchaser_since is None:
            owner.purchaser_since = values["created_at"]
            owner.save(update_fields=["purchaser_since"])
        return Subscription.objects.create(
            tenant=tenant,
            plan=plan,
            market=market,
            vendor_entity=market.vendor_entity,
            quantity=quantity,
            unit_price_minor=unit_price_minor,
            period_price_minor=quantity * unit_price_minor,
            **values,
        )


# --- Purchases, through the operations that make them ------------------------------------------------------


def make_bill_to(tenant: Tenant, **fields: Any) -> BillTo:
    """An address in Amsterdam to bill."""
    values = {
        "name": tenant.name,
        "street": "Keizersgracht 1",
        "postal_code": "1015 CJ",
        "city": "Amsterdam",
        "country": tenant.country,
        **fields,
    }
    with tenant_atomic(tenant.pk):
        return BillTo.objects.create(tenant=tenant, **values)


def make_checkout(user: User, *, plan: Plan | None = None, quantity: int = 10, at: datetime = AT) -> Checkout:
    """A checkout that the person filled in and agreed to, ready to be paid."""
    from commerce.operations.checkouts import BillingDetails, save_checkout, start_checkout

    plan = plan or _monthly_power_bi()
    actor = actor_of(user, at=at)
    checkout = start_checkout(actor=actor, product=plan.product, plan=plan, quantity=quantity, at=at)
    return save_checkout(
        actor=actor,
        key=checkout.key,
        plan=plan,
        quantity=quantity,
        billing=BillingDetails(
            name=user.name, street="Keizersgracht 1", postal_code="1015 CJ", city="Amsterdam", country="NL"
        ),
        takes_first_license=True,
        agrees_to_terms=True,
        seen_total_minor=checkout.total_minor,
        at=at,
    )


def make_change(user: User, subscription: Subscription, *, added: int = 4, at: datetime = AT) -> Checkout:
    """Added seats of the person's subscription, counted for the whole period and ready to be paid."""
    amount_minor = added * subscription.unit_price_minor
    tax_minor = tax_on(amount_minor, subscription.tax_rate)
    with tenant_atomic(user.tenant_id):
        return Checkout.objects.create(
            tenant_id=user.tenant_id,
            kind=Checkout.Kind.ADD_SEATS,
            subscription=subscription,
            service_start=subscription.period_start,
            service_end=subscription.period_end,
            user=user,
            product=subscription.product,
            plan=subscription.plan,
            market=subscription.market,
            quantity=added,
            currency=subscription.currency,
            unit_price_minor=subscription.unit_price_minor,
            subtotal_minor=amount_minor,
            tax_name=subscription.tax_name,
            tax_rate=subscription.tax_rate,
            tax_minor=tax_minor,
            total_minor=amount_minor + tax_minor,
            bill_to=subscription.bill_to,
            created_at=at,
            expires_at=at + timedelta(days=1),
        )


def make_card(tenant: Tenant, user: User | None = None, **fields: Any) -> Card:
    """A card of a person, or of the organization, that the processor does not know; the first is the default."""
    with tenant_atomic(tenant.pk):
        has_default = Card.objects.live().filter(tenant=tenant, user=user, is_default=True).exists()
        values: dict[str, Any] = {
            "processor_id": f"pm_test_{tenant.pk}_{next(_numbers)}",
            "brand": "visa",
            "last4": "4242",
            "expires_year": 2030,
            "expires_month": 12,
            "is_default": not has_default,
            "added_at": AT,
            **fields,
        }
        return Card.objects.create(tenant=tenant, user=user, **values)


def make_self_service_subscription(
    user: User, *, plan: Plan | None = None, quantity: int = 10, at: datetime = AT, card: Card | None = None
) -> Subscription:
    """A paid self-service purchase: checkout, order, bill, payment and subscription; the processor is not asked.

    The card is one that the processor does not know, unless a `card` of the person is given.
    """
    checkout = make_checkout(user, plan=plan, quantity=quantity, at=at)
    actor = actor_of(user, at=at)
    number = next(_numbers)
    with tenant_atomic(user.tenant_id):
        card = card or make_card(Tenant.objects.get(pk=user.tenant_id), user, added_at=at)
        placed = place_order(actor=actor, checkout=checkout, card=card, at=at)
        attempt = PaymentAttempt.objects.create(
            tenant_id=user.tenant_id,
            checkout=checkout,
            key=f"att_test_{number}",
            intent_id=f"pi_test_{number}",
            amount_minor=checkout.total_minor,
            currency=checkout.currency,
            state=PaymentAttempt.State.SUCCEEDED,
            created_at=at,
            updated_at=at,
        )
        book_payment(
            actor=actor,
            bill=placed.bill,
            attempt=attempt,
            charge_id=f"ch_test_{number}",
            received_at=at,
            at=at,
            card=card,
        )
        Checkout.objects.filter(pk=checkout.pk).update(state=Checkout.State.PAYING)
        Checkout.objects.filter(pk=checkout.pk).update(state=Checkout.State.PAID, paid_at=at)
    user.purchaser_since = user.purchaser_since or at
    return placed.subscription


def make_bill(
    subscription: Subscription, *, type: str = "add_seats", at: datetime = AT, **facts: Any
) -> Bill:
    """An open bill of a subscription, to its owner or on account, with an order of its own; ten days to pay.

    `facts` are those of `issue_bill`, and columns that may change: `status`, `decline_kind` and so on.
    """
    actor = Actor.system(subscription.tenant_id)
    owner: User | None = subscription.owner_user
    columns = {name: facts.pop(name) for name in list(facts) if name in _CHANGING}
    with tenant_atomic(subscription.tenant_id):
        order = Order.objects.create(
            tenant_id=subscription.tenant_id, type="add_seats", placed_at=at, actor_label=actor.label
        )
        amount_minor = subscription.quantity * subscription.unit_price_minor
        OrderLine.objects.create(
            tenant_id=subscription.tenant_id,
            order=order,
            subscription=subscription,
            quantity=subscription.quantity,
            currency=subscription.currency,
            unit_price_minor=subscription.unit_price_minor,
            amount_minor=amount_minor,
        )
        start, end = subscription.period_start, subscription.period_end
        unit, name = subscription.unit_price_minor, subscription.product.name
        values = {
            "bill_to": subscription.bill_to,
            "payer": owner,
            "collection": "card" if owner else "on_account",
            "lines": [Line(name, subscription.quantity, unit, amount_minor, start, end)],
            "period_start": start,
            "period_end": end,
            "due_at": at + timedelta(days=10),
            **facts,
        }
        bill = issue_bill(actor=actor, subscription=subscription, order=order, type=type, at=at, **values)
        if columns:
            Bill.objects.filter(pk=bill.pk).update(**columns)
            bill.refresh_from_db()
    return bill


def make_credit_note(bill: Bill, subtotal_minor: int, *, at: datetime = AT, type: str = "refund") -> Bill:
    """A credit note that takes back an amount without tax, as an operation issues it; nothing is refunded yet."""
    actor = Actor.system(bill.tenant_id)
    with tenant_atomic(bill.tenant_id):
        locked = lock_bill(bill.pk)
        order = Order.objects.create(
            tenant_id=bill.tenant_id, type="cancel", placed_at=at, actor_label=actor.label
        )
        OrderLine.objects.create(
            tenant_id=bill.tenant_id,
            order=order,
            subscription_id=bill.subscription_id,
            quantity=0,
            currency=bill.currency,
            unit_price_minor=subtotal_minor,
            amount_minor=-subtotal_minor,
        )
        line = Line("Power BI Pro", 1, subtotal_minor, subtotal_minor, bill.period_start, bill.period_end)
        return issue_credit_note(actor=actor, bill=locked, type=type, order=order, lines=[line], at=at)


def make_open_bill(subscription: Subscription, *, at: datetime = AT, **fields: Any) -> Bill:
    """An open bill for the running period of a subscription, with an order of its own; by card unless said."""
    with tenant_atomic(subscription.tenant_id):
        row = Subscription.objects.select_related("vendor_entity", "owner_user", "product", "bill_to").get(
            pk=subscription.pk
        )
        order = Order.objects.create(
            tenant_id=row.tenant_id, type="purchase", placed_at=at, actor_label="Test"
        )
        amount_minor = row.period_price_minor
        OrderLine.objects.create(
            tenant_id=row.tenant_id,
            order=order,
            subscription=row,
            quantity=row.quantity,
            currency=row.currency,
            unit_price_minor=row.unit_price_minor,
            amount_minor=amount_minor,
        )
        values: dict[str, Any] = {
            "type": "renewal",
            "collection": "card",
            "payer": row.owner_user,
            "due_at": at,
            "charge_due_at": at,
            **fields,
        }
        return issue_bill(
            actor=Actor.system(row.tenant_id),
            subscription=row,
            order=order,
            bill_to=row.bill_to,
            lines=[
                Line(
                    row.product.name,
                    row.quantity,
                    row.unit_price_minor,
                    amount_minor,
                    row.period_start,
                    row.period_end,
                )
            ],
            period_start=row.period_start,
            period_end=row.period_end,
            at=at,
            **values,
        )


def make_agreement(tenant: Tenant, *, plan: Plan | None = None, unit_price_minor: int = 800) -> Agreement:
    """The organization's price list with one plan on it, 30 days to pay."""
    with tenant_atomic(tenant.pk):
        agreement = Agreement.objects.create(tenant=tenant, name="Framework agreement", payment_days=30)
        AgreementPrice.objects.create(
            tenant=tenant,
            agreement=agreement,
            plan=plan or _monthly_power_bi(),
            currency=tenant.currency,
            unit_price_minor=unit_price_minor,
        )
    return agreement


def make_central_subscription(
    buyer: User, *, plan: Plan | None = None, quantity: int = 25, at: datetime = AT
) -> Subscription:
    """A central purchase by an admin at the agreement's price, on account; makes the agreement where none is."""
    plan = plan or _monthly_power_bi()
    with tenant_atomic(buyer.tenant_id):
        has_price = AgreementPrice.objects.filter(tenant_id=buyer.tenant_id, plan=plan).exists()
        tenant = Tenant.objects.get(pk=buyer.tenant_id)
    if not has_price:
        make_agreement(tenant, plan=plan)
    with tenant_atomic(buyer.tenant_id):
        return purchase_centrally(
            actor=actor_of(buyer, at=at), product=plan.product, plan=plan, quantity=quantity, at=at
        )


def make_job(user: User, *, capability: str = Capability.SEE_PURCHASES, **fields: Any) -> Job:
    """A job that waits, started by the person with the rights held at home; its kind is registered by nobody."""
    actor = actor_of(user)
    held = actor.scopes(capability) or frozenset({"own"})
    with tenant_atomic(user.tenant_id):
        return Job.objects.create(
            tenant_id=user.tenant_id,
            **{
                "kind": "example",
                "title": "Example",
                "capability": capability,
                "scopes": ["all"] if "all" in held else sorted(held),
                "actor_user_id": user.pk,
                "actor_tenant_id": user.tenant_id,
                "actor_label": user.name,
                "door": "web",
                "total": 3,
                "created_at": AT,
                **fields,
            },
        )


def client_of(user: User, acting_for: Tenant | None = None, *, with_factor: bool = False) -> Client:
    """A browser whose session is that person's, signed in without the identity provider.

    `with_factor`: the second factor of the vendor's site was shown in it.
    """
    client = Client()
    request = HttpRequest()
    request.session = client.session
    with tenant_atomic(user.tenant_id):
        start_session(request, user, proved=time.time())
    if acting_for:
        request.session[ACTING] = acting_for.pk
    if with_factor:
        request.session[STAFF_FACTOR] = time.time()
    request.session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(request.session.session_key)
    return client


def token_of(user: User, *scopes: str) -> str:
    """A personal token of somebody, with all rights unless scopes are named; whoever it is, as the operator may."""
    issued = issue_for_person(
        actor=actor_of(user), name="Test", scopes=scopes or ("full",), days=30, at=AT, real_at=real_now()
    )
    return issued.secret


def service_token_of(user: User, *scopes: str) -> str:
    """A service token that an admin made."""
    issued = issue_service_token(
        actor=actor_of(user), name="Job", scopes=scopes, days=30, at=AT, real_at=real_now()
    )
    return issued.secret


def caller_with(secret: str) -> Client:
    """A program that calls with a token and has no session."""
    return Client(headers={"authorization": f"Bearer {secret}"})
