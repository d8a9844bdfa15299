"""The cap and the threshold, pure and counted (product §9)."""

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.permissions import Role
from policies.models import MonthSpend, Permit, Spend
from policies.operations.policies import approval_threshold, change_policies, spend_cap
from policies.operations.spending import grant_permit, release, reserve, settle
from policies.queries.spending import Purchase
from policies.spending import Limit, Limits, judge, month_of
from tests.factories import AT, actor_of, make_tenant, make_user

pytestmark = pytest.mark.django_db

CAP = Limits("EUR", cap=Limit(5_000, "person_month"))


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def bill(tenant: Tenant) -> Actor:
    return actor_of(make_user(tenant, roles=(Role.BILLING_ADMIN,), name="Bill Bakker"))


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat")


def purchase(user: User, amount_minor: int, **fields: object) -> Purchase:
    made = Purchase(user.pk, ["NEW", "OLD"], 2, amount_minor, "EUR", "Europe/Amsterdam", uuid.uuid4())
    return replace(made, **fields)  # type: ignore[arg-type]


def counted(user: User) -> tuple[int, list[str]]:
    with tenant_atomic(user.tenant_id):
        spent = sum(MonthSpend.objects.filter(user=user).values_list("spent_minor", flat=True))
        return spent, list(Spend.objects.filter(user=user).order_by("id").values_list("state", flat=True))


@pytest.mark.parametrize(
    ("limits", "spent", "permit", "verdict"),
    [
        (Limits(), 10**9, False, "within"),
        (CAP, 4_000, False, "within"),
        (CAP, 4_001, False, "over_cap"),
        (CAP, 4_001, True, "over_cap"),
        (Limits("EUR", cap=Limit(1_000, "purchase")), 9_000, False, "within"),
        (Limits("EUR", cap=Limit(999, "purchase")), 0, False, "over_cap"),
        (Limits("EUR", threshold=Limit(1_000, "purchase")), 9_000, False, "within"),
        (Limits("EUR", threshold=Limit(999, "purchase")), 0, False, "needs_approval"),
        (Limits("EUR", threshold=Limit(999, "purchase")), 0, True, "within"),
        (Limits("EUR", threshold=Limit(5_000, "person_month")), 4_001, False, "needs_approval"),
        (
            Limits("EUR", cap=Limit(999, "purchase"), threshold=Limit(1, "purchase")),
            0,
            False,
            "over_cap",
        ),
        (Limits("USD", cap=Limit(10**9, "purchase")), 0, False, "over_cap"),
    ],
)
def test_the_cap_refuses_and_an_approval_lifts_the_threshold_alone(
    limits: Limits, spent: int, permit: bool, verdict: str
) -> None:
    judged = judge(limits, amount_minor=1_000, currency="EUR", spent_minor=spent, has_permit=permit)

    assert judged.verdict == verdict


def test_a_month_is_the_calendar_month_in_the_tenants_zone() -> None:
    last_instant_of_march = datetime(2026, 3, 31, 21, 59, tzinfo=UTC)

    assert month_of(last_instant_of_march, "Europe/Amsterdam") == date(2026, 3, 1)
    assert month_of(last_instant_of_march + timedelta(minutes=1), "Europe/Amsterdam") == date(2026, 4, 1)


def test_what_was_reserved_counts_and_what_comes_to_nothing_does_not(bill: Actor, pat: User) -> None:
    change_policies(actor=bill, changes=[spend_cap(CAP.cap, currency="EUR")], at=AT)
    actor = actor_of(pat)
    first, second = purchase(pat, 3_000), purchase(pat, 3_000)

    with tenant_atomic(actor):
        assert reserve(actor=actor, purchase=first, at=AT).verdict == "within"
        assert reserve(actor=actor, purchase=first, at=AT).verdict == "within"
        assert reserve(actor=actor, purchase=second, at=AT).verdict == "over_cap"
    assert counted(pat) == (3_000, ["reserved"])

    with tenant_atomic(actor):
        release(actor=actor, cause=first.cause or uuid.uuid4(), at=AT)
        release(actor=actor, cause=first.cause or uuid.uuid4(), at=AT)
        assert reserve(actor=actor, purchase=second, at=AT).verdict == "within"
        settle(actor=actor, cause=second.cause or uuid.uuid4(), purchase=second, at=AT)
        release(actor=actor, cause=second.cause or uuid.uuid4(), at=AT)
    assert counted(pat) == (3_000, ["released", "spent"])


def test_a_declined_purchase_that_is_tried_again_counts_once(pat: User) -> None:
    actor = actor_of(pat)
    one = purchase(pat, 3_000)

    with tenant_atomic(actor):
        reserve(actor=actor, purchase=one, at=AT)
        release(actor=actor, cause=one.cause or uuid.uuid4(), at=AT)
        reserve(actor=actor, purchase=one, at=AT)

    assert counted(pat) == (3_000, ["reserved"])


