"""Every address as every role, on every kind of object (reliability §5).

What is expected comes from the address's rule and the capability table of product §2. Pages whose answer also
hangs on something else have a line in `EXPLICIT`. A new address with arguments needs examples in `EXAMPLES`:
without them its test fails.
"""

import copy
import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

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
from config.kit.access import rule_of
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Domain, Group, OutgoingMail, Tenant, User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.operations.people import create_group
from directory.operations.webhooks import register_endpoint
from directory.permissions import ROLES, Capability
from directory.queries import customers_of
from directory.queries.audit import sees_any
from directory.staff import StaffCapability, staff_grants
from licensing.models import Centralization, GroupLicense, Workspace
from licensing.operations.requests import ask_for_licenses
from policies.models import PolicyTemplate
from policies.operations import policies as operations
from tests.access.counting import counted
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
from tests.tiers import mostly_long

pytestmark = pytest.mark.django_db

CANARY = "ZQ-B"
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

# What a page of one purchase asks over the purchase itself, where its rule alone does not say it.
OVER_THE_OBJECT = {
    "portal:bill-pay": (Capability.SEE_BILLS, Capability.PAY_BILLS),
    "portal:bill-correct": (Capability.SEE_BILLS, Capability.PAY_BILLS),
    "portal:card-choose": (Capability.SEE_PURCHASES, Capability.PAY_BILLS),
    "portal:assign": (Capability.SEE_PURCHASES, Capability.ASSIGN),
    "portal:unassign": (Capability.SEE_PURCHASES, Capability.ASSIGN),
    "portal:license-assign": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "portal:license-unassign": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "portal:license-groups": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "portal:unassign-list": (Capability.SEE_PURCHASES, Capability.ASSIGN),
    "portal:license-unassign-list": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "portal:recurring-billing": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:seats": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:plan": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:revoke-change": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    # The one of the examples is paid by card.
    "portal:reactivate": (Capability.SEE_PURCHASES, Capability.PAY_BILLS),
    "portal:hand-over": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:take-over": (Capability.SEE_PURCHASES, Capability.TAKE_OVER),
    "portal:ask-to-cancel": (Capability.SEE_PURCHASES, Capability.TAKE_OVER),
    "portal:support-cancel": (Capability.SEE_PURCHASES, Capability.ASK_SUPPORT_TO_CANCEL),
    "portal:support-ask": (Capability.SEE_PURCHASES, Capability.OPEN_CASES),
    "portal:keep": (Capability.SEE_PURCHASES, Capability.TAKE_OVER),
    "portal:cancel": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:trial-extend": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "portal:trial-keep": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
}
# What a person may do with an own purchase alone, and nobody with the organization's.
ONLY_OWN = {"portal:hand-over"}


def sees_admin_center(actor: Actor) -> bool:
    return actor.may(Capability.SEE_PURCHASES) or sees_licenses_page(actor) or actor.has_customers


def sees_licenses_page(actor: Actor) -> bool:
    return actor.is_purchaser or bool(actor.scopes(Capability.SEE_LICENSES) & {"org", "all"})


def sees_licenses(actor: Actor, kind: str) -> bool:
    return kind not in (FOREIGN, MISSING) and actor.reaches(
        Capability.SEE_LICENSES, is_own=kind == OWN and actor.is_purchaser, is_org=kind == ORG
    )


def assigns(actor: Actor, kind: str) -> bool | None:
    """None: seen, and not theirs to change."""
    is_theirs = actor.reaches(
        Capability.ASSIGN, is_own=kind == OWN and actor.is_purchaser, is_org=kind == ORG
    )
    return True if is_theirs else None


def sees_job(actor: Actor, kind: str) -> bool:
    """One's own, and what was started with rights over everything by whoever still holds them."""
    sees_all = "all" in actor.scopes(Capability.SEE_PURCHASES)
    return (kind == OWN and actor.is_purchaser) or (kind == ORG and sees_all)


def changes_job(actor: Actor, kind: str) -> bool | None:
    """None: seen, and not theirs to change."""
    if sees_job(actor, kind) and kind == ORG and not actor.roles - {"global_reader"}:
        return None
    return sees_job(actor, kind)


def decides_requests(actor: Actor) -> bool | None:
    """None: seen, and not theirs to decide."""
    may = actor.may(Capability.GIVE_FREE_SEAT) or actor.may(Capability.ANSWER_WITH_MONEY)
    return True if may else None


