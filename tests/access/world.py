"""Every address of the site, who may come to it, and examples of each kind of object that an address names."""

import copy
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from commerce.models import (
    CardSetup,
    CaseFile,
    CaseMessage,
    Checkout,
    HandOver,
    Price,
    SavedView,
    Solution,
    Subscription,
    SupportCase,
)
from commerce.operations.handovers import offer_hand_over
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Domain, Group, OutgoingMail, Tenant, User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.operations.people import create_group
from directory.operations.webhooks import register_endpoint
from directory.permissions import ROLES
from directory.queries import customers_of
from licensing.models import Centralization, GroupLicense, Workspace
from licensing.operations.requests import ask_for_licenses
from policies.models import PolicyTemplate
from policies.operations import policies as operations
from tests.access.test_rules import walk
from tests.factories import (
    actor_of,
    client_of,
    make_agreement,
    make_bill,
    make_card,
    make_change,
    make_checkout,
    make_job,
    make_relationship,
    make_staff,
    make_staff_session,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    staff_actor_of,
)
from tests.factories import product as product_row

# Longer than what a nonce or a token might hold by chance.
CANARY = "ZQ-CANARY"
OWN, COLLEAGUES, ORG, FOREIGN, MISSING = "own", "colleague's", "organization's", "other tenant's", "missing"
# What a partner's people find at home.
PARTNERS = "partner's"
STAFF = {
    "vendor catalogue": ("staff_catalogue",),
    "vendor support": ("staff_support",),
    "vendor superuser": ("staff_superuser",),
}
# Somebody of the vendor's staff who has signed in and not shown the second factor.
NOT_SHOWN = "vendor superuser without second factor"
# Somebody of it who reads the pages of A in a session of an hour.
READING = "vendor support in a session"
HOME_ROLES = ("member", "guest", "purchaser", *ROLES)
PEOPLE = (
    "anonymous",
    *HOME_ROLES,
    *(f"partner {role}" for role in ROLES),
    "partner whose relationship ended",
    "partner not assigned",
    "partner at home",
    "other tenant's global admin",
    *STAFF,
    NOT_SHOWN,
    READING,
)
# Whose session acts for a customer without a right to.
LOST = ("partner whose relationship ended", "partner not assigned")
# Calls with tokens have a test of their own (test_every_call).
ADDRESSES = sorted(
    (entry for entry in walk() if not hasattr(entry[2], "access_rules")), key=lambda entry: entry[0]
)


