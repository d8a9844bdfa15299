"""The payer's cards: which is the default, which pays what, removing one (product §6)."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from commerce.models import Card, Subscription, SubscriptionEvent
from commerce.operations.cards import (
    CardExpired,
    CardInUse,
    NothingToPay,
    PaidOnAccount,
    choose_card,
    detach_removed,
    make_default,
    remove_card,
)
from commerce.queries.cards import end_of, wallets
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Tenant, User
from directory.permissions import Role
from tests.commerce.test_charge_bill import billed
from tests.factories import (
    AT,
    actor_of,
    make_card,
    make_central_subscription,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import control, fault

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat", purchaser_since=AT)


def now(card: Card) -> Card:
    with tenant_atomic(card.tenant_id):
        return Card.objects.get(pk=card.pk)


def card_of(subscription: Subscription) -> int | None:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.values_list("card_id", flat=True).get(pk=subscription.pk)


def audit(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(code__contains="card").order_by("id")
        return list(rows.values_list("code", flat=True))


def open_bill(subscription: Subscription) -> Any:
    with tenant_atomic(subscription.tenant_id):
        row = Subscription.objects.select_related("vendor_entity").get(pk=subscription.pk)
    return billed(row)


# --- The default ----------------------------------------------------------------------------------------


def test_another_card_becomes_the_default_and_the_first_stops_being_it(tenant: Tenant, pat: User) -> None:
    first, second = make_card(tenant, pat), make_card(tenant, pat)

    make_default(actor=actor_of(pat), card_id=second.pk, at=AT)
    make_default(actor=actor_of(pat), card_id=second.pk, at=AT)

    assert (now(first).is_default, now(second).is_default) == (False, True)
    assert audit(tenant) == ["commerce.card.made_default"]


def test_an_expired_card_does_not_become_the_default(tenant: Tenant, pat: User) -> None:
    first, over = make_card(tenant, pat), make_card(tenant, pat, expires_year=2026, expires_month=2)

    with pytest.raises(CardExpired):
        make_default(actor=actor_of(pat), card_id=over.pk, at=AT)

    assert now(first).is_default


@pytest.mark.parametrize(("year", "month", "end"), [(2026, 2, (2026, 3)), (2026, 12, (2027, 1))])
def test_a_card_is_valid_to_the_end_of_its_month(
    tenant: Tenant, pat: User, year: int, month: int, end: tuple[int, int]
) -> None:
    card = make_card(tenant, pat, expires_year=year, expires_month=month)

    assert end_of(card, "UTC") == datetime(*end, 1, tzinfo=UTC)


def test_nobody_changes_another_payers_card(tenant: Tenant, pat: User) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    charlie = make_user(make_tenant(), purchaser_since=AT, roles=(Role.GLOBAL_ADMIN,))
    pats, organizations = make_card(tenant, pat), make_card(tenant)
    other = make_card(tenant, pat)

    for user, card in ((gina, pats), (pat, organizations), (charlie, pats), (charlie, organizations)):
        with pytest.raises(NotVisible):
            make_default(actor=actor_of(user), card_id=card.pk, at=AT)
        with pytest.raises(NotVisible):
            remove_card(actor=actor_of(user), card_id=card.pk, move_to=None, at=AT)
    with pytest.raises(NotVisible):
        remove_card(actor=actor_of(pat), card_id=other.pk, move_to=organizations.pk, at=AT)

    assert audit(tenant) == []
    assert now(other).removed_at is None


# --- Which card pays ------------------------------------------------------------------------------------


def test_the_chosen_card_pays_the_subscription(tenant: Tenant, pat: User) -> None:
    first, second = make_card(tenant, pat), make_card(tenant, pat)
    subscription = make_self_service_subscription(pat, card=first)

    choose_card(actor=actor_of(pat), key=subscription.key, card_id=second.pk, at=AT)
    choose_card(actor=actor_of(pat), key=subscription.key, card_id=second.pk, at=AT)

    assert card_of(subscription) == second.pk
    assert audit(tenant) == ["commerce.subscription.card_changed"]
    with tenant_atomic(tenant.pk):
        told = SubscriptionEvent.objects.get(code="card_changed")
    assert (told.actor_label, told.facts) == ("Pat", {})


def test_an_admin_sees_the_purchase_and_may_not_choose_its_card(tenant: Tenant, pat: User) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    subscription = make_self_service_subscription(pat)
    organizations = make_card(tenant)

    with pytest.raises(NotAllowed):
        choose_card(actor=actor_of(gina), key=subscription.key, card_id=organizations.pk, at=AT)

    assert card_of(subscription) != organizations.pk


def test_the_own_card_does_not_pay_what_the_organization_owns(tenant: Tenant) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,), purchaser_since=AT)
    taken_over = make_subscription(tenant, channel="self-service")
    own, organizations = make_card(tenant, gina), make_card(tenant)

    with pytest.raises(Malformed):
        choose_card(actor=actor_of(gina), key=taken_over.key, card_id=own.pk, at=AT)
    choose_card(actor=actor_of(gina), key=taken_over.key, card_id=organizations.pk, at=AT)

    assert card_of(taken_over) == organizations.pk


def test_what_is_on_account_has_no_card(tenant: Tenant) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    central = make_central_subscription(gina)
    card = make_card(tenant)

    with pytest.raises(PaidOnAccount):
        choose_card(actor=actor_of(gina), key=central.key, card_id=card.pk, at=AT)

    assert card_of(central) is None


def test_what_is_deleted_is_paid_by_nothing(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    gone = make_subscription(tenant, owner=pat, state="deleted", due_at=None, deleted_at=AT)

    with pytest.raises(NothingToPay):
        choose_card(actor=actor_of(pat), key=gone.key, card_id=card.pk, at=AT)
    with pytest.raises(NotVisible):
        choose_card(actor=actor_of(pat), key=uuid.uuid4(), card_id=card.pk, at=AT)


def test_a_wallet_says_what_each_card_pays(tenant: Tenant, pat: User) -> None:
    first = make_card(tenant, pat, expires_year=2026, expires_month=3)
    second = make_card(tenant, pat)
    chosen = make_subscription(tenant, owner=pat, card=second)
    by_default = make_subscription(tenant, owner=pat)
    make_subscription(tenant, owner=pat, recurring_billing=False)
    committed = make_subscription(
        tenant, owner=pat, recurring_billing=False, term_end=datetime(2027, 2, 28, 23, tzinfo=UTC)
    )
    billed_one = make_self_service_subscription(pat, card=second)
    bill = open_bill(billed_one)
    make_card(tenant, make_user(tenant))

    with tenant_atomic(tenant.pk):
        (wallet,) = wallets(actor_of(pat))

    one, two = wallet.holdings
    assert (one.card, two.card) == (first, second)
    assert one.subscriptions == [by_default, committed]
    assert two.subscriptions == [chosen, billed_one]
    assert (one.bills, two.bills, wallet.open_bills) == ([], [bill], [bill])
    assert (one.is_expiring, two.is_expiring) == (True, False)
    assert (one.is_free, wallet.uncovered) == (False, [])


def test_a_card_that_ends_before_its_charge_is_marked(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat, expires_year=2026, expires_month=2)
    make_subscription(tenant, owner=pat, card=card)

    with tenant_atomic(tenant.pk):
        (wallet,) = wallets(actor_of(pat))

    assert wallet.holdings[0].is_expiring


def test_without_a_card_what_will_be_charged_is_named(tenant: Tenant) -> None:
    bill = make_user(tenant, roles=(Role.BILLING_ADMIN,))
    taken_over = make_subscription(tenant, channel="self-service")
    make_central_subscription(bill)

    with tenant_atomic(tenant.pk):
        (wallet,) = wallets(actor_of(bill))

    assert wallet.is_organizations
    assert (wallet.holdings, wallet.uncovered) == ([], [taken_over])


# --- Removing -------------------------------------------------------------------------------------------


def test_a_free_card_is_removed_here_and_forgotten_there(tenant: Tenant, pat: User) -> None:
    first, second = make_card(tenant, pat), make_card(tenant, pat)

    remove_card(actor=actor_of(pat), card_id=second.pk, move_to=None, at=AT)

    assert (now(second).removed_at, now(second).detached_at) == (AT, AT)
    assert now(first).is_default
    assert audit(tenant) == ["commerce.card.removed"]
    with pytest.raises(NotVisible):
        remove_card(actor=actor_of(pat), card_id=second.pk, move_to=None, at=AT)


def test_the_latest_of_the_others_becomes_the_default(tenant: Tenant, pat: User) -> None:
    first = make_card(tenant, pat)
    second, over = make_card(tenant, pat), make_card(tenant, pat, expires_year=2026, expires_month=2)

    remove_card(actor=actor_of(pat), card_id=first.pk, move_to=None, at=AT)

    assert (now(second).is_default, now(over).is_default) == (True, False)


def test_a_card_that_pays_a_renewal_is_not_removed(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    subscription = make_subscription(tenant, owner=pat, card=card)

    with pytest.raises(CardInUse) as refused:
        remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)

    assert refused.value.holding.subscriptions == [subscription]
    assert now(card).removed_at is None
    assert audit(tenant) == []


def test_the_default_card_pays_what_has_none(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    make_subscription(tenant, owner=pat)

    with pytest.raises(CardInUse):
        remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)


def test_a_card_that_pays_an_open_bill_is_not_removed(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    subscription = make_self_service_subscription(pat, card=card)
    with tenant_atomic(tenant.pk):
        Subscription.objects.update(recurring_billing=False)
    bill = open_bill(subscription)

    with pytest.raises(CardInUse) as refused:
        remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)

    assert (refused.value.holding.subscriptions, refused.value.holding.bills) == ([], [bill])


def test_a_committed_term_keeps_its_card_although_it_will_not_renew(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    make_subscription(
        tenant,
        owner=pat,
        card=card,
        recurring_billing=False,
        term_end=datetime(2027, 2, 28, 23, tzinfo=UTC),
    )

    with pytest.raises(CardInUse):
        remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)


def test_a_card_with_no_further_charge_is_free(tenant: Tenant, pat: User) -> None:
    card = make_card(tenant, pat)
    make_subscription(tenant, owner=pat, card=card, recurring_billing=False)
    make_subscription(tenant, owner=pat, card=card, state="expired", recurring_billing=False)

    remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)

    assert now(card).removed_at == AT


def test_what_a_card_pays_moves_to_another_as_it_is_removed(tenant: Tenant, pat: User) -> None:
    card, target = make_card(tenant, pat), make_card(tenant, pat)
    chosen = make_self_service_subscription(pat, card=card)
    by_default = make_subscription(tenant, owner=pat)
    open_bill(chosen)

    remove_card(actor=actor_of(pat), card_id=card.pk, move_to=target.pk, at=AT)

    assert card_of(chosen) == card_of(by_default) == target.pk
    assert (now(card).removed_at, now(target).is_default) == (AT, True)


@pytest.mark.parametrize("wrong", ["itself", "expired"])
def test_nothing_is_removed_when_the_other_card_will_not_do(tenant: Tenant, pat: User, wrong: str) -> None:
    card, over = make_card(tenant, pat), make_card(tenant, pat, expires_year=2026, expires_month=2)
    subscription = make_subscription(tenant, owner=pat, card=card)
    target = card if wrong == "itself" else over

    with pytest.raises((Malformed, CardExpired)):
        remove_card(actor=actor_of(pat), card_id=card.pk, move_to=target.pk, at=AT)

    assert now(card).removed_at is None
    assert card_of(subscription) == card.pk


def test_a_removal_stands_while_the_processor_is_away_and_is_finished_later(
    tenant: Tenant, pat: User
) -> None:
    card = make_card(tenant, pat)
    fault("lose_request", "/v1/payment_methods/*/detach", count=3)

    remove_card(actor=actor_of(pat), card_id=card.pk, move_to=None, at=AT)

    assert (now(card).removed_at, now(card).detached_at) == (AT, None)
    with use_login("worker"):
        assert detach_removed(AT) == 1
        assert detach_removed(AT) == 0
    assert now(card).detached_at == AT
    detached = [each for each in control("GET", "requests")["data"] if each["path"].endswith("/detach")]
    assert detached[-1]["path"] == f"/v1/payment_methods/{card.processor_id}/detach"
