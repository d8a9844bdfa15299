"""The demo's data (product §17), made by the operations that people use, with a past that was walked through.

Loading twice changes nothing; an interrupted load goes on where it stopped. Purchases by card are charged by the
card processor peer, so that one must be up.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.management import call_command
from django.db.models import Q

from commerce.models import (
    Agreement,
    AgreementPrice,
    Bill,
    Card,
    CardSetup,
    Checkout,
    Market,
    Plan,
    Price,
    Product,
    Solution,
    Subscription,
    SupportCase,
    TrainingLink,
    Trial,
)
from commerce.operations.agreements import grant_incidents
from commerce.operations.case_talk import Written, answer_case, open_conversation
from commerce.operations.checkouts import BillingDetails, save_checkout, start_checkout
from commerce.operations.orders import purchase_centrally
from commerce.operations.payments import Paid, Saved, pay_checkout, save_card
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals.sweeps import run_sweeps
from commerce.operations.reviews import keep_purchase
from commerce.operations.solutions import decide_solution, send_in_solution
from commerce.operations.training import add_training_link
from commerce.operations.trials import Choice, start_trial_with_card, start_trial_without_card
from commerce.queries.quotes import quote_for
from config.demo import people
from config.demo.environment import client_of, issuers
from config.demo.staff import app_secret
from config.kit.actors import Actor
from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic, use_login
from directory.actors import as_staff, build_actor
from directory.factors import code_at
from directory.models import Domain, Invitation, OutgoingMail, Relationship, Tenant, User
from directory.operations.delegations import assign_to_person
from directory.operations.domains import add_domain
from directory.operations.inbox import mark_all_read
from directory.operations.invitations import ask_for_relationship
from directory.operations.partner_sweeps import TOLD_BEFORE
from directory.operations.partners import create_relationship
from directory.operations.people import create_guest, create_user, disable_user
from directory.operations.roles import grant_role
from directory.operations.second_factor import set_up_app
from directory.operations.staff import set_staff_roles
from directory.operations.tenants import configure_identity_provider, create_tenant
from directory.permissions import Role
from licensing.models import Consumption, LicenseRequest, Workspace
from licensing.operations.assignments import assign_licenses
from licensing.operations.capacity import Measured, report_consumption
from licensing.operations.requests import ask_for_licenses
from licensing.operations.workspaces import make_workspace
from policies.models import PolicyTemplate, PolicyValue
from policies.operations.policies import set_contact_text, set_product_policy
from policies.operations.templates import create_template

OPENED = timedelta(days=150)
DORA_LEFT = timedelta(days=10)
ASKED = timedelta(days=2)
CAPACITY_MEASURED = timedelta(hours=5)
# As long before its day a bill on account is told of again.
BILL_DUE_TOLD = timedelta(days=7)
# What the admins have not read yet is younger.
READ_UNTIL = timedelta(days=7)
# The processor keeps this card, and its bank declines every charge.
NEVER_PAYS = "pm_card_chargeCustomerFail"

# What the organization pays under its agreement, of the list price.
AGREED_SHARE = 0.82


@dataclass(frozen=True, slots=True)
class Purchase:
    """One person's purchase by card, so many days ago, and whom the licenses went to besides the buyer."""

    buyer: str
    product: str
    plan: tuple[int, int]
    quantity: int
    days_ago: int
    holders: Sequence[str] = ()
    renews: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """A card that takes the place of another and that no bank pays by, so many days ago."""

    buyer: str
    product: str
    days_ago: int


