"""Adding a card against the real processor peer: every outcome (product §6; architecture §8; F-09, F-12, F-18)."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from commerce.gateways import Declined, Retryable
from commerce.models import Card, CardSetup, Subscription, SubscriptionEvent
from commerce.operations import cards
from commerce.operations.payments import (
    ActionNeeded,
    Pending,
    Saved,
    SetupEnded,
    finish_setup,
    give_up_setup,
    reconcile,
    save_card,
)
from config.invariants import violations
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Tenant, User
from directory.operations.people import disable_user
from directory.permissions import Role
from tests.factories import (
    AT,
    actor_of,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import authenticate, card_token, control, fault

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

SETUPS = "/v1/setup_intents"
WITH_BANK = "pm_card_threeDSecure2Required"
SOON, DAY_LATER = AT + timedelta(minutes=10), AT + timedelta(hours=24)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat", purchaser_since=AT)


def save(user: User, card: str = "pm_card_visa", **facts: Any) -> Any:
    values = {
        "key": uuid.uuid4(),
        "for_organization": False,
        "confirmation_token": card_token(card),
        "at": AT,
    }
    return save_card(actor=actor_of(user), **values | facts)


def cards_of(user: User) -> list[tuple[str, bool]]:
    """Last four and whether it is the default, of each live card."""
    with tenant_atomic(user.tenant_id):
        return list(Card.objects.live().order_by("id").values_list("last4", "is_default"))


def state_of(user: User) -> list[tuple[str, str]]:
    with tenant_atomic(user.tenant_id):
        return list(CardSetup.objects.order_by("id").values_list("state", "decline_code"))


def setup_intents() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control("GET", "objects", kind="setup_intent")["data"]
    return found


def attached(user: User) -> list[str]:
    """The ids of the cards that the processor keeps for its customers, newest first."""
    methods = control("GET", "objects", kind="payment_method")["data"]
    return [method["id"] for method in methods if method["customer"]]


def test_a_good_card_is_kept_and_the_first_is_the_default(pat: User) -> None:
    key = uuid.uuid4()

    outcome = save(pat, key=key)

    assert isinstance(outcome, Saved)
    assert (outcome.card.user_id, outcome.card.last4, outcome.card.is_default) == (pat.pk, "4242", True)
    assert len(outcome.card.fingerprint) == 16
    assert state_of(pat) == [("done", "")]
    assert [intent["usage"] for intent in setup_intents()] == ["off_session"]
    assert setup_intents()[0]["metadata"] == {"tenant": str(pat.tenant_id), "setup": str(key)}
    assert attached(pat) == [outcome.card.processor_id]


def test_the_second_card_leaves_the_default_alone(pat: User) -> None:
    save(pat)

    save(pat, "pm_card_mastercard")

    assert cards_of(pat) == [("4242", True), ("4444", False)]


def test_asking_again_with_the_same_key_is_the_same_card(pat: User) -> None:
    key, token = uuid.uuid4(), card_token()
    first = save(pat, key=key, confirmation_token=token)

    second = save(pat, key=key, confirmation_token=token)
    other_card = save(pat, "pm_card_mastercard", key=key)

    assert first == second == other_card
    assert cards_of(pat) == [("4242", True)]
    assert len(setup_intents()) == 1


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
    ],
)
def test_a_declined_card_is_not_kept_and_says_so_again_when_asked(pat: User, card: str, code: str) -> None:
    key = uuid.uuid4()
    with pytest.raises(Declined) as declined:
        save(pat, card, key=key)

    with pytest.raises(Declined) as again:
        finish_setup(actor=actor_of(pat), key=key, at=AT)

    assert declined.value.decline_code == again.value.decline_code == code
    assert state_of(pat) == [("failed", code)]
    assert cards_of(pat) == []
    assert attached(pat) == []


def test_another_try_after_a_decline_keeps_the_card(pat: User) -> None:
    with pytest.raises(Declined):
        save(pat, "pm_card_visa_chargeDeclined")

    outcome = save(pat)

    assert isinstance(outcome, Saved)
    assert state_of(pat) == [("failed", "generic_decline"), ("done", "")]


def test_the_bank_asks_and_gets_its_answer(pat: User) -> None:
    key = uuid.uuid4()
    asked = save(pat, WITH_BANK, key=key)
    assert isinstance(asked, ActionNeeded)
    assert asked.client_secret == setup_intents()[0]["client_secret"]
    assert finish_setup(actor=actor_of(pat), key=key, at=AT) == asked
    assert cards_of(pat) == []
    authenticate(setup_intents()[0]["id"])

    outcome = finish_setup(actor=actor_of(pat), key=key, at=AT)

    assert isinstance(outcome, Saved)
    assert cards_of(pat) == [("3220", True)]
    assert state_of(pat) == [("done", "")]


def test_a_confirmation_that_fails_keeps_nothing(pat: User) -> None:
    key = uuid.uuid4()
    save(pat, WITH_BANK, key=key)
    authenticate(setup_intents()[0]["id"], succeeds=False)

    with pytest.raises(Declined) as declined:
        finish_setup(actor=actor_of(pat), key=key, at=AT)

    assert declined.value.decline_code == "setup_intent_authentication_failure"
    assert "not confirmed with your bank" in str(declined.value)
    assert cards_of(pat) == []


def test_whoever_enters_another_card_gives_up_the_one_that_waits_for_the_bank(pat: User) -> None:
    key = uuid.uuid4()
    save(pat, WITH_BANK, key=key)

    give_up_setup(actor=actor_of(pat), key=key, at=AT)

    assert state_of(pat) == [("abandoned", "")]
    assert setup_intents()[0]["status"] == "canceled"
    with pytest.raises(SetupEnded):
        finish_setup(actor=actor_of(pat), key=key, at=AT)


def test_a_lost_answer_to_the_creation_is_taken_up_by_the_next_click(pat: User) -> None:
    key, token = uuid.uuid4(), card_token()
    fault("lose_answer", SETUPS, count=3)
    with pytest.raises(Retryable):
        save(pat, key=key, confirmation_token=token)
    assert state_of(pat) == [("open", "")]

    outcome = save(pat, key=key, confirmation_token=token)

    assert isinstance(outcome, Saved)
    assert len(setup_intents()) == 1


@pytest.mark.parametrize("kind", ["lose_answer", "lose_request"])
def test_a_lost_answer_to_the_confirmation_is_settled_by_asking_about_that_id(pat: User, kind: str) -> None:
    key = uuid.uuid4()
    fault(kind, f"{SETUPS}/*/confirm")
    with pytest.raises(Retryable):
        save(pat, key=key)
    assert state_of(pat) == [("confirming", "")]

    outcome = finish_setup(actor=actor_of(pat), key=key, at=AT)

    assert isinstance(outcome, Saved)
    assert len(setup_intents()) == len(attached(pat)) == 1


@pytest.mark.parametrize("path", [SETUPS, f"{SETUPS}/*/confirm"])
def test_the_reconciler_finishes_what_nobody_is_at(pat: User, path: str) -> None:
    fault("lose_answer", path, count=3 if path == SETUPS else 1)
    with pytest.raises(Retryable):
        save(pat)
    assert reconcile(AT + timedelta(seconds=30))["setups"] == 0

    reconcile(SOON)

    assert state_of(pat) == [("done", "")]
    assert cards_of(pat) == [("4242", True)]


def test_a_payer_who_went_away_before_the_confirmation_has_no_card_an_hour_later(pat: User) -> None:
    fault("lose_request", f"{SETUPS}/*/confirm")
    with pytest.raises(Retryable):
        save(pat)

    reconcile(AT + timedelta(hours=1))

    assert state_of(pat) == [("abandoned", "")]
    assert setup_intents()[0]["status"] == "canceled"
    assert cards_of(pat) == []


def test_the_banks_answer_is_found_by_the_reconciler(pat: User) -> None:
    save(pat, WITH_BANK)
    authenticate(setup_intents()[0]["id"])

    reconcile(SOON)

    assert state_of(pat) == [("done", "")]
    assert cards_of(pat) == [("3220", True)]


def test_who_does_not_answer_the_bank_within_a_day_has_no_card(pat: User) -> None:
    save(pat, WITH_BANK)
    reconcile(DAY_LATER - timedelta(minutes=11))
    assert state_of(pat) == [("action", "")]

    reconcile(DAY_LATER)

    assert state_of(pat) == [("abandoned", "")]
    assert setup_intents()[0]["status"] == "canceled"


def by_the_sweep(pat: User, key: uuid.UUID) -> None:
    reconcile(SOON)


def by_their_own_click(pat: User, key: uuid.UUID) -> None:
    with pytest.raises(SetupEnded):
        finish_setup(actor=actor_of(pat), key=key, at=SOON)


@pytest.mark.parametrize("settle", [by_the_sweep, by_their_own_click])
def test_the_card_of_who_was_disabled_while_the_bank_asked_is_not_kept(
    tenant: Tenant, pat: User, settle: Callable[[User, uuid.UUID], None]
) -> None:
    """Product §11, F-22: nothing begins for somebody who left; the cards that they had pay on."""
    save(pat)
    key = uuid.uuid4()
    save(pat, WITH_BANK, key=key)
    authenticate(setup_intents()[0]["id"])
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    disable_user(actor=actor_of(gina), user_id=pat.pk, at=AT)

    settle(pat, key)

    assert state_of(pat) == [("done", ""), ("abandoned", "payer_left")]
    assert cards_of(pat) == [("4242", True)]
    assert len(attached(pat)) == 1
    with tenant_atomic(tenant.pk):
        assert AuditEntry.objects.filter(code="commerce.card.discarded").count() == 1
    assert violations(at=SOON) == []


def test_a_webhook_settles_at_once(pat: User) -> None:
    from commerce.gateways.stripe import Event
    from commerce.operations.payments import store_event

    save(pat, WITH_BANK)
    intent_id = setup_intents()[0]["id"]
    authenticate(intent_id)
    store_event(Event("evt_1", "setup_intent.succeeded", intent_id), at=AT)

    assert reconcile(AT)["events"] == 1

    assert state_of(pat) == [("done", "")]


def test_the_same_card_again_is_one_card_that_is_registered_anew(pat: User) -> None:
    first = save(pat).card

    second = save(pat).card

    assert second.pk == first.pk
    assert second.processor_id != first.processor_id
    assert cards_of(pat) == [("4242", True)]
    assert attached(pat) == [second.processor_id]


def test_the_same_card_is_another_one_for_somebody_else(tenant: Tenant, pat: User) -> None:
    bob = make_user(tenant, purchaser_since=AT)

    save(pat)
    save(bob)

    assert cards_of(pat) == [("4242", True), ("4242", True)]


def test_a_new_card_takes_the_place_of_an_old_one(pat: User) -> None:
    old = save(pat).card
    other = save(pat, "pm_card_amex").card
    paid = make_self_service_subscription(pat, card=old)
    by_default = make_subscription_without_card(pat)
    elsewhere = make_self_service_subscription(pat, card=other)

    new = save(pat, "pm_card_mastercard", replaces=old.pk).card

    with tenant_atomic(pat.tenant_id):
        now = dict(Subscription.objects.values_list("pk", "card_id"))
        assert now == {paid.pk: new.pk, by_default.pk: new.pk, elsewhere.pk: other.pk}
        assert SubscriptionEvent.objects.filter(code="card_changed").count() == 2
    assert cards_of(pat) == [("0005", False), ("4444", True)]
    assert old.processor_id not in attached(pat)


def make_subscription_without_card(user: User) -> Subscription:
    with tenant_atomic(user.tenant_id):
        tenant = Tenant.objects.get(pk=user.tenant_id)
    return make_subscription(tenant, owner=user)


def test_a_new_card_pays_the_one_subscription_for_which_it_was_added(pat: User) -> None:
    old = save(pat).card
    paid = make_self_service_subscription(pat, card=old)
    stays = make_self_service_subscription(pat, card=old)

    new = save(pat, "pm_card_mastercard", subscription=paid.key).card

    with tenant_atomic(pat.tenant_id):
        assert dict(Subscription.objects.values_list("pk", "card_id")) == {paid.pk: new.pk, stays.pk: old.pk}
    assert cards_of(pat) == [("4242", True), ("4444", False)]


def test_an_admin_adds_the_organizations_card(tenant: Tenant, pat: User) -> None:
    bill = make_user(tenant, roles=(Role.BILLING_ADMIN,))

    outcome = save(bill, for_organization=True)

    assert (outcome.card.user_id, outcome.card.is_default) == (None, True)
    with tenant_atomic(tenant.pk):
        assert Card.objects.visible_to(actor_of(pat)).count() == 0
        assert Card.objects.visible_to(actor_of(bill)).get() == outcome.card


@pytest.mark.parametrize("for_organization", [True, False])
@pytest.mark.parametrize("role", [Role.GLOBAL_READER, Role.LICENSE_ADMIN, Role.USER_ADMIN, None])
def test_who_pays_for_nobody_adds_no_card(tenant: Tenant, role: str | None, for_organization: bool) -> None:
    user = make_user(tenant, roles=(role,) if role else ())

    with pytest.raises(NotVisible):
        save(user, for_organization=for_organization)

    assert state_of(user) == []
    assert setup_intents() == []


def test_a_partner_adds_no_card(tenant: Tenant) -> None:
    petra = make_user(make_tenant())
    make_relationship(tenant, _tenant_of(petra), roles=("billing_admin", "global_admin"), users=(petra,))

    for for_organization in (True, False):
        with pytest.raises(NotVisible):
            save_card(
                actor=actor_of(petra, tenant),
                key=uuid.uuid4(),
                for_organization=for_organization,
                confirmation_token=card_token(),
                at=AT,
            )

    assert setup_intents() == []


def _tenant_of(user: User) -> Tenant:
    with tenant_atomic(user.tenant_id):
        return Tenant.objects.get(pk=user.tenant_id)


def test_what_is_another_payers_is_neither_replaced_nor_paid(tenant: Tenant, pat: User) -> None:
    bob = make_user(tenant, purchaser_since=AT)
    bobs = make_self_service_subscription(bob)
    with tenant_atomic(tenant.pk):
        bobs_card = Card.objects.get()

    with pytest.raises(NotVisible):
        save(pat, replaces=bobs_card.pk)
    with pytest.raises(NotVisible):
        save(pat, subscription=bobs.key)

    assert state_of(pat) == []


def test_the_own_card_does_not_replace_the_organizations(tenant: Tenant) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,), purchaser_since=AT)
    organizations = save(gina, for_organization=True).card

    with pytest.raises(Malformed):
        save(gina, "pm_card_mastercard", replaces=organizations.pk)

    assert cards_of(gina) == [("4242", True)]


@pytest.mark.parametrize("token", ["", "x" * 81])
def test_refuses_without_card_details(pat: User, token: str) -> None:
    with pytest.raises(Malformed):
        save(pat, confirmation_token=token)

    assert state_of(pat) == []


def test_another_persons_try_does_not_exist(tenant: Tenant, pat: User) -> None:
    key = uuid.uuid4()
    save(pat, WITH_BANK, key=key)
    bob = make_user(tenant, purchaser_since=AT)
    charlie = make_user(make_tenant(), purchaser_since=AT)

    for other in (bob, charlie):
        with pytest.raises(NotVisible):
            finish_setup(actor=actor_of(other), key=key, at=AT)
        with pytest.raises(NotVisible):
            save(other, key=key)

    assert state_of(pat) == [("action", "")]


def test_what_differs_from_the_row_is_never_kept(pat: User, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from commerce.gateways import stripe

    real = stripe.confirm_setup
    monkeypatch.setattr(
        stripe,
        "confirm_setup",
        lambda *args, **facts: replace(real(*args, **facts), customer_id="cus_another"),
    )

    with pytest.raises(Declined):
        save(pat)

    assert state_of(pat) == [("failed", "mismatch")]
    assert cards_of(pat) == []


def test_the_row_is_committed_before_the_processor_is_called(
    pat: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-09: a second connection sees it at each call."""
    from commerce.gateways import stripe

    seen: list[tuple[str, str, bool]] = []

    def watched(name: str) -> None:
        real = getattr(stripe, name)

        def call(*args: Any, **facts: Any) -> Any:
            with use_login("worker"):
                row = CardSetup.objects.get()
            seen.append((name, row.state, row.intent_id is not None))
            return real(*args, **facts)

        monkeypatch.setattr(stripe, name, call)

    for name in ("create_setup", "confirm_setup"):
        watched(name)

    save(pat)

    assert seen == [("create_setup", "open", False), ("confirm_setup", "confirming", True)]