def sees_talk(actor: Actor, kind: str) -> bool | None:
    """None: seen, and not theirs to write in."""
    is_own, is_org = kind == OWN and actor.is_purchaser, kind == ORG
    if not actor.reaches(Capability.SEE_CASES, is_own=is_own, is_org=is_org):
        return False
    return True if actor.reaches(Capability.OPEN_CASES, is_own=is_own, is_org=is_org) else None


def asks_customers(actor: Actor) -> bool:
    return not actor.is_partner and actor.may(Capability.ASK_RELATIONSHIP)


def compares_customers(actor: Actor, kind: str) -> bool:
    """Whoever acts for one is led to stop first, whatever they ask for."""
    return actor.has_customers and (actor.is_partner or kind in ("", PARTNERS))


def sees_person(actor: Actor, kind: str) -> bool:
    return kind in (OWN, COLLEAGUES)


def manages_group(actor: Actor, kind: str) -> bool | None:
    """None: seen, and not theirs to change."""
    return kind == ORG and (True if actor.may(Capability.MANAGE_MEMBERS) else None)


# Pages whose answer hangs on more than a capability: address -> whether it is there for the person.
EXPLICIT = {
    # Their own alone; of another's, entering leads back to the list.
    "operator:session-enter": lambda actor, kind: True,
    "operator:session-end": lambda actor, kind: False,
    "operator:second-factor": lambda actor, kind: bool(actor.staff_roles),
    "operator:factor-app": lambda actor, kind: bool(actor.staff_roles),
    "operator:factor-passkey": lambda actor, kind: (
        False
    ),  # no browser makes one at an address that is a number
    "operator:organization": lambda actor, kind: (
        kind != MISSING and (True if actor.may(StaffCapability.OPERATE_TENANTS) else None)
    ),
    "portal:card-setup": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "portal:support-case": sees_talk,
    "portal:support-file": lambda actor, kind: sees_talk(actor, kind) is not False,
    # Readers see the pages, and change nothing.
    "portal:policy": lambda actor, kind: True if actor.may(Capability.CHANGE_POLICY) else None,
    "portal:policy-product": lambda actor, kind: (
        kind != MISSING and (True if actor.may(Capability.CHANGE_POLICY) else None)
    ),
    "portal:data-policies": lambda actor, kind: True if actor.may(Capability.CHANGE_DATA_POLICY) else None,
    "portal:data-policy": lambda actor, kind: (
        kind != MISSING and (True if actor.may(Capability.CHANGE_DATA_POLICY) else None)
    ),
    # Whose it is may be seen by whoever has it, and by who sees all; a global admin changes it.
    "portal:workspace-hand-over": lambda actor, kind: (
        (True if actor.may(Capability.CHANGE_DATA_POLICY) else None)
        if (kind in (OWN, COLLEAGUES) and "all" in actor.scopes(Capability.SEE_WORKSPACES))
        or (kind == OWN and actor.is_purchaser)
        else False
    ),
    "licensing:workspace-make": lambda actor, kind: kind != MISSING,
    "licensing:workspace-share": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "portal:index": lambda actor, kind: sees_admin_center(actor),
    "portal:licenses": lambda actor, kind: sees_licenses_page(actor),
    "portal:license-subscription": lambda actor, kind: (
        sees_licenses_page(actor)
        and kind not in (FOREIGN, MISSING)
        and actor.reaches(
            Capability.SEE_LICENSES, is_own=kind == OWN and actor.is_purchaser, is_org=kind == ORG
        )
    ),
    # The users of a person's purchase get licenses of the organization's, from who assigns those.
    "portal:give-central": lambda actor, kind: (
        kind in (OWN, COLLEAGUES)
        and actor.reaches(Capability.SEE_LICENSES, is_own=kind == OWN and actor.is_purchaser, is_org=False)
        and (True if actor.reaches(Capability.ASSIGN, is_own=False, is_org=True) else None)
    ),
    "portal:customers": lambda actor, kind: actor.has_customers or asks_customers(actor),
    "portal:fleet": compares_customers,
    "portal:fleet-new": compares_customers,
    "portal:fleet-template": compares_customers,
    "portal:fleet-edit": compares_customers,
    "portal:fleet-delete": compares_customers,
    "portal:fleet-apply": compares_customers,
    "portal:fleet-export": compares_customers,
    "portal:fleet-customer": compares_customers,
    # Of a partner alone, and of nobody who acts for a customer.
    "portal:solutions": lambda actor, kind: asks_customers(actor) and actor.is_of_partner,
    "portal:solution-withdraw": lambda actor, kind: None if actor.is_of_partner else False,
    "portal:relationship-ask": lambda actor, kind: asks_customers(actor),
    # One page for whoever it is not for, whether it is there or not: never the 404 of what is missing.
    "portal:relationship": lambda actor, kind: None,
    "portal:relationship-end": lambda actor, kind: None,
    "portal:act-for": lambda actor, kind: False,  # without naming a customer
    "portal:stop-acting": lambda actor, kind: actor.has_customers or actor.is_staff,
    "licensing:give-back": lambda actor, kind: False,  # nobody of this world holds a license
    "licensing:app": lambda actor, kind: None if kind != MISSING else False,  # 403 by the license check
    "commerce:offer": lambda actor, kind: kind == OWN and actor.is_purchaser,  # whoever it was offered to
    "commerce:offer-card": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "commerce:offer-card-setup": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "commerce:checkout": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "commerce:trial-card": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "commerce:confirmation": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "portal:pay-change": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "portal:licenses-idle": lambda actor, kind: sees_licenses_page(actor),
    # Whoever sees the licenses sees who waits and which groups have them; who assigns them changes it.
    "portal:license-waiting": lambda actor, kind: (
        kind == ORG and assigns(actor, kind) if sees_licenses(actor, kind) else False
    ),
    "portal:license-group": lambda actor, kind: assigns(actor, kind) if sees_licenses(actor, kind) else False,
    "portal:licenses-by-product": lambda actor, kind: sees_licenses_page(actor),
    "portal:person": sees_person,
    "portal:person-disable": sees_person,
    "portal:person-enable": sees_person,
    "portal:person-delete": sees_person,
    "portal:person-roles": sees_person,
    "portal:person-sessions": sees_person,
    "portal:group": manages_group,
    "portal:audit": lambda actor, kind: sees_any(actor),
    "portal:audit-export": lambda actor, kind: sees_any(actor),
    "portal:audit-entry": lambda actor, kind: (
        kind in (OWN, COLLEAGUES, ORG)
        and (actor.may(Capability.SEE_AUDIT_BILLING) or (kind == OWN and actor.is_purchaser))
    ),
    # Readers and other admins see them, and make none.
    "portal:groups": lambda actor, kind: True if actor.may(Capability.MANAGE_MEMBERS) else None,
    "portal:sign-in-settings": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:identity-provider": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:domains": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:domain": lambda actor, kind: (
        kind == ORG and (True if actor.may(Capability.MANAGE_SETTINGS) else None)
    ),
    "portal:language": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:people-settings": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:purchaser-users": lambda actor, kind: kind in (OWN, COLLEAGUES),
    # The full view's alone; nobody of this world keeps a view but people whose it is.
    "portal:your-products-totals": lambda actor, kind: "all" in actor.scopes(Capability.SEE_PURCHASES),
    "portal:view-save": lambda actor, kind: "all" in actor.scopes(Capability.SEE_PURCHASES),
    "portal:view-delete": lambda actor, kind: False,
    "licensing:request": lambda actor, kind: kind != MISSING,
    "licensing:request-withdraw": lambda actor, kind: kind == OWN and actor.is_purchaser,
    # Readers see the queue and its settings, and decide nothing.
    "portal:request": lambda actor, kind: kind not in (FOREIGN, MISSING) and decides_requests(actor),
    "portal:requests-settings": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:jobs": lambda actor, kind: bool(actor.roles or actor.is_purchaser or actor.has_customers),
    "portal:job": sees_job,
    "portal:job-progress": sees_job,
    "portal:job-rows": sees_job,
    "portal:job-file": lambda actor, kind: False,  # none of the examples has a file
    "portal:job-cancel": changes_job,
    "portal:job-pause": changes_job,
    "portal:job-resume": changes_job,
    "directory:notifications": lambda actor, kind: not actor.is_partner,
    "directory:notices": lambda actor, kind: not actor.is_partner,
    "directory:notice": lambda actor, kind: kind == OWN and actor.is_purchaser,
    "portal:policy-stop": lambda actor, kind: kind != MISSING,
    # A reader sees them and makes none.
    "portal:provisioning": lambda actor, kind: True if actor.may(Capability.MANAGE_SETTINGS) else None,
    "portal:tokens": lambda actor, kind: None if "global_reader" in actor.roles else True,
    "portal:webhooks": lambda actor, kind: None if "global_reader" in actor.roles else True,
    "portal:webhook": lambda actor, kind: kind == ORG and (None if "global_reader" in actor.roles else True),
    "directory:accounts": None,  # GET is everybody's, POST asks for an account of one's own
}