@dataclass(frozen=True, slots=True)
class FirstTrial:
    """A trial that somebody started so many days ago; with the card that the person has, or without one."""

    person: str
    product: str
    quantity: int
    days_ago: int
    with_card: bool
    holders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CentralPurchase:
    """What Contoso bought under its agreement, and who holds it."""

    product: str
    plan: tuple[int, int]
    quantity: int
    days_ago: int
    holders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A workspace that somebody made in a product, so many days ago; its capacity is reported by its name."""

    maker: str
    product: str
    name: str
    days_ago: int


CENTRAL = (
    CentralPurchase(
        "power-bi-pro",
        (12, 12),
        25,
        140,
        ("gina", "greg", "bill", "lisa", "uma", "rhea", "sam", "dora", "erik", "daan", "dirk", "diana"),
    ),
    CentralPurchase("project-plan-3", (12, 1), 5, 135, ("gina", "mike", "erik")),
)
BY_CARD = (
    Purchase("pat", "power-bi-pro", (1, 1), 10, 100, ("erik", "daan")),
    Purchase("dora", "power-apps-per-user", (12, 1), 3, 75, ("dirk",)),
    Purchase("sam", "visio-plan-1", (1, 1), 1, 40),
    Purchase("pat", "power-bi-premium-per-user", (1, 1), 2, 12, (), renews=False),
    Purchase("pat", "visio-plan-2", (1, 1), 2, 36, ("diana",)),
)
# Its renewal failed some days ago, and is tried again.
FAILURES = (Failure("pat", "visio-plan-2", 20),)
TRIALS = (
    FirstTrial("pat", "power-automate-rpa", 3, 20, with_card=True, holders=("erik",)),
    FirstTrial("sam", "project-plan-1", 1, 8, with_card=False),
)


# Product, kind, environment, MB.
CONSUMPTION = (
    ("power-apps-per-user", "database", "Contoso (default)", 640),
    ("power-apps-per-user", "file", "Contoso (default)", 3_900),
    ("power-apps-per-user", "log", "Contoso (default)", 96),
    ("power-apps-per-user", "database", "Field visits", 390),
    ("power-apps-per-user", "log", "Field visits", 35),
    ("power-bi-pro", "file", "Finance", 118_000),
    ("power-bi-pro", "file", "Sales reports", 84_500),
)

WORKSPACES = (
    Made("pat", "power-bi-pro", "Sales reports", 30),
    Made("pat", "power-bi-pro", "Finance", 12),
    Made("mike", "project-plan-3", "Office move", 9),
)


def load(at: datetime) -> None:
    """Make everything as it should be at `at`."""
    if not Product.objects.exists():
        # Once: what the vendor's staff change at their site stays.
        call_command("load_catalogue", verbosity=0)
    tenants = {tenant.key: _tenant(tenant, at - OPENED) for tenant in people.TENANTS}
    contoso = tenants["contoso"]
    _guests(tenants, at - OPENED)
    _relationship(customer=contoso, partner=tenants["northwind"], at=at)
    _invitation(partner=tenants["northwind"], at=at - ASKED)
    _solution(partner=tenants["northwind"], at=at - ASKED)
    _agreement(contoso, at - OPENED)
    _policies(contoso, at - OPENED)
    _walk(contoso, at)
    _request(contoso, at)
    _capacity(contoso, at)
    _question(contoso, tenants["vendor"], at)
    _training(contoso, at)
    _template(tenants["northwind"], at)
    _read(contoso, at)


def _tenant(source: people.Tenant, at: datetime) -> Tenant:
    """One organization with its domain, identity provider, people and roles."""
    with use_login("worker"):
        known = Domain.objects.filter(name=source.domain).first()
    if known is not None:
        with tenant_atomic(known.tenant_id):
            tenant = Tenant.objects.get(pk=known.tenant_id)
    else:
        tenant = create_tenant(
            name=source.name,
            kind=source.kind,
            country=source.country,
            time_zone=source.time_zone,
            currency=source.currency,
            language=source.language,
            is_managed=source.is_managed,
            at=at,
        )
        add_domain(actor=Actor.system(tenant.pk), name=source.domain, is_verified=True, at=at)
    actor = Actor.system(tenant.pk)
    issuer = issuers()[source.key]
    client_id, client_secret = client_of(source.key)
    configure_identity_provider(
        actor=actor, issuer=issuer, client_id=client_id, client_secret=client_secret, at=at
    )
    for person in source.people:
        user = _find(tenant, source, person) or create_user(
            actor=actor,
            name=person.full_name,
            email=source.mail(person),
            issuer=issuer,
            subject=source.object_id(person),
            source=person.source,
            language=person.language,
            at=at,
        )
        for role in person.roles:
            grant_role(actor=actor, user_id=user.pk, role=role, at=at)
        if person.staff_roles:
            set_staff_roles(actor=actor, user_id=user.pk, roles=person.staff_roles, at=at)
            _second_factor(user, frozenset(person.staff_roles), source.mail(person), at)
    return tenant


def _second_factor(user: User, roles: frozenset[str], mail: str, at: datetime) -> None:
    """The authenticator app whose secret /demo/ shows."""
    with tenant_atomic(user.tenant_id):
        actor = build_actor(user, acting_tenant_id=user.tenant_id, at=at)
        assert actor is not None, "everybody may act at home"
        if Authenticator.objects.filter(user=user).exists():
            return
    secret = app_secret(mail, key=settings.SECRET_KEY)
    set_up_app(
        actor=as_staff(actor, roles, has_second_factor=False),
        secret=secret,
        code=code_at(secret, real_now()),
        has_shown=False,
        at=at,
        real_at=real_now(),
    )


def _find(tenant: Tenant, home: people.Tenant, person: people.Person) -> User | None:
    with tenant_atomic(tenant.pk):
        user: User | None = User.objects.filter(
            tenant=tenant, issuer=issuers()[home.key], subject=home.object_id(person)
        ).first()
        return user


def _guests(tenants: dict[str, Tenant], at: datetime) -> None:
    for home in people.TENANTS:
        for person in home.people:
            for host in person.guest_of:
                if _find(tenants[host], home, person) is None:
                    create_guest(
                        actor=Actor.system(tenants[host].pk),
                        name=person.full_name,
                        email=home.mail(person),
                        issuer=issuers()[home.key],
                        subject=home.object_id(person),
                        at=at,
                    )


def _relationship(*, customer: Tenant, partner: Tenant, at: datetime) -> None:
    """*Contoso licensing*: Petra alone, billing and license admin, ends in eleven months."""
    northwind = people.tenant("northwind")
    petra = _find(partner, northwind, northwind.person("petra"))
    roles = [Role.BILLING_ADMIN, Role.LICENSE_ADMIN]
    with tenant_atomic(customer.pk):
        relationship = Relationship.objects.filter(tenant=customer, partner_tenant_id=partner.pk).first()
    if relationship is None:
        relationship = create_relationship(
            customer=customer,
            partner=partner,
            name="Contoso licensing",
            roles=roles,
            at=at - timedelta(days=30),
            ends_at=at + timedelta(days=335),
        )
    if petra is not None:
        assign_to_person(
            actor=Actor.system(partner.pk), key=relationship.key, user_id=petra.pk, roles=roles, at=at
        )


def _invitation(*, partner: Tenant, at: datetime) -> None:
    """Northwind asks Fabrikam too; Fiona has not answered yet."""
    petra = _actor(partner, "petra", at, home="northwind")
    with tenant_atomic(petra):
        if Invitation.objects.filter(tenant=partner).exists():
            return
    ask_for_relationship(
        actor=petra,
        domain=people.tenant("fabrikam").domain,
        name="Fabrikam licensing",
        roles=[Role.LICENSE_ADMIN, Role.GLOBAL_READER],
        days=365,
        message="As we agreed on the phone: we would hand out the licenses for your new people.",
        extends=True,
        at=at,
    )


def _solution(*, partner: Tenant, at: datetime) -> None:
    """What Northwind offers beside Power BI Pro, approved by Olga."""
    petra = _actor(partner, "petra", at, home="northwind")
    with tenant_atomic(petra):
        if Solution.objects.filter(tenant=partner).exists():
            return
    solution = send_in_solution(
        actor=petra,
        product="power-bi-pro",
        title="Your first reports in a week",
        description="We connect your data, build three reports with you, and show your people how to go on.",
        url=f"https://{people.tenant('northwind').domain}/power-bi/",
        at=at,
    )
    decide_solution(key=solution.key, is_approved=True, staff="olga", at=at)


def _agreement(tenant: Tenant, at: datetime) -> None:
    """Contoso's price list: every product, somewhat below the list."""
    with tenant_atomic(tenant.pk):
        agreement, _is_new = Agreement.objects.get_or_create(
            tenant=tenant, name="Contoso enterprise agreement", defaults={"payment_days": 30}
        )
        market = Market.objects.get(pk=tenant.country)
        AgreementPrice.objects.bulk_create(
            (
                AgreementPrice(
                    tenant=tenant,
                    agreement=agreement,
                    plan_id=price.plan_id,
                    currency=price.currency,
                    unit_price_minor=round(price.unit_price_minor * AGREED_SHARE),
                )
                for price in Price.objects.filter(market=market)
            ),
            ignore_conflicts=True,
        )