@dataclass
class World:
    """Tenant A with people in every role and purchases of each kind, a partner, and tenant B full of canaries."""

    a: Tenant
    b: Tenant
    people: dict[str, tuple[User, Tenant | None]]
    purchases: dict[str, uuid.UUID]
    checkouts: dict[str, uuid.UUID]
    changes: dict[str, uuid.UUID]
    offers: dict[str, uuid.UUID]
    cards: dict[str, int]
    setups: dict[str, uuid.UUID]
    trial_cards: dict[str, uuid.UUID]
    bills: dict[str, str]
    jobs: dict[str, uuid.UUID]
    policy_changes: dict[str, uuid.UUID]
    views: dict[str, int]
    purchasers: dict[str, uuid.UUID]
    requests: dict[str, uuid.UUID]
    groups: dict[str, uuid.UUID]
    notices: dict[str, int]
    runs: dict[str, uuid.UUID]
    group_licenses: dict[str, uuid.UUID]
    entries: dict[str, int]
    relationships: dict[str, uuid.UUID]
    domains: dict[str, int]
    webhooks: dict[str, uuid.UUID]
    solutions: dict[str, uuid.UUID]
    sessions: dict[str, uuid.UUID]
    cases: dict[str, int]
    agreements: dict[str, int]
    talks: dict[str, uuid.UUID]
    talk_files: dict[str, uuid.UUID]
    workspaces: dict[str, uuid.UUID]
    templates: dict[str, uuid.UUID]

    def client(self, who: str) -> Client:
        if who == "anonymous":
            return Client()
        user, acting_for = self.people[who]
        return client_of(user, acting_for, with_factor=who in STAFF or who == READING)

    def actor(self, who: str) -> Actor | None:
        """Whom the gate makes of the session: a partner without a right is at home again."""
        if who == "anonymous":
            return None
        user, acting_for = self.people[who]
        if who in STAFF or who == NOT_SHOWN:
            return staff_actor_of(user, at=now(), with_factor=who in STAFF)
        if who in LOST:
            acting_for = None
        return actor_of(user, acting_for, at=now())


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """Built once for each person, who then visits every address; each visit is rolled back."""
    at = now()
    a, b = make_tenant(name="A"), make_tenant(name=f"{CANARY}-tenant")
    partner, former = make_tenant(name="Partner"), make_tenant(name="Former partner")
    people: dict[str, tuple[User, Tenant | None]] = {
        "member": (make_user(a), None),
        "guest": (make_user(a, kind="guest"), None),
        "purchaser": (make_user(a, purchaser_since=at), None),
        "other tenant's global admin": (make_user(b, name=f"{CANARY}-admin", roles=("global_admin",)), None),
    }
    vendor = make_tenant(name="Vendor", kind="vendor")
    for staff, works_at in STAFF.items():
        people[staff] = (make_staff(vendor, *works_at), None)
    people[NOT_SHOWN] = (make_staff(vendor, "staff_superuser"), None)
    people[READING] = (make_staff(vendor, "staff_support"), a)
    make_staff_session(people[READING][0], a, at)
    sessions = {
        FOREIGN: make_staff_session(make_staff(vendor, "staff_support"), a, at).key,
        MISSING: uuid.uuid4(),
    }
    for role in ROLES:
        people[role] = (make_user(a, roles=(role,)), None)
        delegate = make_user(partner)
        delegation = make_relationship(
            a, partner, roles=(role,), users=(delegate,), ends_at=at + timedelta(days=30)
        )
        people[f"partner {role}"] = (delegate, a)
    people["partner at home"] = (people["partner billing_admin"][0], None)
    ended = make_user(former)
    make_relationship(a, former, roles=("global_admin",), users=(ended,), ends_at=at - timedelta(seconds=1))
    people["partner whose relationship ended"] = (ended, a)
    people["partner not assigned"] = (make_user(partner, roles=("global_admin",)), a)
    colleague = make_user(a, name="Colleague")
    stranger = make_user(b, name=f"{CANARY}-purchaser", email=f"{CANARY}@b.example".lower())
    bought = {
        OWN: make_subscription(a, owner=people["purchaser"][0]),
        COLLEAGUES: make_subscription(a, owner=colleague),
        ORG: make_subscription(a),
        FOREIGN: make_subscription(b, owner=stranger),
    }
    purchases = {kind: subscription.key for kind, subscription in bought.items()} | {MISSING: uuid.uuid4()}
    changes = {
        OWN: make_change(people["purchaser"][0], bought[OWN], at=at).key,
        COLLEAGUES: make_change(colleague, bought[COLLEAGUES], at=at).key,
        FOREIGN: make_change(stranger, bought[FOREIGN], at=at).key,
    }
    checkouts = {
        OWN: make_checkout(people["purchaser"][0], at=at).key,
        COLLEAGUES: make_checkout(colleague, at=at).key,
        FOREIGN: make_checkout(stranger, at=at).key,
        MISSING: uuid.uuid4(),
    }
    offers = {
        OWN: make_offer(purchases[COLLEAGUES], colleague, people["purchaser"][0], at).key,
        COLLEAGUES: make_offer(purchases[OWN], people["purchaser"][0], colleague, at).key,
        FOREIGN: make_offer(purchases[FOREIGN], stranger, make_user(b), at).key,
        MISSING: uuid.uuid4(),
    }
    cards = {
        OWN: make_card(a, people["purchaser"][0]).pk,
        COLLEAGUES: make_card(a, colleague).pk,
        ORG: make_card(a).pk,
        FOREIGN: make_card(b, stranger).pk,
        MISSING: 2**40,
    }
    setups = {
        OWN: make_setup(people["purchaser"][0]),
        COLLEAGUES: make_setup(colleague),
        FOREIGN: make_setup(stranger),
        MISSING: uuid.uuid4(),
    }
    trial_cards = {
        OWN: make_setup(people["purchaser"][0], for_trial=True),
        COLLEAGUES: make_setup(colleague, for_trial=True),
        FOREIGN: make_setup(stranger, for_trial=True),
        MISSING: uuid.uuid4(),
    }
    bills = {kind: make_bill(subscription, at=at).number for kind, subscription in bought.items()}
    bills[MISSING] = "SK-NL-2026-999999"
    jobs = {
        OWN: make_job(people["purchaser"][0]).key,
        COLLEAGUES: make_job(colleague).key,
        ORG: make_job(people["global_admin"][0]).key,
        FOREIGN: make_job(stranger, title=f"{CANARY}-job").key,
        MISSING: uuid.uuid4(),
    }
    policy_changes = {
        ORG: make_policy_change(people["billing_admin"][0], at),
        FOREIGN: make_policy_change(people["other tenant's global admin"][0], at),
        MISSING: uuid.uuid4(),
    }
    views = {
        COLLEAGUES: make_view(colleague),
        FOREIGN: make_view(stranger),
        MISSING: 2**40,
    }
    purchasers = {
        OWN: people["purchaser"][0].key,
        COLLEAGUES: colleague.key,
        FOREIGN: stranger.key,
        MISSING: uuid.uuid4(),
    }
    requests = {
        OWN: make_request(people["purchaser"][0], at),
        COLLEAGUES: make_request(colleague, at),
        FOREIGN: make_request(stranger, at),
        MISSING: uuid.uuid4(),
    }
    groups = {
        ORG: make_group(people["user_admin"][0], at),
        FOREIGN: make_group(people["other tenant's global admin"][0], at),
        MISSING: uuid.uuid4(),
    }
    notices = {
        OWN: make_notice(people["purchaser"][0], at),
        COLLEAGUES: make_notice(colleague, at),
        FOREIGN: make_notice(stranger, at),
        MISSING: 2**40,
    }
    runs = {
        ORG: make_run(people["billing_admin"][0], at),
        FOREIGN: make_run(people["other tenant's global admin"][0], at),
        MISSING: uuid.uuid4(),
    }
    relationships = {
        ORG: delegation.key,
        FOREIGN: make_relationship(b, former, name=f"{CANARY}-relationship").key,
        MISSING: uuid.uuid4(),
    }
    solutions = {
        OWN: make_solution(partner),
        FOREIGN: make_solution(b),
        MISSING: uuid.uuid4(),
    }
    cases = {"": make_case(bought[COLLEAGUES], at), MISSING: 2**40}
    agreements = {"": make_agreement(former).pk, MISSING: 2**40}
    asked = {
        OWN: make_talk(bought[OWN], people["purchaser"][0], at),
        COLLEAGUES: make_talk(bought[COLLEAGUES], colleague, at),
        ORG: make_talk(bought[ORG], people["billing_admin"][0], at),
        FOREIGN: make_talk(bought[FOREIGN], stranger, at),
    }
    talks = {kind: case.key for kind, (case, _file) in asked.items()} | {MISSING: uuid.uuid4()}
    talk_files = {kind: file for kind, (_case, file) in asked.items()} | {MISSING: uuid.uuid4()}
    cases["talk"] = asked[OWN][0].pk
    workspaces = {
        OWN: workspace_of(people["purchaser"][0], at),
        COLLEAGUES: workspace_of(colleague, at),
        FOREIGN: workspace_of(stranger, at),
        MISSING: uuid.uuid4(),
    }
    templates = {
        PARTNERS: make_template(partner),
        FOREIGN: make_template(former),
        MISSING: uuid.uuid4(),
    }
    group_licenses = {kind: make_group_license(each, at) for kind, each in bought.items()}
    entries = {kind: make_entry(each, at) for kind, each in bought.items()} | {MISSING: 2**40}
    domains = {ORG: domain_of(a), FOREIGN: domain_of(b), MISSING: 2**40}
    webhooks = {
        ORG: webhook_of(people["global_admin"][0], "Hook"),
        FOREIGN: webhook_of(people["other tenant's global admin"][0], f"{CANARY}-hook"),
        MISSING: uuid.uuid4(),
    }
    return World(
        *(a, b, people, purchases, checkouts, changes, offers, cards, setups, trial_cards, bills, jobs),
        *(policy_changes, views, purchasers, requests, groups, notices, runs, group_licenses, entries),
        *(relationships, domains, webhooks, solutions, sessions, cases, agreements, talks, talk_files),
        *(workspaces, templates),
    )