FINE = {200, 302, 303}
# What a page that is the person's may answer to an empty POST.
FINE_POST = FINE | {400, 405, 409, 422, 503}


def expected(name: str, rule: Any, actor: Actor | None, kind: str, method: str) -> set[int]:
    """The statuses that product §2 allows."""
    if name in ("commerce:buy", "commerce:trial") and kind != MISSING and actor is not None:
        # The reasons against buying or trying it, instead of the form (product §3.3).
        return FINE_POST | {403}
    if rule.audience == "public":
        return FINE_POST | {404} if kind == MISSING or method == "POST" else FINE | {405}
    if actor is None:
        return {302}
    if rule.sees and not actor.may(rule.sees):
        # Staff are led to their second factor, by every address that they may see with it.
        return {302} if rule.sees in staff_grants(actor.staff_roles) else {404}
    if rule.may and not actor.may(rule.may):
        return {403}
    if rule.sees and actor.is_staff and method == "POST":
        return {403}
    if name in EXPLICIT:
        return _explicit(name, actor, kind, method)
    over = OVER_THE_OBJECT.get(name, (rule.sees, rule.may))
    if kind:
        is_own, is_org = kind == OWN and actor.is_purchaser, kind == ORG
        sees, may = over
        if kind in (FOREIGN, MISSING) or not actor.reaches(sees, is_own=is_own, is_org=is_org):
            return {404, 405}
        if may and not actor.reaches(may, is_own=is_own, is_org=is_org and name not in ONLY_OWN):
            return {403, 405}
    return FINE_POST