def _policies(tenant: Tenant, at: datetime) -> None:
    gina = _actor(tenant, "gina", at)
    for slug, value in (
        ("power-automate-per-user", PolicyValue.DISABLED),
        ("project-plan-1", PolicyValue.TRIALS_ONLY),
    ):
        product = Product.objects.get(slug=slug)
        set_product_policy(actor=gina, product_keys=[product.key], value=value, name=product.name, at=at)
    set_contact_text(
        actor=gina,
        text="Contoso buys Power Automate centrally. Ask the service desk, extension 4400.",
        url="https://servicedesk.contoso.example/licenses",
        at=at,
    )


def _request(tenant: Tenant, at: datetime) -> None:
    """Mike waits for a license that is free, since this morning."""
    mike = _actor(tenant, "mike", at)
    product = Product.objects.get(slug="power-bi-pro")
    with tenant_atomic(mike):
        if LicenseRequest.objects.concerning(mike).filter(product=product).exists() or mike.user_id is None:
            return
    ask_for_licenses(
        actor=mike,
        product=product,
        user_ids=[mike.user_id],
        reason="I report on the tenders each Monday, and the reports are in Power BI.",
        at=at,
    )


def _capacity(tenant: Tenant, at: datetime) -> None:
    """What Contoso's products report to use: files with room, databases nearly full, more logs than there is room for."""
    with tenant_atomic(tenant.pk):
        if Consumption.objects.filter(tenant=tenant).exists():
            return
    gina = _actor(tenant, "gina", at)
    keys = dict(Product.objects.values_list("slug", "key"))
    report_consumption(
        actor=gina,
        measured=[
            Measured(keys[slug], kind, environment, used_mb, at - CAPACITY_MEASURED)
            for slug, kind, environment, used_mb in CONSUMPTION
        ],
        at=at,
    )