def workspace_of(user: User, at: datetime) -> uuid.UUID:
    """What the user made in a product."""
    with tenant_atomic(user.tenant_id):
        made = Workspace.objects.create(
            tenant_id=user.tenant_id,
            product=product_row(),
            name=f"Workspace of {user.name}",
            maker=user,
            holder=user,
            made_at=at,
        )
    return made.key


def domain_of(tenant: Tenant) -> int:
    with tenant_atomic(tenant.pk):
        found: Domain = Domain.objects.get(tenant=tenant)
    return found.pk


def make_entry(subscription: Subscription, at: datetime) -> int:
    """Something that happened to a purchase, in the audit trail."""
    with tenant_atomic(subscription.tenant_id):
        entry = audit.entry(
            Actor.system(subscription.tenant_id),
            "commerce.subscription.kept",
            at=at,
            target_type="subscription",
            target_id=subscription.key,
            target_label=f"{subscription.tenant.name} purchase",
        )
        entry.save()
    return entry.pk


def make_notice(user: User, at: datetime) -> int:
    """Something that the person was told."""
    facts = {"title": f"Job of {user.name}", "organization": user.tenant.name, "is_done": True, "done": 1}
    with tenant_atomic(user.tenant_id):
        queue_mail(
            "job_finished",
            event_key="told",
            to=[user],
            tenant_id=user.tenant_id,
            context=facts | {"failed": 0, "has_file": False, "link": "/admin/jobs/"},
            at=at,
        )
        notice: OutgoingMail = OutgoingMail.objects.get(event_key=f"job_finished:told:{user.pk}")
    return notice.pk


