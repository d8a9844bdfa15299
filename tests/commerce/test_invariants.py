"""`manage.py check_invariants`: silent on sound data, and each query finds what it is for (reliability §3)."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from commerce.hooks import Deletion
from commerce.models import Bill, Subscription
from commerce.operations.bills import book_payment, lock_bill
from commerce.operations.dunning import credit_uncollected
from commerce.operations.renewals import renew_due
from config.invariants import INVARIANTS, WrongLogin, violations
from config.kit.actors import Actor
from config.kit.tenancy import atomic, connection, use_login
from licensing.operations.requests import approve_request, ask_for_licenses
from tests.factories import (
    AT,
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

LATER = AT + timedelta(days=32)
FIRST_RENEWAL = "SELECT min(id) FROM commerce_bill WHERE type = 'renewal'"
GAPLESS = "billed periods follow one another without gap or overlap; a reactivation may begin anew"


@pytest.fixture
def sound() -> Subscription:
    """A self-service and a central subscription, renewed once, a license given; nothing wrong anywhere."""
    tenant = make_tenant(name="Contoso")
    make_central_subscription(make_user(tenant, roles=("billing_admin",)))
    subscription = make_self_service_subscription(make_user(tenant), quantity=3)
    renew_due(at=LATER)
    return subscription


def execute(statement: str) -> None:
    """As the owner, with the triggers and checks off that would refuse."""
    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute(statement)


def numbers(at: Any = LATER) -> set[str]:
    return {violation.number for violation in violations(at=at)}


def test_finds_nothing_wrong_with_sound_data(sound: Subscription) -> None:
    assert violations(at=LATER) == []


def test_the_command_is_content_and_says_so(sound: Subscription) -> None:
    said = StringIO()

    call_command("check_invariants", "--only", "I-01", "I-03", "I-19", "I-21", stdout=said)

    assert said.getvalue() == "Every invariant holds (4 numbers checked).\n"


def test_refuses_the_apps_login() -> None:
    with pytest.raises(CommandError, match="sees no rows") as refused:
        call_command("check_invariants", "--login", "default")

    assert refused.value.returncode == 2


def test_refuses_a_worker_that_is_the_app_in_truth(settings: Any) -> None:
    settings.DATABASES = settings.DATABASES | {
        "default": settings.DATABASES["default"] | {"USER": settings.DATABASES["worker"]["USER"]}
    }

    with pytest.raises(WrongLogin):
        violations(at=AT)


def test_refuses_a_number_that_it_does_not_know() -> None:
    with pytest.raises(CommandError, match="No query for I-99"):
        call_command("check_invariants", "--only", "I-99")


def test_the_command_exits_with_1_and_prints_the_row(sound: Subscription) -> None:
    execute(f"UPDATE licensing_assignment SET ended_at = now() WHERE subscription_id = {sound.pk}")
    said = StringIO()

    with pytest.raises(CommandError) as failed:
        call_command("check_invariants", "--only", "I-01", stdout=said)

    assert failed.value.returncode == 1
    assert said.getvalue() == (
        "I-01 the counter of assigned licenses equals the live assignments: "
        f"id={sound.pk}, tenant_id={sound.tenant_id}, assigned=1, live=0\n"
    )


# What can be broken by hand although constraints and triggers stand; those that no hand can break have tests of
# their constraint instead.
@pytest.mark.parametrize(
    ("number", "statement"),
    [
        ("I-01", "UPDATE commerce_subscription SET assigned = 2 WHERE channel = 'self-service'"),
        ("I-05", "UPDATE commerce_subscription SET state = 'deleted', due_at = NULL WHERE assigned > 0"),
        ("I-05", "UPDATE commerce_subscription SET next_quantity = 30, recurring_billing = false"),
        ("I-06", "DELETE FROM commerce_orderline"),
        ("I-06", "DELETE FROM commerce_billline"),
        ("I-07", "DELETE FROM commerce_payment"),
        ("I-08", "DELETE FROM commerce_billline"),
        ("I-08", "UPDATE commerce_subscription SET period_price_minor = period_price_minor + 1"),
        ("I-11", "UPDATE commerce_subscription SET period_index = period_index + 1"),
        ("I-12", "UPDATE commerce_subscription SET period_start = period_start + interval '1 hour'"),
        ("I-12", "UPDATE commerce_subscription SET term_end = term_end + interval '1 day'"),
        ("I-12", "UPDATE commerce_subscription SET due_at = due_at + interval '1 hour'"),
        ("I-13", "UPDATE commerce_subscription SET due_at = due_at - interval '60 days'"),
        (
            "I-14",
            "UPDATE commerce_subscription SET state = 'expired', expired_at = period_start - interval '1 day'",
        ),
        ("I-15", "UPDATE commerce_order SET checkout_id = NULL"),
        (
            "I-18",
            "INSERT INTO commerce_webhookevent (event_id, type, object_id, received_at)"
            " VALUES ('evt_1', 'x', 'pi_1', '2026-01-01')",
        ),
        ("I-19", "UPDATE commerce_billseries SET next_number = next_number + 1"),
        (
            "I-29",
            "INSERT INTO policies_monthspend (tenant_id, user_id, month, currency, spent_minor)"
            " SELECT tenant_id, owner_user_id, '2026-03-01', 'EUR', 1 FROM commerce_subscription"
            " WHERE owner_user_id IS NOT NULL",
        ),
        (
            "I-29",
            "INSERT INTO policies_spend (tenant_id, user_id, cause, month, currency, amount_minor, state, changed_at)"
            " SELECT tenant_id, user_id, key, '2026-03-01', 'EUR', 0, 'reserved', now() FROM commerce_checkout",
        ),
        (
            "I-29",
            "INSERT INTO policies_permit (tenant_id, user_id, key, product_key, seats, sum_minor, currency,"
            " granted_at, granted_by, valid_until, used_at, used_for)"
            " SELECT tenant_id, user_id, key, 'X', 1, 1, 'EUR', now(), '', now(), now(), key FROM commerce_checkout",
        ),
        (
            "I-24",
            "UPDATE directory_user SET status = 'deleted', deleted_at = '2026-03-11'"
            " WHERE id IN (SELECT user_id FROM licensing_assignment)",
        ),
        (
            "I-24",
            "UPDATE directory_user SET status = 'disabled', disabled_at = '2026-03-11'"
            " WHERE id IN (SELECT user_id FROM licensing_assignment)",
        ),
        (
            "I-24",
            "UPDATE directory_user SET status = 'deleted' WHERE id IN (SELECT user_id FROM directory_roleassignment)",
        ),
        ("I-26", "INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)"
         " SELECT tenant_id, id, now(), 'renewed', '', '{}' FROM commerce_subscription"),
    ],
)  # fmt: skip
def test_finds_what_a_hand_has_broken(sound: Subscription, number: str, statement: str) -> None:
    execute(statement)

    assert number in numbers()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE licensing_licenserequest SET state = 'withdrawn', closed_at = now() WHERE state = 'waiting'",
        "UPDATE licensing_licenserequest SET state = 'waiting', closed_at = NULL WHERE state = 'approved'",
        "DELETE FROM licensing_requestedperson",
        "UPDATE licensing_requestedperson SET decided_at = decided_at + interval '1 day' WHERE state = 'given'",
        "UPDATE licensing_requestedperson SET kind = 'spending'",
    ],
)
def test_finds_a_request_and_its_answer_that_disagree(sound: Subscription, statement: str) -> None:
    tenant = sound.tenant
    make_subscription(tenant, quantity=1)
    for name in ("Mike", "Erik"):
        person = make_user(tenant, name=name)
        asked = ask_for_licenses(
            actor=actor_of(person),
            product=product("power-bi-pro"),
            user_ids=[person.pk],
            reason="For the tenders.",
            at=LATER,
        )
    lisa = make_user(tenant, name="Lisa", roles=("license_admin",))
    approve_request(actor=actor_of(lisa), key=asked.request.key, at=LATER)
    assert "I-30" not in numbers()

    execute(statement)

    assert "I-30" in numbers()


def test_a_period_that_was_credited_leaves_no_gap(sound: Subscription) -> None:
    """Of three renewals that nobody charged the owner pays the last; the others are credited at the deletion."""
    at = LATER + timedelta(days=60)
    renew_due(at=at)
    with use_login("worker"), atomic():
        latest = lock_bill(Bill.objects.filter(subscription=sound).latest("period_start").pk)
        book_payment(
            actor=Actor.system(sound.tenant_id),
            bill=latest,
            attempt=None,
            charge_id="ch_by_hand",
            received_at=at,
            at=at,
        )
        credit_uncollected(Deletion([sound.pk], at))

    assert list(credited(sound)) == ["credited", "credited"]
    assert GAPLESS not in rules(at)


def test_finds_a_gap_between_two_periods(sound: Subscription) -> None:
    renew_due(at=LATER + timedelta(days=31))
    execute(f"DELETE FROM commerce_billline WHERE bill_id = ({FIRST_RENEWAL})")
    execute(f"DELETE FROM commerce_bill WHERE id = ({FIRST_RENEWAL})")

    assert GAPLESS in rules(LATER)


def credited(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        rows = Bill.objects.filter(subscription=subscription, type="renewal", paid_minor=0)
        return list(rows.values_list("status", flat=True))


def rules(at: Any) -> set[str]:
    return {violation.rule for violation in violations(at=at, only=["I-11"])}


def test_finds_a_charge_that_waits_and_one_that_is_overdue(sound: Subscription) -> None:
    assert numbers(at=LATER + timedelta(hours=2)) == {"I-13"}
    assert numbers(at=LATER + timedelta(days=40)) == {"I-13"}


def test_finds_a_row_that_points_across_tenants(sound: Subscription) -> None:
    stranger = make_user(make_tenant(name="Fabrikam"))
    execute("ALTER TABLE commerce_subscription DROP CONSTRAINT commerce_subscription_purchaser")
    try:
        execute(f"UPDATE commerce_subscription SET purchaser_id = {stranger.pk} WHERE id = {sound.pk}")
        # As a migration would add it: under forced row-level security, validated against nothing.
        add = (
            "ALTER TABLE commerce_subscription ADD CONSTRAINT commerce_subscription_purchaser"
            " FOREIGN KEY (purchaser_id, tenant_id) REFERENCES directory_user (id, tenant_id) NOT VALID"
        )
        execute(add)

        found = violations(at=LATER, only=["I-03"])
    finally:
        execute(f"UPDATE commerce_subscription SET purchaser_id = NULL WHERE id = {sound.pk}")
        execute("ALTER TABLE commerce_subscription DROP CONSTRAINT IF EXISTS commerce_subscription_purchaser")
        execute(add.removesuffix(" NOT VALID"))

    assert [(each.number, each.row["id"], each.row["purchaser_id"]) for each in found] == [
        ("I-03", sound.pk, stranger.pk)
    ]


def test_finds_a_wall_that_was_taken_down(sound: Subscription) -> None:
    execute("ALTER TABLE commerce_bill NO FORCE ROW LEVEL SECURITY")
    try:
        found = violations(at=LATER, only=["I-21"])
    finally:
        execute("ALTER TABLE commerce_bill FORCE ROW LEVEL SECURITY")

    assert [each.row["problem"] for each in found] == ["commerce_bill has no forced row-level security"]


def test_every_rule_is_said_once() -> None:
    rules = [(invariant.number, invariant.rule) for invariant in INVARIANTS]

    assert len(rules) == len(set(rules))