def _question(tenant: Tenant, vendor: Tenant, at: datetime) -> None:
    """Pat asked support yesterday, and Sven answered; Contoso's agreement has premier incidents."""
    pat = _actor(tenant, "pat", at)
    with tenant_atomic(pat):
        if SupportCase.objects.filter(tenant=tenant).exists():
            return
        bought = Subscription.objects.filter(
            owner_user_id=pat.user_id, product__slug="power-bi-pro", channel="self-service"
        ).first()
        agreement = Agreement.objects.filter(tenant=tenant).first()
    sven = _staff(vendor, "sven", at)
    olga = _staff(vendor, "olga", at)
    if agreement is not None:
        grant_incidents(staff=olga, tenant_id=tenant.pk, agreement_id=agreement.pk, granted=5, at=at - ASKED)
    if bought is None:
        return
    asked = Written(
        "Since this morning the report of last month's tenders is empty. The data behind it is there. What can I do?"
    )
    case = open_conversation(
        actor=pat,
        key=bought.key,
        kind=SupportCase.Kind.QUESTION,
        subject="A report has become empty",
        written=asked,
        is_premier=False,
        at=at - timedelta(days=1, hours=3),
    )
    answer = Written(
        "Its refresh stopped when the password of its data source was changed. Open the report's settings, choose the"
        " data source and sign in again. Does it fill after the next refresh?"
    )
    answer_case(
        case=case, staff=sven, written=answer, state=SupportCase.State.WAITING, at=at - timedelta(days=1)
    )