def make_run(admin: User, at: datetime) -> uuid.UUID:
    """Purchases that were moved to a central subscription, and whose money waits."""
    target = make_subscription(admin.tenant, channel="central")
    with tenant_atomic(admin.tenant_id):
        moved = Centralization.objects.create(
            tenant_id=admin.tenant_id,
            target=target,
            ending="take_over",
            state="waiting",
            refund_at=at,
            tried_at=at,
            moved_at=at,
            money_at=at + timedelta(days=1),
            undo_until=at + timedelta(days=1),
            started_by=admin.name,
        )
    return moved.key


def make_policy_change(admin: User, at: datetime) -> uuid.UUID:
    change = operations.of_category("Teams", "Disabled")
    return operations.change_policies(actor=actor_of(admin, at=at), changes=[change], at=at)[0].key


def make_group(admin: User, at: datetime) -> uuid.UUID:
    return create_group(actor=actor_of(admin, at=at), name=f"{admin.name}'s group", at=at).key


def make_group_license(subscription: Subscription, at: datetime) -> uuid.UUID:
    with tenant_atomic(subscription.tenant_id):
        group = Group.objects.create(tenant_id=subscription.tenant_id, name=f"Group {uuid.uuid4()}")
        made = GroupLicense.objects.create(
            tenant_id=subscription.tenant_id,
            subscription=subscription,
            group=group,
            group_name=group.name,
            assigned_at=at,
            assigned_by="test",
        )
    return made.key


def make_request(user: User, at: datetime) -> uuid.UUID:
    asked = ask_for_licenses(
        actor=actor_of(user, at=at),
        product=product_row("visio-plan-2"),
        user_ids=[user.pk],
        reason=f"{user.name} draws",
        at=at,
    )
    return asked.request.key


def make_solution(partner: Tenant) -> uuid.UUID:
    """What a partner shows beside a product."""
    with tenant_atomic(partner.pk):
        made = Solution.objects.create(
            tenant=partner,
            product=product_row("visio-plan-2"),
            partner_name=partner.name,
            title=f"Of {partner.name}",
            description="Drawings",
            url="https://partner.example/",
            sent_at=now(),
        )
    return made.key


