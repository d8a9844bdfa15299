"""Requests for licenses: every outcome of asking, answering, withdrawing and lapsing (product §7.5)."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError

from commerce.models import Subscription
from commerce.queries.eligibility import eligibility_for
from config.invariants import violations
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from licensing.models import Assignment, LicenseRequest, RequestedPerson
from licensing.operations import requests as operations
from licensing.operations.assignments import assign_license, unassign_licenses
from licensing.operations.request_sweeps import forget_requests, lapse_requests
from licensing.operations.requests import (
    approve_request,
    approve_spending,
    ask_for_approval,
    ask_for_licenses,
    forward_request,
    reject_request,
    withdraw_request,
)
from policies.models import Permit, PolicyValue
from policies.operations.policies import approval_threshold, change_policies, set_product_policy
from policies.operations.requests import set_request_process
from policies.queries.requests import request_process
from policies.spending import Limit
from tests.factories import (
    actor_of,
    make_checkout,
    make_product,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

REASON = "I report on the tenders."


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", email="bill@contoso.example", roles=("billing_admin",))


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", email="lisa@contoso.example", roles=("license_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike", email="mike@contoso.example")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik", email="erik@contoso.example")


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    """Three central licenses of Power BI Pro."""
    return make_subscription(contoso, quantity=3)


def ask(user: User, at: datetime, *others: User, slug: str = "power-bi-pro") -> LicenseRequest:
    return operations.ask_for_licenses(
        actor=actor_of(user),
        product=product(slug),
        user_ids=[each.pk for each in (user, *others)],
        reason=REASON,
        at=at,
    ).request


def now_of(request: LicenseRequest) -> LicenseRequest:
    with tenant_atomic(request.tenant_id):
        return LicenseRequest.objects.select_related("product").get(pk=request.pk)


def people_of(request: LicenseRequest) -> dict[str, str]:
    with tenant_atomic(request.tenant_id):
        rows = request.people.select_related("user").order_by("user__name")
        return {row.user.name: str(row.state) for row in rows}


def mails_of(tenant: Tenant, kind: str) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(kind=kind).order_by("to_address")
        return [address.split("@")[0] for address in rows.values_list("to_address", flat=True)]


def holders(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = Assignment.objects.live().order_by("user__name")
        return list(rows.values_list("user__name", flat=True))


def codes(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(target_type="license_request").order_by("id")
        return [code.removeprefix("licensing.request.") for code in rows.values_list("code", flat=True)]


@pytest.fixture(autouse=True)
def _all_invariants_hold(at: datetime) -> Iterable[None]:
    yield
    assert violations(at=at, only=["I-01", "I-02", "I-03", "I-30"]) == []


# --- Asking ---------------------------------------------------------------------------------------------------------


def test_a_member_asks_for_oneself_and_a_colleague(
    contoso: Tenant, lisa: User, bill: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at, erik)

    assert (request.state, request.seats, request.reason) == ("waiting", 2, REASON)
    assert (request.amount_minor, request.currency) == (2 * central.unit_price_minor, "EUR")
    assert request.expires_at == at + timedelta(days=60)
    assert people_of(request) == {"Erik": "waiting", "Mike": "waiting"}
    # With free licenses there are, those who give them are asked; the billing admin has nothing to pay.
    assert mails_of(contoso, "request_received") == ["lisa"]
    assert codes(contoso) == ["asked"]


def test_without_a_free_license_those_who_decide_about_money_are_told_too(
    contoso: Tenant, lisa: User, bill: User, gina: User, mike: User, at: datetime
) -> None:
    ask(mike, at)

    assert mails_of(contoso, "request_received") == ["bill", "gina", "lisa"]


def test_asked_again_it_is_the_open_request(contoso: Tenant, lisa: User, mike: User, at: datetime) -> None:
    first = ask(mike, at)

    again = ask_for_licenses(
        actor=actor_of(mike), product=product(), user_ids=[mike.pk], reason="Please", at=at
    )

    assert (again.request, again.is_new) == (first, False)
    assert mails_of(contoso, "request_received") == ["lisa"]


def test_who_has_an_open_request_is_left_out(lisa: User, mike: User, erik: User, at: datetime) -> None:
    ask(mike, at)

    asked = ask_for_licenses(
        actor=actor_of(erik), product=product(), user_ids=[mike.pk, erik.pk], reason=REASON, at=at
    )

    assert (people_of(asked.request), asked.left_out) == ({"Erik": "waiting"}, 1)


def test_what_a_colleague_asked_for_me_is_not_asked_twice(
    lisa: User, mike: User, erik: User, at: datetime
) -> None:
    ask(erik, at, mike)

    with pytest.raises(operations.AlreadyAsked):
        ask(mike, at)


def test_who_has_the_product_needs_no_license(
    lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    assign_license(actor=actor_of(lisa), subscription_key=central.key, user_id=mike.pk, at=at)

    with pytest.raises(operations.HaveLicenses):
        ask(mike, at)


def test_a_member_asks_whatever_stands_against_buying(lisa: User, mike: User, at: datetime) -> None:
    request = ask(mike, at, slug="teams-essential")

    assert request.product.self_service is False


@pytest.mark.parametrize("kind", ["guest", "disabled", "stranger"])
def test_only_active_members_are_asked_for(
    contoso: Tenant, lisa: User, mike: User, at: datetime, kind: str
) -> None:
    other = {
        "guest": lambda: make_user(contoso, kind="guest"),
        "disabled": lambda: make_user(contoso, status="disabled"),
        "stranger": lambda: make_user(make_tenant()),
    }[kind]()

    with pytest.raises(Malformed) as refused:
        ask(mike, at, other)

    assert refused.value.field == "people"
    assert codes(contoso) == []


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_reason_is_needed(contoso: Tenant, lisa: User, mike: User, at: datetime, reason: str) -> None:
    with pytest.raises(Malformed) as refused:
        ask_for_licenses(actor=actor_of(mike), product=product(), user_ids=[mike.pk], reason=reason, at=at)

    assert refused.value.field == "reason"
    assert codes(contoso) == []


@pytest.mark.parametrize("count", [0, 101])
def test_from_one_to_a_hundred_people_are_asked_for(lisa: User, mike: User, at: datetime, count: int) -> None:
    with pytest.raises(Malformed):
        ask_for_licenses(actor=actor_of(mike), product=product(), user_ids=range(count), reason=REASON, at=at)


def test_guests_and_partners_do_not_ask(contoso: Tenant, lisa: User, at: datetime) -> None:
    northwind = make_tenant()
    petra = make_user(northwind)
    make_relationship(contoso, northwind, users=(petra,))
    for actor in (actor_of(make_user(contoso, kind="guest")), actor_of(petra, contoso)):
        with pytest.raises(NotVisible):
            ask_for_licenses(actor=actor, product=product(), user_ids=[lisa.pk], reason=REASON, at=at)


def test_nobody_asks_where_nobody_can_decide(contoso: Tenant, mike: User, at: datetime) -> None:
    make_user(contoso, roles=("global_reader",))
    make_user(contoso, roles=("license_admin",), status="disabled")

    with pytest.raises(operations.NoRequestsHere):
        ask(mike, at)


def test_nobody_asks_where_the_organization_has_its_own_way(
    contoso: Tenant, gina: User, mike: User, at: datetime
) -> None:
    set_request_process(
        actor=actor_of(gina), is_on=False, text="Ask the desk.", url="https://desk.example/", at=at
    )

    with pytest.raises(operations.NoRequestsHere):
        ask(mike, at)


# --- With a free license --------------------------------------------------------------------------------------------


def test_a_license_admin_gives_everybody_a_free_license(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at, erik)

    approve_request(actor=actor_of(lisa), key=request.key, message="Enjoy", at=at)

    after = now_of(request)
    assert (after.state, after.answer, after.message, after.decided_by) == (
        "approved",
        "seats",
        "Enjoy",
        "Lisa",
    )
    assert after.closed_at == at
    assert people_of(request) == {"Erik": "given", "Mike": "given"}
    assert holders(contoso) == ["Erik", "Mike"]
    assert mails_of(contoso, "request_decided") == ["mike"]
    assert mails_of(contoso, "request_given") == ["erik"]
    assert codes(contoso) == ["asked", "approved"]


def test_some_are_given_and_the_others_go_on_waiting(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at, erik)

    approve_request(actor=actor_of(lisa), key=request.key, user_ids=[erik.pk], at=at)
    between = now_of(request).state
    reject_request(actor=actor_of(lisa), key=request.key, message="Not for tenders.", at=at)

    assert between == "waiting"
    assert now_of(request).state == "partly"
    assert people_of(request) == {"Erik": "given", "Mike": "rejected"}
    assert holders(contoso) == ["Erik"]
    assert mails_of(contoso, "request_decided") == ["mike", "mike"]


def test_seats_are_taken_from_central_ones_first_then_from_those_taken_over(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    taken_over = make_subscription(contoso, quantity=1, channel="self-service")
    central = make_subscription(contoso, quantity=1)
    make_subscription(contoso, owner=make_user(contoso), quantity=10)
    request = ask(mike, at, erik)

    approve_request(actor=actor_of(lisa), key=request.key, at=at)

    with tenant_atomic(contoso.pk):
        given = [row.subscription for row in Assignment.objects.order_by("id").select_related("subscription")]
    assert given == [central, taken_over]


def test_all_or_none_when_fewer_are_free(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    make_subscription(contoso, quantity=1)
    request = ask(mike, at, erik)

    with pytest.raises(operations.NotEnoughLicenses) as refused:
        approve_request(actor=actor_of(lisa), key=request.key, at=at)

    assert "1 of the 2" in str(refused.value)
    assert holders(contoso) == []
    assert people_of(request) == {"Erik": "waiting", "Mike": "waiting"}
    assert codes(contoso) == ["asked"]


def test_who_has_got_one_meanwhile_counts_as_answered(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at, erik)
    assign_license(actor=actor_of(lisa), subscription_key=central.key, user_id=erik.pk, at=at)

    approve_request(actor=actor_of(lisa), key=request.key, at=at)

    assert people_of(request) == {"Erik": "held", "Mike": "given"}
    assert now_of(request).state == "approved"
    assert mails_of(contoso, "request_given") == []


def test_nothing_is_given_to_a_disabled_account(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at, erik)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=erik.pk).update(status="disabled")

    with pytest.raises(operations.CannotHold):
        approve_request(actor=actor_of(lisa), key=request.key, at=at)
    approve_request(actor=actor_of(lisa), key=request.key, user_ids=[mike.pk], at=at)

    assert holders(contoso) == ["Mike"]


def test_decided_twice_is_refused_and_gives_nothing_more(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    request = ask(mike, at)
    approve_request(actor=actor_of(lisa), key=request.key, at=at)

    for decide in (
        lambda: approve_request(actor=actor_of(lisa), key=request.key, at=at),
        lambda: reject_request(actor=actor_of(lisa), key=request.key, message="No", at=at),
        lambda: forward_request(actor=actor_of(lisa), key=request.key, at=at),
        lambda: withdraw_request(actor=actor_of(mike), key=request.key, at=at),
    ):
        with pytest.raises(operations.RequestOver):
            decide()

    assert holders(contoso) == ["Mike"]


def test_after_a_license_was_taken_back_it_can_be_asked_for_again(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    first = ask(mike, at)
    approve_request(actor=actor_of(lisa), key=first.key, at=at)
    unassign_licenses(actor=actor_of(lisa), subscription_key=central.key, user_ids=[mike.pk], at=at)

    second = ask(mike, at)

    assert second != first


@pytest.mark.parametrize(
    ("role", "error"), [("billing_admin", NotAllowed), ("global_reader", NotAllowed), ("", NotVisible)]
)
def test_who_may_not_give_licenses_is_refused(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime, role: str, error: type
) -> None:
    request = ask(mike, at)
    other = make_user(contoso, roles=(role,) if role else ())

    for decide in (
        lambda: approve_request(actor=actor_of(other), key=request.key, at=at),
        lambda: forward_request(actor=actor_of(other), key=request.key, at=at),
    ):
        with pytest.raises(error):
            decide()

    assert holders(contoso) == []


def test_another_tenants_admin_finds_no_request(lisa: User, mike: User, at: datetime) -> None:
    request = ask(mike, at)
    charlie = make_user(make_tenant(), roles=("global_admin",))

    for key in (request.key, uuid.uuid4()):
        with pytest.raises(NotVisible):
            approve_request(actor=actor_of(charlie), key=key, at=at)


def test_a_delegated_license_admin_decides(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    northwind = make_tenant()
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,))
    request = ask(mike, at)

    approve_request(actor=actor_of(petra, contoso), key=request.key, at=at)

    assert (holders(contoso), now_of(request).decided_by) == (["Mike"], "Petra")


# --- Rejecting, forwarding, withdrawing -----------------------------------------------------------------------------


def test_rejecting_needs_a_message(contoso: Tenant, lisa: User, mike: User, at: datetime) -> None:
    request = ask(mike, at)

    with pytest.raises(Malformed) as refused:
        reject_request(actor=actor_of(lisa), key=request.key, message=" ", at=at)
    reject_request(actor=actor_of(lisa), key=request.key, message="Use the shared report.", at=at)

    assert refused.value.field == "message"
    assert now_of(request).state == "rejected"
    assert mails_of(contoso, "request_decided") == ["mike"]
    assert codes(contoso) == ["asked", "rejected"]


def test_a_license_admin_forwards_once_to_those_who_decide_about_money(
    contoso: Tenant, lisa: User, bill: User, gina: User, mike: User, at: datetime
) -> None:
    request = ask(mike, at)

    forward_request(actor=actor_of(lisa), key=request.key, at=at)
    with pytest.raises(operations.AlreadyForwarded):
        forward_request(actor=actor_of(lisa), key=request.key, at=at)

    after = now_of(request)
    assert (after.state, after.forwarded_by, after.forwarded_at) == ("forwarded", "Lisa", at)
    assert mails_of(contoso, "request_forwarded") == ["bill", "gina"]
    assert codes(contoso) == ["asked", "forwarded"]


def test_the_requester_withdraws_and_nobody_else(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    request = ask(mike, at, erik)

    for other in (erik, lisa):
        with pytest.raises(NotVisible):
            withdraw_request(actor=actor_of(other), key=request.key, at=at)
    withdraw_request(actor=actor_of(mike), key=request.key, at=at)

    assert now_of(request).state == "withdrawn"
    assert people_of(request) == {"Erik": "closed", "Mike": "closed"}


# --- With money and policy ------------------------------------------------------------------------------------------


def limited(bill: User, at: datetime, minor: int = 1_000) -> None:
    change_policies(
        actor=actor_of(bill),
        changes=[approval_threshold(Limit(minor, "purchase"), currency="EUR")],
        at=at,
    )


def test_a_purchase_above_the_threshold_is_approved_with_its_sum(
    contoso: Tenant, bill: User, lisa: User, mike: User, at: datetime
) -> None:
    checkout = make_checkout(mike, quantity=4, at=at)
    limited(bill, at)

    asked = ask_for_approval(
        actor=actor_of(mike), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
    )
    approve_spending(actor=actor_of(bill), key=asked.request.key, at=at)

    assert (asked.request.seats, asked.request.amount_minor) == (4, checkout.subtotal_minor)
    with tenant_atomic(contoso.pk):
        permit = Permit.objects.get()
    assert (permit.user_id, permit.product_key, permit.seats, permit.sum_minor, permit.valid_until) == (
        mike.pk,
        product().key,
        4,
        checkout.subtotal_minor,
        at + timedelta(days=14),
    )
    assert now_of(asked.request).state == "approved"
    assert people_of(asked.request) == {"Mike": "allowed"}
    assert mails_of(contoso, "request_received") == ["bill"]
    with pytest.raises(operations.NoApprovalNeeded):
        ask_for_approval(
            actor=actor_of(mike), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
        )


def test_a_purchase_within_the_limits_needs_no_approval(bill: User, mike: User, at: datetime) -> None:
    checkout = make_checkout(mike, at=at)

    with pytest.raises(operations.NoApprovalNeeded):
        ask_for_approval(
            actor=actor_of(mike), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
        )


def test_a_colleagues_checkout_is_nobodys_to_ask_about(
    bill: User, mike: User, erik: User, at: datetime
) -> None:
    checkout = make_checkout(mike, at=at)
    limited(bill, at)

    with pytest.raises(NotVisible):
        ask_for_approval(
            actor=actor_of(erik), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
        )


def test_a_purchase_is_refused_only_by_who_may_approve_it(
    contoso: Tenant, bill: User, lisa: User, mike: User, at: datetime
) -> None:
    checkout = make_checkout(mike, at=at)
    limited(bill, at)
    request = ask_for_approval(
        actor=actor_of(mike), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
    ).request

    for decide in (
        lambda: reject_request(actor=actor_of(lisa), key=request.key, message="No", at=at),
        lambda: approve_spending(actor=actor_of(lisa), key=request.key, at=at),
    ):
        with pytest.raises(NotAllowed):
            decide()
    reject_request(actor=actor_of(bill), key=request.key, message="No budget.", at=at)

    assert now_of(request).state == "rejected"
    with tenant_atomic(contoso.pk):
        assert not Permit.objects.exists()


def test_a_purchase_of_several_licenses_is_not_answered_by_a_free_one(
    contoso: Tenant, bill: User, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    checkout = make_checkout(mike, quantity=4, at=at)
    limited(bill, at)
    request = ask_for_approval(
        actor=actor_of(mike), slug="power-bi-pro", checkout=checkout.key, reason=REASON, at=at
    ).request

    with pytest.raises(operations.AsksToBuy):
        approve_request(actor=actor_of(lisa), key=request.key, at=at)

    assert holders(contoso) == []


def test_of_a_request_for_several_the_sum_of_those_who_wait_is_approved(
    contoso: Tenant, bill: User, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    central = make_subscription(contoso, quantity=1)
    request = ask(mike, at, erik)
    approve_request(actor=actor_of(lisa), key=request.key, user_ids=[erik.pk], at=at)

    approve_spending(actor=actor_of(bill), key=request.key, at=at)

    with tenant_atomic(contoso.pk):
        permit = Permit.objects.get()
    assert (permit.seats, permit.sum_minor) == (1, central.unit_price_minor)
    assert people_of(request) == {"Erik": "given", "Mike": "allowed"}


def test_allowing_the_product_changes_the_policy_and_grants_the_request(
    contoso: Tenant, bill: User, lisa: User, mike: User, at: datetime
) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)
    request = ask(mike, at)

    with pytest.raises(NotAllowed):
        operations.allow_product(actor=actor_of(lisa), key=request.key, at=at)
    refused = eligibility_for(actor=actor_of(mike), product=product(), at=at).codes
    operations.allow_product(actor=actor_of(bill), key=request.key, at=at)

    assert refused == ("policy_disabled",)
    assert eligibility_for(actor=actor_of(mike), product=product(), at=at).is_eligible
    assert now_of(request).answer == "policy"


# --- What ends by itself --------------------------------------------------------------------------------------------


def test_a_request_lapses_after_60_days_with_a_mail_once(
    contoso: Tenant, lisa: User, mike: User, at: datetime
) -> None:
    request = ask(mike, at)

    before = lapse_requests(at=at + timedelta(days=60) - timedelta(seconds=1))
    after = [lapse_requests(at=at + timedelta(days=60)) for _ in range(2)]

    assert (before, after) == (0, [1, 0])
    assert now_of(request).state == "lapsed"
    assert people_of(request) == {"Mike": "closed"}
    assert mails_of(contoso, "request_lapsed") == ["mike"]
    assert codes(contoso) == ["asked", "lapsed"]
    ask(mike, at + timedelta(days=60))


def test_what_was_closed_12_months_ago_is_forgotten(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    closed = ask(mike, at)
    withdraw_request(actor=actor_of(mike), key=closed.key, at=at)
    kept = ask(erik, at)

    early = forget_requests(at=at + timedelta(days=364))
    forgotten = forget_requests(at=at + timedelta(days=365))

    assert (early, forgotten) == (0, 1)
    with tenant_atomic(contoso.pk):
        assert list(LicenseRequest.objects.all()) == [kept]
        assert RequestedPerson.objects.count() == 1


# --- The organization's own way -------------------------------------------------------------------------------------


def test_a_global_admin_sets_the_organizations_own_way(contoso: Tenant, gina: User, at: datetime) -> None:
    actor = actor_of(gina)
    set_request_process(actor=actor, is_on=False, text=" Ask the desk. ", url="https://d.example/", at=at)
    set_request_process(actor=actor, is_on=False, text="Ask the desk.", url="https://d.example/", at=at)

    with tenant_atomic(contoso.pk):
        process = request_process(actor=actor)
        audited = AuditEntry.objects.filter(code="policies.request_process.changed").count()
    assert (process.is_on, process.text, process.url) == (False, "Ask the desk.", "https://d.example/")
    assert audited == 1


@pytest.mark.parametrize(
    ("is_on", "text", "url", "field"),
    [
        (False, "", "https://d.example/", "text"),
        (True, "x" * 1001, "", "text"),
        (False, "Ask", "javascript:alert(1)", "url"),
    ],
)
def test_an_own_way_that_says_nothing_is_refused(
    gina: User, at: datetime, is_on: bool, text: str, url: str, field: str
) -> None:
    with pytest.raises(Malformed) as refused:
        set_request_process(actor=actor_of(gina), is_on=is_on, text=text, url=url, at=at)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("role", "error"), [("global_reader", NotAllowed), ("license_admin", NotVisible), ("", NotVisible)]
)
def test_others_do_not_set_it(contoso: Tenant, at: datetime, role: str, error: type) -> None:
    other = make_user(contoso, roles=(role,) if role else ())

    with pytest.raises(error):
        set_request_process(actor=actor_of(other), is_on=True, text="x", url="", at=at)


# --- What the database refuses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE licensing_licenserequest SET state = 'approved'", "licensing_licenserequest_closed"),
        ("UPDATE licensing_licenserequest SET seats = 0", "licensing_licenserequest_sums"),
        ("UPDATE licensing_requestedperson SET state = 'given'", "licensing_requestedperson_given"),
        (
            "INSERT INTO licensing_requestedperson (tenant_id, request_id, user_id, product_id, kind, state,"
            " decided_by) SELECT tenant_id, request_id, user_id, product_id, kind, 'rejected', ''"
            " FROM licensing_requestedperson",
            "licensing_requestedperson_once",
        ),
    ],
)
def test_the_database_refuses(lisa: User, mike: User, at: datetime, change: str, constraint: str) -> None:
    ask(mike, at)

    with pytest.raises(IntegrityError, match=constraint), use_login("worker"), atomic():
        connection().cursor().execute(change)


def test_without_a_price_it_is_asked_without_an_estimate_and_no_purchase_is_approved(
    bill: User, mike: User, at: datetime
) -> None:
    request = ask(mike, at, slug=make_product().slug)

    with pytest.raises(operations.NoPrice):
        approve_spending(actor=actor_of(bill), key=request.key, at=at)

    assert (request.amount_minor, request.currency) == (None, "")