def _staff(vendor: Tenant, name: str, at: datetime) -> Actor:
    """Somebody of the vendor's staff who has shown the second factor."""
    actor = _actor(vendor, name, at, home="vendor")
    person = people.tenant("vendor").person(name)
    return as_staff(actor, frozenset(person.staff_roles), has_second_factor=True)


def _training(tenant: Tenant, at: datetime) -> None:
    """Contoso's own page beside Power BI Pro."""
    gina = _actor(tenant, "gina", at)
    with tenant_atomic(gina):
        if TrainingLink.objects.filter(tenant=tenant).exists():
            return
    add_training_link(
        actor=gina,
        product="power-bi-pro",
        title="How we report at Contoso",
        url=f"https://wiki.{people.tenant('contoso').domain}/reports/",
        at=at,
    )


def _template(partner: Tenant, at: datetime) -> None:
    """What Northwind wants its customers to decide; Contoso decides otherwise for two products."""
    petra = _actor(partner, "petra", at, home="northwind")
    with tenant_atomic(petra):
        if PolicyTemplate.objects.visible_to(petra).exists():
            return
    keys = dict(Product.objects.values_list("slug", "key"))
    create_template(
        actor=petra,
        name="Northwind's advice",
        said={
            "default": PolicyValue.ENABLED,
            f"product:{keys['power-automate-per-user']}": PolicyValue.TRIALS_ONLY,
            f"product:{keys['power-automate-rpa']}": PolicyValue.TRIALS_ONLY,
        },
        at=at,
    )


def _read(tenant: Tenant, at: datetime) -> None:
    """Gina kept Pat's first purchase, and she and Bill have read what is older than a week. Once, at the first load."""
    gina, bill = (_actor(tenant, name, at) for name in ("gina", "bill"))
    with tenant_atomic(bill):
        if OutgoingMail.objects.visible_to(bill).filter(read_at__isnull=False).exists():
            return
        first = Subscription.objects.filter(channel=Subscription.Channel.SELF_SERVICE).order_by("id").first()
    if first is not None:
        keep_purchase(actor=gina, key=first.key, at=at)
    for actor in (gina, bill):
        mark_all_read(actor=actor, until=at - READ_UNTIL, at=at)


def _walk(tenant: Tenant, at: datetime) -> None:
    """Live through the past day by day: purchases on their day, and every sweep on each day that needs one."""
    first = max(purchase.days_ago for purchase in (*CENTRAL, *BY_CARD))
    for days_ago in range(first, -1, -1):
        today = at - timedelta(days=days_ago)
        for central in CENTRAL:
            if central.days_ago == days_ago:
                _buy_centrally(tenant, central, today)
        for purchase in BY_CARD:
            if purchase.days_ago == days_ago:
                _buy(tenant, purchase, today)
        for failure in FAILURES:
            if failure.days_ago == days_ago:
                _let_fail(tenant, failure, today)
        for trial in TRIALS:
            if trial.days_ago == days_ago:
                _try(tenant, trial, today)
        for made in WORKSPACES:
            if made.days_ago == days_ago:
                _make(tenant, made, today)
        if today.date() == (at - DORA_LEFT).date():
            _leave(tenant, "dora", today)
        if has_work(today) or not days_ago:
            run_sweeps(at=today)