def make_template(partner: Tenant) -> uuid.UUID:
    """What a partner wants its customers' policies to say."""
    with tenant_atomic(partner.pk):
        made = PolicyTemplate.objects.create(
            tenant=partner,
            name=f"Template of {partner.name}",
            said={"default": "Disabled"},
            changed_at=now(),
            changed_by="test",
        )
    return made.key


def make_case(subscription: Subscription, at: datetime) -> int:
    """What an organization asks the vendor's support for."""
    with tenant_atomic(subscription.tenant_id):
        case = SupportCase.objects.create(
            tenant_id=subscription.tenant_id,
            kind="cancel",
            subscription=subscription,
            asked_at=at,
            asked_by="test",
        )
    return case.pk


def make_talk(subscription: Subscription, user: User, at: datetime) -> tuple[SupportCase, uuid.UUID]:
    """What somebody asks support about a purchase, and the file that came with it."""
    with tenant_atomic(subscription.tenant_id):
        case = SupportCase.objects.create(
            tenant_id=subscription.tenant_id,
            kind="question",
            subscription=subscription,
            is_organizations=subscription.is_organizations,
            # The staff's list shows it: it is what the organization wrote to them.
            subject="Where is my report?",
            asked_at=at,
            moved_at=at,
            asked_by_id=user.pk,
            asked_by=user.name,
        )
        message = CaseMessage.objects.create(
            tenant_id=case.tenant_id, case=case, at=at, is_staff=False, author=user.name, text="Where is it?"
        )
        file = CaseFile.objects.create(
            tenant_id=case.tenant_id,
            message=message,
            name="a.txt",
            media_type="text/plain",
            size=1,
            content=b"a",
        )
    return case, file.key


def make_setup(user: User, *, for_trial: bool = False) -> uuid.UUID:
    """A card that was not added after all, perhaps for a trial."""
    key = uuid.uuid4()
    trial = make_checkout(user, plan=plan("visio-plan-1"), at=now()) if for_trial else None
    with tenant_atomic(user.tenant_id):
        if trial is not None:
            Checkout.objects.filter(pk=trial.pk).update(kind=Checkout.Kind.TRIAL)
        CardSetup.objects.create(
            tenant_id=user.tenant_id,
            key=key,
            user=user,
            asked_by_id=user.pk,
            checkout=trial,
            state="abandoned",
            created_at=now(),
            updated_at=now(),
        )
    return key


def make_view(user: User) -> int:
    """A filter that the person keeps."""
    with tenant_atomic(user.tenant_id):
        view = SavedView.objects.create(
            tenant_id=user.tenant_id, user_id=user.pk, name="Mine", query="left=1", created_at=now()
        )
    return view.pk


def make_offer(purchase: uuid.UUID, owner: User, colleague: User, at: datetime) -> HandOver:
    return offer_hand_over(actor=actor_of(owner, at=at), key=purchase, to_user_id=colleague.pk, at=at)


def purchase(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key} for kind, key in world.purchases.items()}


def checkout(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"slug": "power-bi-pro", "key": key} for kind, key in world.checkouts.items()}


def change(world: World) -> dict[str, dict[str, Any]]:
    """A change is the person's who began it, and reached through its purchase alone."""
    return {
        kind: {"key": world.purchases[kind], "checkout": world.changes[kind]} for kind in world.changes
    } | {MISSING: {"key": world.purchases[OWN], "checkout": uuid.uuid4()}}


def bill(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"number": number} for kind, number in world.bills.items()}


def product(world: World) -> dict[str, dict[str, Any]]:
    return {"product": {"slug": "power-bi-pro"}, MISSING: {"slug": "no-such-product"}}


def provider(world: World) -> dict[str, dict[str, Any]]:
    return {MISSING: {"key": "no-such-provider"}}


def token(world: World) -> dict[str, dict[str, Any]]:
    return {MISSING: {"token": "no-such-token"}}