def test_a_charge_that_was_never_reserved_is_counted_over_any_limit(bill: Actor, pat: User) -> None:
    change_policies(actor=bill, changes=[spend_cap(Limit(0, "person_month"), currency="EUR")], at=AT)
    one = purchase(pat, 3_000)

    with tenant_atomic(bill):
        settle(actor=actor_of(pat), cause=one.cause or uuid.uuid4(), purchase=one, at=AT)

    assert counted(pat) == (3_000, ["spent"])


def test_another_persons_and_another_months_spending_counts_for_nothing(
    bill: Actor, tenant: Tenant, pat: User
) -> None:
    change_policies(actor=bill, changes=[spend_cap(CAP.cap, currency="EUR")], at=AT)
    other = make_user(tenant)

    with tenant_atomic(tenant.pk):
        reserve(actor=actor_of(other), purchase=purchase(other, 5_000), at=AT)
        reserve(actor=actor_of(pat), purchase=purchase(pat, 5_000), at=AT - timedelta(days=31))
        found = reserve(actor=actor_of(pat), purchase=purchase(pat, 5_000), at=AT)

    assert (found.verdict, found.spent_minor) == ("within", 0)


def grant(bill: Actor, pat: User, **facts: object) -> Permit:
    values = {"product_key": "NEW", "seats": 2, "sum_minor": 3_000, "currency": "EUR", **facts}
    return grant_permit(actor=bill, user_id=pat.pk, at=AT, **values)  # type: ignore[arg-type]


def test_an_approval_is_good_for_one_purchase_and_comes_back_with_what_came_to_nothing(
    bill: Actor, pat: User
) -> None:
    change_policies(actor=bill, changes=[approval_threshold(Limit(1_000, "purchase"), currency="EUR")], at=AT)
    permit = grant(bill, pat)
    actor = actor_of(pat)
    first, second = purchase(pat, 3_000), purchase(pat, 3_000)

    with tenant_atomic(actor):
        assert reserve(actor=actor, purchase=first, at=AT).verdict == "within"
        assert reserve(actor=actor, purchase=second, at=AT).verdict == "needs_approval"
        permit.refresh_from_db()
        assert (permit.used_at, permit.used_for) == (AT, first.cause)
        release(actor=actor, cause=first.cause or uuid.uuid4(), at=AT)
        permit.refresh_from_db()
        assert (permit.used_at, permit.used_for) == (None, None)
        assert reserve(actor=actor, purchase=second, at=AT).verdict == "within"
        assert AuditEntry.objects.filter(code="policies.permit.granted").count() == 1


def test_a_purchase_below_the_threshold_leaves_the_approval(bill: Actor, pat: User) -> None:
    change_policies(actor=bill, changes=[approval_threshold(Limit(1_000, "purchase"), currency="EUR")], at=AT)
    permit = grant(bill, pat)

    with tenant_atomic(bill):
        reserve(actor=actor_of(pat), purchase=purchase(pat, 1_000), at=AT)
        permit.refresh_from_db()

    assert permit.used_at is None


@pytest.mark.parametrize(
    ("facts", "fields", "later"),
    [
        ({"product_key": "OTHER"}, {}, timedelta(0)),
        ({"seats": 1}, {}, timedelta(0)),
        ({"sum_minor": 2_999}, {}, timedelta(0)),
        ({"currency": "USD"}, {}, timedelta(0)),
        ({}, {}, timedelta(days=14)),
    ],
)
def test_an_approval_of_something_else_does_not_help(
    bill: Actor, pat: User, facts: dict[str, object], fields: dict[str, object], later: timedelta
) -> None:
    change_policies(actor=bill, changes=[approval_threshold(Limit(1_000, "purchase"), currency="EUR")], at=AT)
    grant(bill, pat, **facts)

    with tenant_atomic(bill):
        found = reserve(actor=actor_of(pat), purchase=purchase(pat, 3_000, **fields), at=AT + later)

    assert found.verdict == "needs_approval"
    assert counted(pat) == (0, [])


def test_an_approval_of_a_former_id_holds_until_its_last_instant(bill: Actor, pat: User) -> None:
    change_policies(actor=bill, changes=[approval_threshold(Limit(1_000, "purchase"), currency="EUR")], at=AT)
    grant(bill, pat, product_key="OLD")
    last = AT + timedelta(days=14) - timedelta(seconds=1)

    with tenant_atomic(bill):
        assert reserve(actor=actor_of(pat), purchase=purchase(pat, 3_000), at=last).verdict == "within"


@pytest.mark.parametrize(
    ("roles", "error"),
    [((), NotVisible), ((Role.LICENSE_ADMIN,), NotAllowed), ((Role.USER_ADMIN,), NotAllowed)],
)
def test_others_may_not_approve(
    tenant: Tenant, pat: User, roles: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        grant(actor_of(make_user(tenant, roles=roles)), pat)

    with tenant_atomic(tenant.pk):
        assert not Permit.objects.exists()


def test_nobody_of_another_organization_is_approved(bill: Actor) -> None:
    with pytest.raises(NotVisible):
        grant(bill, make_user(make_tenant()))