def _explicit(name: str, actor: Actor, kind: str, method: str) -> set[int]:
    rule = EXPLICIT[name]
    if rule is None:
        return FINE if method == "GET" else {404}
    is_there = rule(actor, kind)
    if is_there is None:
        return FINE_POST | {403}
    return FINE_POST if is_there else {404, 405}


def visit(client: Client, method: str, address: str, actor: Actor | None = None) -> Any:
    """One request, whose effects are taken back, also on the browser's cookies. A post names the actor's tenant."""
    cookies = copy.deepcopy(client.cookies)
    posted = {"shown_for_tenant": actor.tenant_id} if actor else {}
    with transaction.atomic():
        response = client.generic(method, address) if method != "POST" else client.post(address, posted)
        if response.streaming:
            # Read as the server would send it.
            response = HttpResponse(
                response.getvalue(), status=response.status_code, headers=dict(response.items())
            )
        transaction.set_rollback(True)
    client.cookies = cookies
    return response


def everything_of(response: Any) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in response.items())
    return f"{headers}\n{response.content.decode(errors='replace')}"


def takes_forms(name: str, callback: Any) -> bool:
    """Not what other programs call, and not the document of the API, which no session concerns."""
    return not getattr(callback, "csrf_exempt", False) and name != "openapi"


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


@pytest.mark.parametrize("who", mostly_long(PEOPLE, but=("anonymous", "global_admin")))
def test_every_address_answers_as_product_2_says(world, who, settings):
    settings.SIGN_INS_PER_MINUTE = 10_000
    settings.SIGN_IN_IS_FRESH = timedelta(days=1)  # however long the walk takes
    settings.SECURITY_CONTACTS = ["https://vendor.test/report"]  # else there is no such page
    actor, client = world.actor(who), world.client(who)
    not_there = Client().get("/no/such/page/").content
    wrong = []
    for name, route, callback in ADDRESSES:
        rule = rule_of(callback)
        examples = EXAMPLES[name](world) if "<" in route else {"": {}}
        for kind, kwargs in seen_from(actor, world, examples):
            address = reverse(name, kwargs=kwargs)
            for method in ("GET", "POST"):
                response = counted(visit(client, method, address, actor), f"pages as {who}")
                allowed = expected(name, rule, actor, kind, method)
                if who in LOST and method == "POST" and takes_forms(name, callback):
                    # Whatever was posted was meant for the customer.
                    allowed = {409}
                line = f"{method} {name} [{kind}] as {who}: {response.status_code}"
                if response.status_code not in allowed:
                    wrong.append(f"{line}, expected one of {sorted(allowed)}")
                if response.status_code == 404 and response.content != not_there:
                    wrong.append(f"{line}, but not the page of what is missing")
                if (
                    actor is None
                    and rule.audience != "public"
                    and "/sign-in/" not in response.get("Location", "")
                ):
                    wrong.append(f"{line}, but not to the sign-in page")
                wrong += [f"{line}, {problem}" for problem in problems_of(response, name, who, actor)]

    assert not wrong, "\n".join(wrong)