def has_work(at: datetime) -> bool:
    """Whether a sweep has something to do on that day, so that idle days need none."""
    with use_login("worker"):
        open_bills = Bill.objects.open()
        return (
            Subscription.objects.filter(Q(due_at__lte=at) | Q(next_reminder_at__lte=at)).exists()
            or open_bills.filter(Q(charge_due_at__lte=at) | Q(next_dunning_at__lte=at)).exists()
            or open_bills.filter(
                Q(due_at__lte=at) | Q(due_at__lte=at + BILL_DUE_TOLD, dunning_step__lt=2),
                collection=Bill.Collection.ON_ACCOUNT,
                status=Bill.Status.OPEN,
            ).exists()
            or Invitation.objects.filter(state=Invitation.State.WAITING, expires_at__lte=at).exists()
            or Relationship.objects.filter(
                status=Relationship.Status.ACTIVE, ends_at__lte=at + timedelta(days=max(TOLD_BEFORE))
            ).exists()
        )


def _actor(tenant: Tenant, name: str, at: datetime, *, home: str = "contoso") -> Actor:
    source = people.tenant(home)
    user = _find(tenant, source, source.person(name))
    if user is None:
        raise LookupError(name)
    with tenant_atomic(tenant.pk):
        actor = build_actor(user, acting_tenant_id=tenant.pk, at=at, door="cli")
    if actor is None:
        raise LookupError(name)
    return actor


def _plan(slug: str, months: tuple[int, int]) -> Plan:
    term, billing = months
    return Plan.objects.select_related("product").get(
        product__slug=slug, term_months=term, billing_months=billing
    )


def _buy_centrally(tenant: Tenant, purchase: CentralPurchase, at: datetime) -> None:
    plan = _plan(purchase.product, purchase.plan)
    with tenant_atomic(tenant.pk):
        if Subscription.objects.filter(
            tenant=tenant, product=plan.product, channel=Subscription.Channel.CENTRAL
        ).exists():
            return
    subscription = purchase_centrally(
        actor=_actor(tenant, "gina", at),
        product=plan.product,
        plan=plan,
        quantity=purchase.quantity,
        at=at,
    )
    _assign(_actor(tenant, "gina", at), subscription, purchase.holders, at)


def _buy(tenant: Tenant, purchase: Purchase, at: datetime) -> None:
    plan = _plan(purchase.product, purchase.plan)
    actor = _actor(tenant, purchase.buyer, at)
    with tenant_atomic(actor):
        if Subscription.objects.filter(
            tenant=tenant, product=plan.product, purchaser_id=actor.user_id
        ).exists():
            return
    checkout = start_checkout(actor=actor, product=plan.product, plan=plan, quantity=purchase.quantity, at=at)
    save_checkout(
        actor=actor,
        key=checkout.key,
        plan=plan,
        quantity=purchase.quantity,
        billing=_billing(actor),
        takes_first_license=True,
        agrees_to_terms=True,
        seen_total_minor=checkout.total_minor,
        at=at,
    )
    outcome = pay_checkout(actor=actor, key=checkout.key, confirmation_token=_card(), at=at)
    if not isinstance(outcome, Paid):
        raise TypeError(f"{purchase.buyer}'s purchase ended as {outcome!r}")
    with tenant_atomic(actor):
        subscription = Subscription.objects.get(
            tenant=tenant, order_lines__order__checkout=Checkout.objects.get(pk=checkout.pk)
        )
    buyer = _actor(tenant, purchase.buyer, at)
    _assign(buyer, subscription, purchase.holders, at)
    if not purchase.renews:
        set_recurring_billing(
            actor=buyer, key=subscription.key, on=False, version=_version(tenant, subscription), at=at
        )


