"""Every address as every role, on every kind of object (reliability §5).

What is expected comes from the address's rule and the capability table of product §2. Pages whose answer also
hangs on something else have a line in `EXPLICIT`. A new address with arguments needs examples in `world.EXAMPLES`:
without them its test fails.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from config.kit.access import rule_of
from config.kit.actors import Actor
from directory.permissions import ROLES, Capability
from directory.queries.audit import sees_any
from directory.staff import StaffCapability, staff_grants
from tests.access.counting import counted
from tests.access.world import (
    ADDRESSES,
    COLLEAGUES,
    EXAMPLES,
    FOREIGN,
    LOST,
    MISSING,
    ORG,
    OWN,
    PARTNERS,
    PEOPLE,
    READING,
    problems_of,
    purchase,
    seen_from,
    taken_back,
    world,
)
from tests.tiers import mostly_long

pytestmark = pytest.mark.django_db
__all__ = ["world"]  # a fixture

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
    "portal:group-delete": lambda actor, kind: kind == ORG,
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
    """One request, whose effects are taken back. A post names the actor's tenant."""
    posted = {"shown_for_tenant": actor.tenant_id} if actor else {}
    if method == "POST":
        return taken_back(client, lambda: client.post(address, posted))
    return taken_back(client, lambda: client.generic(method, address))


def takes_forms(name: str, callback: Any) -> bool:
    """Not what other programs call, and not the document of the API, which no session concerns."""
    return not getattr(callback, "csrf_exempt", False) and name != "openapi"


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
                is_reading_elsewhere = who == READING and name.startswith("operator:")
                if response.status_code == 404 and response.content != not_there and not is_reading_elsewhere:
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