def test_every_address_with_arguments_has_examples():
    missing = [name for name, route, _callback in ADDRESSES if "<" in route and name not in EXAMPLES]

    assert missing == []


def test_every_explicit_line_and_example_is_still_an_address():
    names = {name for name, _route, _callback in ADDRESSES}

    assert set(EXAMPLES) | set(EXPLICIT) | set(OVER_THE_OBJECT) <= names


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example is purchase])
@pytest.mark.parametrize("who", ["purchaser", "global_admin", "partner global_admin"])
def test_the_other_tenants_purchase_is_byte_for_byte_what_is_missing(world, name, who):
    client = world.client(who)
    for method in ("GET", "POST"):
        foreign, missing = (
            visit(client, method, reverse(name, args=[world.purchases[kind]]), world.actor(who))
            for kind in (FOREIGN, MISSING)
        )

        assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)
        assert {n: v for n, v in foreign.items() if n != "X-Request-Id"} == dict(missing.items())


@pytest.mark.long
@pytest.mark.parametrize("who", ["member", "purchaser", *ROLES, "partner global_admin"])
def test_another_tenants_relationship_is_byte_for_byte_what_is_missing(world, who):
    """The refusal says how to go on, and so is no 404; it tells nothing of what there is."""
    client, actor = world.client(who), world.actor(who)
    pages = ("portal:relationship", "portal:relationship-end")
    for name, method in [(name, method) for name in pages for method in ("GET", "POST")]:
        foreign, missing = (
            visit(client, method, reverse(name, args=[world.relationships[kind]]), actor)
            for kind in (FOREIGN, MISSING)
        )

        assert foreign.status_code == 403
        assert (foreign.status_code, without_tokens(foreign)) == (
            missing.status_code,
            without_tokens(missing),
        )


@pytest.mark.long
@pytest.mark.parametrize("who", ["member", "global_admin", "partner global_admin", "partner billing_admin"])
def test_no_address_takes_a_form_that_was_shown_for_another_tenant(world, who):
    """One check before every view: whatever the address, nothing of it runs (product §12)."""
    client, wrong = world.client(who), []
    for name, route, callback in ADDRESSES:
        if not takes_forms(name, callback):
            continue
        kwargs = next(iter(EXAMPLES[name](world).values())) if "<" in route else {}
        with transaction.atomic():
            response = client.post(reverse(name, kwargs=kwargs), {"shown_for_tenant": world.b.pk})
            transaction.set_rollback(True)
        if response.status_code != 409 or "Nothing was saved" not in response.text:
            wrong.append(f"{name}: {response.status_code}")

    assert wrong == []


def without_tokens(response: Any) -> str:
    """A page without what is new on each: the form's token and the policy's nonce."""
    return re.sub(r'(name="csrfmiddlewaretoken" value|nonce)="[^"]*"', "", response.content.decode())


def test_without_a_csrf_token_nothing_is_posted(world):
    admin, staff = world.client("global_admin"), world.client("vendor superuser")
    for client in (admin, staff):
        client.handler.enforce_csrf_checks = True
    exempt = {
        *("commerce:stripe-webhook", "directory:switch-off"),
        *("licensing:embed-prompt", "licensing:embed-launcher"),
    }
    for name, route, _callback in ADDRESSES:
        if name not in exempt:
            kwargs = next(iter(EXAMPLES[name](world).values())) if "<" in route else {}
            client = staff if name.startswith("operator:") else admin
            assert visit(client, "POST", reverse(name, kwargs=kwargs)).status_code == 403, name