def _version(tenant: Tenant, subscription: Subscription) -> int:
    with tenant_atomic(tenant.pk):
        return int(Subscription.objects.values_list("version", flat=True).get(pk=subscription.pk))


def _assign(actor: Actor, subscription: Subscription, names: Sequence[str], at: datetime) -> None:
    if not names:
        return
    contoso = people.tenant("contoso")
    with tenant_atomic(actor):
        ids = dict(
            User.objects.filter(
                tenant_id=actor.tenant_id, email__in=[contoso.mail(contoso.person(name)) for name in names]
            ).values_list("email", "pk")
        )
        assign_licenses(
            actor=actor,
            subscription_key=subscription.key,
            user_ids=[ids[contoso.mail(contoso.person(name))] for name in names],
            at=at,
            confirmed=True,
        )


def _let_fail(tenant: Tenant, failure: Failure, at: datetime) -> None:
    """Another card pays a purchase from now on, one that is declined when it is charged."""
    actor = _actor(tenant, failure.buyer, at)
    with tenant_atomic(actor):
        subscription = Subscription.objects.select_related("card").get(
            tenant=tenant, product__slug=failure.product, purchaser_id=actor.user_id
        )
        setups = CardSetup.objects.filter(subscription=subscription).exists()
    if setups:
        return
    outcome = save_card(
        actor=actor,
        key=uuid.uuid4(),
        for_organization=False,
        confirmation_token=_card(NEVER_PAYS),
        subscription=subscription.key,
        at=at,
    )
    if not isinstance(outcome, Saved):
        raise TypeError(f"{failure.buyer}'s other card ended as {outcome!r}")


def _try(tenant: Tenant, trial: FirstTrial, at: datetime) -> None:
    plan = _plan(trial.product, (1, 1))
    actor = _actor(tenant, trial.person, at)
    with tenant_atomic(actor):
        if Trial.objects.filter(tenant=tenant, user=actor.user_id, product=plan.product).exists():
            return
        market = Market.objects.get(pk=tenant.country)
        total = quote_for(
            plan=plan, quantity=trial.quantity, market=market, time_zone=tenant.time_zone, at=at
        ).total_minor
        card = Card.objects.visible_to(actor).filter(is_default=True).first()
    choice = Choice(plan.product, plan, trial.quantity, total)
    if not trial.with_card:
        started = start_trial_without_card(actor=actor, choice=choice, agrees_to_terms=True, at=at)
    elif card is None:
        raise LookupError(f"{trial.person} has no card")
    else:
        started = start_trial_with_card(
            actor=actor,
            choice=choice,
            card_id=card.pk,
            billing=_billing(actor),
            agrees_to_terms=True,
            at=at,
        )
    _assign(_actor(tenant, trial.person, at), started, trial.holders, at)


def _billing(actor: Actor) -> BillingDetails:
    return BillingDetails(
        name=actor.label,
        street="Keizersgracht 100",
        postal_code="1015 AA",
        city="Amsterdam",
        country="NL",
    )


def _make(tenant: Tenant, made: Made, at: datetime) -> None:
    product = Product.objects.get(slug=made.product)
    with tenant_atomic(tenant.pk):
        if Workspace.objects.filter(tenant=tenant, product=product, name=made.name).exists():
            return
    make_workspace(actor=_actor(tenant, made.maker, at), product=product, name=made.name, at=at)


def _leave(tenant: Tenant, name: str, at: datetime) -> None:
    contoso = people.tenant("contoso")
    user = _find(tenant, contoso, contoso.person(name))
    if user is not None and user.is_active:
        disable_user(actor=_actor(tenant, "uma", at), user_id=user.pk, at=at)


def _card(kind: str = "pm_card_visa") -> str:
    """A confirmation token of a test card, 4242… unless said, as a browser would make it."""
    answer = httpx.post(
        f"{settings.STRIPE_API_BASE}/v1/test_helpers/confirmation_tokens",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data={"payment_method": kind},
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["id"])