def job(world: World) -> dict[str, dict[str, Any]]:
    """What the purchasers started reaches their own purchases, what the admin started all of them."""
    return {kind: {"key": key} for kind, key in world.jobs.items()}


def purchaser_person(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key} for kind, key in world.purchasers.items()}


def group(world: World) -> dict[str, dict[str, Any]]:
    """A group is the organization's."""
    return {kind: {"key": key} for kind, key in world.groups.items()}


def relationship(world: World) -> dict[str, dict[str, Any]]:
    """A relationship is that of its two organizations."""
    return {kind: {"key": key} for kind, key in world.relationships.items()}


def begun_price(world: World) -> dict[str, dict[str, Any]]:
    """A price is the vendor's, and shown to its staff alone on its own page."""
    found: Price = Price.objects.filter(plan__product__slug="power-bi-pro").earliest("pk")
    return {"begun": {"price_id": found.pk}, MISSING: {"price_id": 2**40}}


def organization(world: World) -> dict[str, dict[str, Any]]:
    """An organization is everybody's of the vendor's staff who may see organizations."""
    return {"customer": {"tenant_id": world.a.pk}, MISSING: {"tenant_id": 2**40}}


def solution(world: World) -> dict[str, dict[str, Any]]:
    """A solution is its partner's alone."""
    return {kind: {"key": key} for kind, key in world.solutions.items()}


def support_case(world: World) -> dict[str, dict[str, Any]]:
    """A case is open to the vendor's staff alone, whosever it is."""
    return {kind: {"case_id": pk} for kind, pk in world.cases.items()}


def talk(world: World) -> dict[str, dict[str, Any]]:
    """A conversation with support: who asked sees it, and of the organization's its admins."""
    return {kind: {"key": key} for kind, key in world.talks.items()}


def talk_file(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key, "file": world.talk_files[kind]} for kind, key in world.talks.items()}


def staffs_file(world: World) -> dict[str, dict[str, Any]]:
    """A file is reached through its case alone."""
    return {
        "talk": {"case_id": world.cases["talk"], "file": world.talk_files[OWN]},
        MISSING: {"case_id": world.cases["talk"], "file": world.talk_files[FOREIGN]},
    }


def agreement(world: World) -> dict[str, dict[str, Any]]:
    """An agreement is open to the vendor's staff alone, whosever it is."""
    return {kind: {"agreement_id": pk} for kind, pk in world.agreements.items()}


def template(world: World) -> dict[str, dict[str, Any]]:
    """A template is its partner's alone."""
    return {kind: {"key": key} for kind, key in world.templates.items()}


def template_and_customer(world: World) -> dict[str, dict[str, Any]]:
    """A customer is found by the relationship that the person was given."""
    actor = world.actor("partner at home")
    assert actor is not None
    served = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=now())
    customer = served[0].relationship_key
    return {
        kind: {"key": key, "customer": uuid.uuid4() if kind == MISSING else customer}
        for kind, key in world.templates.items()
    }


def request_of(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key} for kind, key in world.requests.items()}


def group_license(world: World) -> dict[str, dict[str, Any]]:
    """What a group has of a purchase is reached through the purchase."""
    return {
        kind: {"key": world.purchases[kind], "license": key} for kind, key in world.group_licenses.items()
    } | {MISSING: {"key": world.purchases[OWN], "license": uuid.uuid4()}}


def view(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"view": pk} for kind, pk in world.views.items()}


def offer(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key} for kind, key in world.offers.items()}


def card(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"card": pk} for kind, pk in world.cards.items()}


def setup(world: World) -> dict[str, dict[str, Any]]:
    """A card being added is seen by who adds it."""
    return {kind: {"key": key} for kind, key in world.setups.items()}


def notice(world: World) -> dict[str, dict[str, Any]]:
    """What somebody was told is nobody else's."""
    return {kind: {"notice_id": pk} for kind, pk in world.notices.items()}


def audit_entry(world: World) -> dict[str, dict[str, Any]]:
    """What was written of a purchase: whoever may read of it finds it."""
    return {kind: {"entry_id": pk} for kind, pk in world.entries.items()}