def test_a_try_only_moves_forward(pat: User) -> None:
    save(pat)

    with tenant_atomic(pat.tenant_id), pytest.raises(IntegrityError):
        CardSetup.objects.update(state="open")


def test_the_audit_trail_names_no_card(pat: User) -> None:
    save(pat)
    save(pat)

    with tenant_atomic(pat.tenant_id):
        told = {
            entry.code: (entry.target_label, entry.after)
            for entry in AuditEntry.objects.filter(target_type="card")
        }
    assert told == {
        "commerce.card.added": ("", {"is_default": True}),
        "commerce.card.renewed": ("", None),
    }


def test_pending_is_said_while_the_processor_gives_no_answer(pat: User) -> None:
    key = uuid.uuid4()
    save(pat, WITH_BANK, key=key)
    fault("lose_answer", f"{SETUPS}/*", method="GET", count=3)

    assert isinstance(finish_setup(actor=actor_of(pat), key=key, at=AT), Pending)


def test_a_renewed_card_is_forgotten_only_when_no_charge_uses_it(pat: User) -> None:
    from tests.commerce.test_charge_bill import billed, charge

    card = save(pat).card
    subscription = make_self_service_subscription(pat, card=card)
    with tenant_atomic(pat.tenant_id):
        subscription = Subscription.objects.select_related("vendor_entity").get(pk=subscription.pk)
    bill = billed(subscription)
    fault("lose_request", "/v1/payment_intents/*/confirm")
    assert charge(bill) == "pending"

    save(pat)
    with use_login("worker"):
        assert cards.detach_removed(SOON) == 0
    assert card.processor_id in attached(pat)

    assert charge(bill) == "paid"
    with use_login("worker"):
        assert cards.detach_removed(SOON) == 1
    assert card.processor_id not in attached(pat)