def domain(world: World) -> dict[str, dict[str, Any]]:
    """A domain is the organization's."""
    return {kind: {"domain_id": pk} for kind, pk in world.domains.items()}


def webhook_of(admin: User, name: str) -> uuid.UUID:
    made = register_endpoint(
        actor=actor_of(admin), name=name, url="https://hooks.example/", types=["bill.paid"], at=now()
    )
    return made.endpoint.key


def webhook(world: World) -> dict[str, dict[str, Any]]:
    """A webhook is the organization's."""
    return {kind: {"key": key} for kind, key in world.webhooks.items()}


def run(world: World) -> dict[str, dict[str, Any]]:
    """A run that centralizes is the organization's."""
    return {kind: {"key": key} for kind, key in world.runs.items()}


def policy_change(world: World) -> dict[str, dict[str, Any]]:
    """A change of the policy is the organization's."""
    return {kind: {"key": key} for kind, key in world.policy_changes.items()}


def workspace(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"key": key} for kind, key in world.workspaces.items()}


def workspace_in_product(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"slug": "power-bi-pro", "key": key} for kind, key in world.workspaces.items()}


def trial_card(world: World) -> dict[str, dict[str, Any]]:
    """The card of a new trial is seen by who starts it."""
    return {kind: {"slug": "visio-plan-1", "key": key} for kind, key in world.trial_cards.items()}


def offer_setup(world: World) -> dict[str, dict[str, Any]]:
    """A card being added for an offer is seen by whoever it was offered to, and who adds it."""
    return {
        kind: {"key": world.offers[kind], "setup": world.setups.get(kind, uuid.uuid4())}
        for kind in world.offers
    }


def staff_session(world: World) -> dict[str, Any]:
    """Another one's of the staff."""
    return {kind: {"key": key} for kind, key in world.sessions.items()}


EXAMPLES = {
    "operator:session-enter": staff_session,
    "operator:session-end": staff_session,
    "commerce:offer": offer,
    "commerce:offer-card": offer,
    "commerce:offer-card-setup": offer_setup,
    "commerce:product": product,
    "commerce:buy": product,
    "commerce:trial": product,
    "commerce:trial-card": trial_card,
    "commerce:checkout": checkout,
    "commerce:confirmation": checkout,
    "licensing:app": product,
    "licensing:workspace-make": product,
    "licensing:workspace-share": workspace_in_product,
    "portal:workspace-hand-over": workspace,
    "licensing:request": product,
    "licensing:request-withdraw": request_of,
    "licensing:request-decide": token,
    "portal:request": request_of,
    "licensing:give-back": purchase,
    "directory:switch-off": token,
    "directory:provider-login": provider,
    "directory:provider-callback": provider,
    "portal:policy-product": product,
    "portal:data-policy": product,
    "portal:policy-stop": product,
    "directory:notice": notice,
    "portal:audit-entry": audit_entry,
    "portal:domain": domain,
    "portal:webhook": webhook,
    "portal:policy-undo": policy_change,
    "portal:subscription": purchase,
    "portal:recurring-billing": purchase,
    "portal:seats": purchase,
    "portal:plan": purchase,
    "portal:revoke-change": purchase,
    "portal:pay-change": change,
    "portal:reactivate": purchase,
    "portal:hand-over": purchase,
    "portal:take-over": purchase,
    "portal:ask-to-cancel": purchase,
    "portal:centralization": run,
    "portal:centralization-undo": run,
    "portal:centralization-again": run,
    "portal:support-cancel": purchase,
    "portal:keep": purchase,
    "portal:trial-extend": purchase,
    "portal:trial-keep": purchase,
    "portal:bill": bill,
    "portal:bill-pdf": bill,
    "portal:bill-receipt": bill,
    "portal:bill-pay": bill,
    "portal:bill-correct": bill,
    "portal:card-default": card,
    "portal:card-remove": card,
    "portal:card-setup": setup,
    "portal:card-choose": purchase,
    "portal:cancel": purchase,
    "portal:assign": purchase,
    "portal:unassign": purchase,
    "portal:license-subscription": purchase,
    "portal:license-assign": purchase,
    "portal:give-central": purchase,
    "portal:license-unassign": purchase,
    "portal:license-groups": purchase,
    "portal:license-group": group_license,
    "portal:license-waiting": purchase,
    "portal:unassign-list": purchase,
    "portal:license-unassign-list": purchase,
    "portal:view-delete": view,
    "portal:purchaser-users": purchaser_person,
    "portal:person": purchaser_person,
    "portal:person-disable": purchaser_person,
    "portal:person-enable": purchaser_person,
    "portal:person-delete": purchaser_person,
    "portal:person-roles": purchaser_person,
    "portal:person-sessions": purchaser_person,
    "portal:group": group,
    "portal:group-delete": group,
    "portal:relationship": relationship,
    "portal:relationship-end": relationship,
    "portal:solution-withdraw": solution,
    "portal:fleet-template": template,
    "portal:fleet-edit": template,
    "portal:fleet-delete": template,
    "portal:fleet-apply": template,
    "portal:fleet-export": template,
    "portal:fleet-customer": template_and_customer,
    "operator:organization": organization,
    "operator:product": product,
    "operator:prices": product,
    "operator:product-links": product,
    "operator:price": begun_price,
    "operator:organization-change": organization,
    "operator:case": support_case,
    "operator:case-file": staffs_file,
    "portal:support-ask": purchase,
    "portal:support-case": talk,
    "portal:support-file": talk_file,
    "operator:agreement": agreement,
    "portal:job": job,
    "portal:job-progress": job,
    "portal:job-rows": job,
    "portal:job-file": job,
    "portal:job-cancel": job,
    "portal:job-pause": job,
    "portal:job-resume": job,
}


def whole(answer: Any) -> Any:
    """The answer, read as the server would send it."""
    if not answer.streaming:
        return answer
    return HttpResponse(answer.getvalue(), status=answer.status_code, headers=dict(answer.items()))


def taken_back(client: Client, ask: Callable[[], Any]) -> Any:
    """The answer to a request, whose effects are taken back, also on the browser's cookies."""
    cookies = copy.deepcopy(client.cookies)
    with transaction.atomic():
        answer = whole(ask())
        transaction.set_rollback(True)
    client.cookies = cookies
    return answer


def everything_of(response: Any) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in response.items())
    return f"{headers}\n{response.content.decode(errors='replace')}"


def seen_from(actor: Actor | None, world: World, examples: dict[str, Any]) -> list[tuple[str, Any]]:
    """The examples as they are to somebody: who is at home outside of A finds all of A foreign."""
    if actor is None or actor.tenant_id == world.a.pk:
        return list(examples.items())
    return [
        (FOREIGN if kind in (OWN, COLLEAGUES, ORG) else kind, kwargs)
        for kind, kwargs in examples.items()
        if kind != FOREIGN or actor.tenant_id != world.b.pk
    ]


FORM = re.compile(r"<form\b[^>]*\bmethod=\"?post\"?[^>]*>(.*?)</form>", re.S | re.I)


def problems_of(response: Any, name: str, who: str, actor: Actor | None) -> list[str]:
    """What is wrong with an answer, whatever its status. The vendor's staff have lists over all organizations."""
    found = []
    cache_control = response.get("Cache-Control", "")
    if not ("private" in cache_control and "no-store" in cache_control):
        found.append(f"Cache-Control {cache_control!r}")
    if "Cookie" not in response.get("Vary", ""):
        found.append(f"Vary {response.get('Vary')!r}")
    told = everything_of(response)
    if who in STAFF:
        # Which organizations there are is theirs to know, and nothing inside one.
        told = told.replace(f"{CANARY}-tenant", "")
    if who != "other tenant's global admin" and CANARY.lower() in told.lower():
        found.append("tells something of the other tenant")
    if actor is not None and response.status_code == 200:
        for form in FORM.findall(response.content.decode(errors="replace")):
            if f'name="shown_for_tenant" value="{actor.tenant_id}"' not in form:
                found.append(f"a form without its tenant: {form[:80]!r}")
            if "csrfmiddlewaretoken" not in form:
                found.append(f"a form without its token: {form[:80]!r}")
    return found
