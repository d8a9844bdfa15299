"""Trials: every outcome of starting, extending, keeping and ending one (product §3.6; I-12, I-14, F-18)."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from commerce.gateways import Declined
from commerce.models import (
    Bill,
    Card,
    CardSetup,
    Checkout,
    Market,
    Order,
    Subscription,
    SubscriptionEvent,
    Trial,
)
from commerce.operations.cancellations import quote_cancellation
from commerce.operations.checkouts import BillingDetails, NotEligible, PriceChanged, TermsNotAccepted
from commerce.operations.payments import ActionNeeded, Saved, finish_setup, reconcile, save_card
from commerce.operations.recurring import TrialWithoutCard, set_recurring_billing
from commerce.operations.renewals import charge_due, end_trials, expire_due, renew_due
from commerce.operations.trials import (
    Choice,
    NotExtendable,
    TrialOver,
    TrialUsed,
    extend_trial,
    keep_after_trial,
    prepare_trial,
    start_trial_with_card,
    start_trial_without_card,
)
from commerce.queries.quotes import quote_for
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from licensing.models import Assignment
from licensing.queries.entitlements import entitlement_of
from policies.operations.policies import set_product_policy
from tests.factories import (
    AT,
    actor_of,
    make_card,
    make_price,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)
from tests.processor import authenticate, card_token

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# The one is offered without a card, the other is not.
FREE, CARD_ONLY = "visio-plan-1", "power-bi-pro"
BILLING = BillingDetails(
    name="Pat Mulder", street="Herengracht 2", postal_code="1015 BA", city="Amsterdam", country="NL"
)
# Started 10 March 2026 in Amsterdam: the day of starting counts, the last day is 8 April.
ENDS = datetime(2026, 4, 8, 22, 0, tzinfo=UTC)
EXTENDED = datetime(2026, 5, 8, 22, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LATE = ENDS - timedelta(days=10)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Mulder")


def choice(quantity: int = 5, *, slug: str = FREE, code: str = "monthly", **facts: Any) -> Choice:
    """What is tried, with the total that a page would have shown."""
    chosen = plan(slug, code)
    total = 0
    if 1 <= quantity <= 25:
        with use_login("worker"):
            market = Market.objects.get(pk="NL")
            total = quote_for(
                plan=chosen, quantity=quantity, market=market, time_zone="Europe/Amsterdam", at=AT
            ).total_minor
    return Choice(chosen.product, chosen, quantity, **{"seen_total_minor": total} | facts)


def acting(user: User) -> Actor:
    """As the middleware builds it: a first trial has opened the limited view since."""
    with tenant_atomic(user.tenant_id):
        return actor_of(User.objects.get(pk=user.pk))


def start_free(user: User, quantity: int = 5, *, at: datetime = AT, **facts: Any) -> Subscription:
    values = {"choice": choice(quantity), "agrees_to_terms": True}
    return start_trial_without_card(actor=acting(user), **values | facts, at=at)


def start_carded(user: User, quantity: int = 5, *, at: datetime = AT, **facts: Any) -> Subscription:
    """With a card that the person has; the processor is not asked."""
    with tenant_atomic(user.tenant_id):
        card = Card.objects.live().filter(user=user).first()
    values = {
        "choice": choice(quantity),
        "card_id": (card or make_card(user.tenant, user)).pk,
        "billing": BILLING,
        "agrees_to_terms": True,
    }
    return start_trial_with_card(actor=acting(user), **values | facts, at=at)


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.select_related("trial").get(pk=subscription.pk)


def codes(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        events = SubscriptionEvent.objects.filter(subscription=subscription)
        return list(events.exclude(code="license_assigned").order_by("id").values_list("code", flat=True))


def mails(kind: str) -> list[OutgoingMail]:
    with use_login("worker"):
        return list(OutgoingMail.objects.filter(kind=kind).order_by("id"))


def counts() -> tuple[int, int, int]:
    with use_login("worker"):
        return Trial.objects.count(), Subscription.objects.count(), Order.objects.count()


# --- Starting -----------------------------------------------------------------------------------------------


def test_a_trial_without_a_card_runs_thirty_days_and_gives_the_first_license(pat: User) -> None:
    subscription = start_free(pat)

    assert (subscription.channel, subscription.state, subscription.recurring_billing) == (
        "trial",
        "active",
        False,
    )
    assert (subscription.quantity, subscription.card_id, subscription.owner_user_id) == (5, None, pat.pk)
    assert subscription.period_end == subscription.term_end == subscription.due_at == ENDS
    after = fresh(subscription)
    assert (after.trial.kind, after.trial.ends_at, after.trial.user_id) == ("free", ENDS, pat.pk)
    assert codes(subscription) == ["trial_started"]
    with use_login("worker"):
        assert Bill.objects.count() == 0
        order = Order.objects.get()
        assert (order.type, order.lines.get().amount_minor) == ("trial", 0)
        assert Assignment.objects.live().get().user_id == pat.pk
        assert User.objects.get(pk=pat.pk).purchaser_since == AT
        assert AuditEntry.objects.filter(code="commerce.subscription.trial_started").count() == 1
    with tenant_atomic(pat.tenant_id):
        held = entitlement_of(user_id=pat.pk, product=product(FREE))
    assert held is not None
    assert held.subscription.pk == subscription.pk
    assert violations(at=AT) == []


def test_a_trial_with_a_card_turns_paid_unless_it_is_switched_off(pat: User) -> None:
    subscription = start_carded(pat)

    assert (subscription.channel, subscription.recurring_billing) == ("trial", True)
    assert subscription.card is not None
    assert fresh(subscription).trial.kind == "card"
    (told,) = mails("trial_started")
    message = message_of(told)
    assert message.subject == "Your trial of Visio Plan 1 runs until 8 Apr 2026"
    total = choice().seen_total_minor
    assert f"€{total / 100:.2f}" in message.body
    assert "9 Apr 2026" in message.body
    assert violations(at=AT) == []


@pytest.mark.parametrize("quantity", [0, 26, -1])
def test_refuses_another_number_than_1_to_25(pat: User, quantity: int) -> None:
    with pytest.raises(Malformed) as refused:
        start_free(pat, quantity)

    assert refused.value.field == "quantity"
    assert counts() == (0, 0, 0)


def test_refuses_a_product_that_offers_none_without_a_card(pat: User) -> None:
    with pytest.raises(NotEligible) as refused:
        start_free(pat, choice=choice(slug=CARD_ONLY))

    assert refused.value.eligibility.codes == ("no_free_trial",)
    assert counts() == (0, 0, 0)


def test_one_trial_for_each_person_and_product_whatever_its_kind(pat: User, contoso: Tenant) -> None:
    start_free(pat)

    with pytest.raises(NotEligible) as refused:
        start_carded(pat)
    other_product = start_carded(pat, choice=choice(slug=CARD_ONLY))
    colleague = start_free(make_user(contoso))

    assert refused.value.eligibility.codes == ("trial_used",)
    assert (other_product.product.slug, colleague.channel) == (CARD_ONLY, "trial")
    assert counts() == (3, 3, 3)


def test_who_bought_it_before_may_still_try_it(pat: User) -> None:
    make_self_service_subscription(pat, plan=plan(CARD_ONLY), at=AT)

    assert start_carded(pat, choice=choice(slug=CARD_ONLY)).channel == "trial"


@pytest.mark.parametrize(
    ("value", "free", "carded"),
    [
        ("Enabled", (), ()),
        ("OnlyTrialsWithoutPaymentMethod", (), ("policy_trials_only",)),
        ("Disabled", ("policy_disabled",), ("policy_disabled",)),
    ],
)
def test_the_organizations_policy_decides_which_kind_may_start(
    pat: User, contoso: Tenant, value: str, free: tuple[str, ...], carded: tuple[str, ...]
) -> None:
    admin = make_user(contoso, roles=("global_admin",))
    set_product_policy(actor=actor_of(admin), product_keys=[product(FREE).key], value=value, at=AT)
    refused: list[tuple[str, ...]] = []

    for start, user in ((start_free, pat), (start_carded, make_user(contoso))):
        try:
            start(user)
        except NotEligible as error:
            refused.append(error.eligibility.codes)
        else:
            refused.append(())

    assert refused == [free, carded]


@pytest.mark.parametrize(
    ("tenant", "person", "code"),
    [
        ({"kind": "government"}, {}, "government"),
        ({"kind": "education"}, {}, "education"),
        ({"country": "IN"}, {}, "market_closed"),
        ({"standing": "suspended"}, {}, "tenant_suspended"),
        ({"is_managed": False}, {}, "tenant_unmanaged"),
        ({}, {"kind": "guest"}, "guest"),
    ],
)
def test_who_may_not_buy_may_not_try(tenant: dict[str, Any], person: dict[str, Any], code: str) -> None:
    user = make_user(make_tenant(**tenant), **person)

    with pytest.raises(NotEligible) as refused:
        start_free(user)

    assert code in refused.value.eligibility.codes
    assert counts() == (0, 0, 0)


def test_a_partner_starts_none_for_a_customer(contoso: Tenant) -> None:
    partner = make_tenant()
    petra = make_user(partner)
    make_relationship(contoso, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(NotVisible):
        start_trial_without_card(actor=actor_of(petra, contoso), choice=choice(), agrees_to_terms=True, at=AT)

    assert counts() == (0, 0, 0)


def test_refuses_without_consent_another_sum_and_anothers_card(pat: User, contoso: Tenant) -> None:
    other = make_card(contoso, make_user(contoso))

    for facts, error in (
        ({"agrees_to_terms": False}, TermsNotAccepted),
        ({"choice": choice(seen_total_minor=1)}, PriceChanged),
        ({"card_id": other.pk}, Malformed),
    ):
        with pytest.raises(error):
            start_carded(pat, **facts)

    assert counts() == (0, 0, 0)


def test_two_tabs_at_once_start_one_trial(pat: User) -> None:
    """F-18: many real connections; the unique constraint is what stands behind the lock."""
    together = Barrier(8)
    chosen = choice()

    def start(_: int) -> str:
        try:
            together.wait()
            start_free(pat, choice=chosen)
        except (NotEligible, TrialUsed):
            return "refused"
        else:
            return "started"
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(start, range(8)))

    assert outcomes == ["refused"] * 7 + ["started"]
    assert counts() == (1, 1, 1)
    assert violations(at=AT) == []


def test_the_database_refuses_a_second_trial_that_slipped_past_every_check(
    pat: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_free(pat)
    monkeypatch.setattr("commerce.operations.trials.starting.require_eligible", lambda *_: None)

    with pytest.raises(TrialUsed):
        start_free(pat)

    assert counts() == (1, 1, 1)


# --- With a new card, kept by the processor -----------------------------------------------------------------


def prepared(user: User, card: str = "pm_card_visa", **facts: Any) -> tuple[uuid.UUID, Any]:
    """What the page does: write down what is agreed to, then keep the card."""
    key = uuid.uuid4()
    actor = acting(user)
    values = {"choice": choice(), "billing": BILLING, "agrees_to_terms": True, "at": AT}
    prepare_trial(actor=actor, key=key, **values | facts)
    return key, save_card(
        actor=actor,
        key=key,
        for_organization=False,
        confirmation_token=card_token(card),
        checkout=key,
        at=AT,
    )


@pytest.mark.usefixtures("empty_processor")
def test_a_new_card_is_kept_and_the_trial_starts_in_the_same_moment(pat: User) -> None:
    key, outcome = prepared(pat)

    assert isinstance(outcome, Saved)
    with tenant_atomic(pat.tenant_id):
        checkout = Checkout.objects.select_related("order").get(key=key)
        subscription = Subscription.objects.get()
    assert (checkout.state, checkout.order.type) == ("paid", "trial")
    assert (subscription.channel, subscription.card_id) == ("trial", outcome.card.pk)
    assert (subscription.recurring_billing, subscription.period_end) == (True, ENDS)
    assert violations(at=AT) == []


@pytest.mark.usefixtures("empty_processor")
def test_the_bank_may_ask_first_and_nothing_starts_before_it_agrees(pat: User) -> None:
    key, outcome = prepared(pat, "pm_card_threeDSecure2Required")
    assert isinstance(outcome, ActionNeeded)
    assert counts() == (0, 0, 0)
    with tenant_atomic(pat.tenant_id):
        intent = CardSetup.objects.get(key=key).intent_id
    authenticate(str(intent))

    done = finish_setup(actor=acting(pat), key=key, at=AT)
    again = finish_setup(actor=acting(pat), key=key, at=AT)

    assert isinstance(done, Saved)
    assert done == again
    assert counts() == (1, 1, 1)


@pytest.mark.usefixtures("empty_processor")
def test_a_declined_card_starts_nothing(pat: User) -> None:
    with pytest.raises(Declined):
        prepared(pat, "pm_card_visa_chargeDeclined")

    assert counts() == (0, 0, 0)
    with tenant_atomic(pat.tenant_id):
        assert Card.objects.count() == 0


@pytest.mark.usefixtures("empty_processor")
def test_what_is_no_longer_allowed_when_the_card_is_kept_does_not_start_and_says_why(
    pat: User, contoso: Tenant
) -> None:
    admin = make_user(contoso, roles=("global_admin",))
    key = uuid.uuid4()
    actor = acting(pat)
    prepare_trial(actor=actor, key=key, choice=choice(), billing=BILLING, agrees_to_terms=True, at=AT)
    set_product_policy(actor=actor_of(admin), product_keys=[product(FREE).key], value="Disabled", at=AT)

    save_card(
        actor=actor, key=key, for_organization=False, confirmation_token=card_token(), checkout=key, at=AT
    )

    assert counts() == (0, 0, 0)
    with tenant_atomic(pat.tenant_id):
        checkout = Checkout.objects.get(key=key)
    assert (checkout.state, checkout.last_error) == ("abandoned", "not_eligible")
    assert violations(at=AT) == []


# --- Extending ----------------------------------------------------------------------------------------------


def extend(user: User, subscription: Subscription, *, at: datetime = LATE, **facts: Any) -> Subscription:
    values = {"version": fresh(subscription).version}
    return extend_trial(actor=acting(user), key=subscription.key, **values | facts, at=at)


def test_extends_once_by_thirty_days_in_the_last_fifteen(pat: User) -> None:
    subscription = start_carded(pat)
    for too_soon in (AT, ENDS - timedelta(days=15, seconds=1)):
        with pytest.raises(NotExtendable):
            extend(pat, subscription, at=too_soon)

    extended = extend(pat, subscription, at=ENDS - timedelta(days=15))
    with pytest.raises(NotExtendable):
        extend(pat, subscription, at=EXTENDED - DAY)

    assert extended.period_end == extended.due_at == extended.term_end == EXTENDED
    assert fresh(subscription).trial.ends_at == EXTENDED
    assert codes(subscription) == ["trial_started", "trial_extended"]
    assert end_trials(at=ENDS + DAY).moved == 0
    assert violations(at=AT) == []


def test_extending_needs_the_page_of_now_the_owner_and_a_running_trial(pat: User, contoso: Tenant) -> None:
    subscription = start_free(pat)
    admin = make_user(contoso, roles=("global_admin",))

    for user, facts, error in (
        (pat, {"version": 99}, Conflict),
        (make_user(contoso), {}, NotVisible),
        (admin, {}, DomainError),
        (make_user(make_tenant(), roles=("global_admin",)), {}, NotVisible),
        (pat, {"at": ENDS}, NotExtendable),
    ):
        with pytest.raises(error):
            extend(user, subscription, **facts)

    assert codes(subscription) == ["trial_started"]
    assert fresh(subscription).period_end == ENDS


def test_an_organization_that_blocks_the_product_stops_extensions_too(pat: User, contoso: Tenant) -> None:
    subscription = start_free(pat)
    admin = make_user(contoso, roles=("global_admin",))
    set_product_policy(actor=actor_of(admin), product_keys=[product(FREE).key], value="Disabled", at=AT)

    with pytest.raises(NotEligible):
        extend(pat, subscription)

    assert fresh(subscription).period_end == ENDS


# --- Keeping it ---------------------------------------------------------------------------------------------


def keep(user: User, subscription: Subscription, *, at: datetime = LATE, **facts: Any) -> Subscription:
    with tenant_atomic(user.tenant_id):
        card = Card.objects.live().filter(user=user).first()
    values = {
        "version": fresh(subscription).version,
        "plan": plan(FREE, "yearly"),
        "card_id": (card or make_card(user.tenant, user)).pk,
        "billing": BILLING,
        "agrees_to_terms": True,
        "seen_total_minor": choice(code="yearly").seen_total_minor,
    }
    return keep_after_trial(actor=acting(user), key=subscription.key, **values | facts, at=at)


def test_a_trial_without_a_card_can_be_kept_and_turns_paid_at_its_end(pat: User) -> None:
    subscription = start_free(pat)

    kept = keep(pat, subscription)

    assert (kept.recurring_billing, kept.channel, kept.period_end) == (True, "trial", ENDS)
    assert (kept.term_months, kept.billing_months) == (12, 12)
    with use_login("worker"):
        assert Bill.objects.count() == 0
    assert end_trials(at=ENDS).moved == 1
    after = fresh(subscription)
    assert (after.channel, after.term_end) == ("self-service", datetime(2027, 4, 8, 22, 0, tzinfo=UTC))
    with use_login("worker"):
        assert Bill.objects.get().total_minor == choice(code="yearly").seen_total_minor
    assert violations(at=ENDS) == []


def test_keeping_is_refused_where_buying_is_and_when_it_is_over(pat: User, contoso: Tenant) -> None:
    subscription = start_free(pat)
    admin = make_user(contoso, roles=("global_admin",))
    for facts, error in (
        ({"seen_total_minor": 1}, PriceChanged),
        ({"agrees_to_terms": False}, TermsNotAccepted),
        ({"card_id": 2**40}, Malformed),
        ({"plan": plan(CARD_ONLY)}, Malformed),
        ({"version": 99}, Conflict),
        ({"at": ENDS}, TrialOver),
    ):
        with pytest.raises(error):
            keep(pat, subscription, **facts)
    set_product_policy(
        actor=actor_of(admin),
        product_keys=[product(FREE).key],
        value="OnlyTrialsWithoutPaymentMethod",
        at=AT,
    )

    with pytest.raises(NotEligible) as refused:
        keep(pat, subscription)

    assert refused.value.eligibility.codes == ("policy_trials_only",)
    assert (fresh(subscription).trial.kind, fresh(subscription).recurring_billing) == ("free", False)


def test_a_trial_without_a_card_is_not_made_to_renew_by_the_switch_alone(pat: User) -> None:
    subscription = start_free(pat)

    with pytest.raises(TrialWithoutCard):
        set_recurring_billing(
            actor=acting(pat), key=subscription.key, on=True, version=subscription.version, at=AT
        )

    assert fresh(subscription).recurring_billing is False


# --- The end ------------------------------------------------------------------------------------------------


def test_a_trial_without_a_card_ends_into_disabled_and_later_into_deleted(pat: User) -> None:
    subscription = start_free(pat)

    assert end_trials(at=ENDS - timedelta(microseconds=1)).moved == 0
    assert end_trials(at=ENDS + DAY).moved == 1
    assert end_trials(at=ENDS + DAY).moved == 0

    after = fresh(subscription)
    assert (after.state, after.disabled_reason, after.channel) == ("disabled", "trial_over", "trial")
    assert (after.disabled_at, after.trial.ended_at, after.trial.converted_at) == (ENDS, ENDS, None)
    assert after.assigned == 1
    assert codes(subscription) == ["trial_started", "trial_ended"]
    with tenant_atomic(pat.tenant_id):
        held = entitlement_of(user_id=pat.pk, product=product(FREE))
    assert held is None or held.subscription.state == "disabled"
    (told,) = mails("trial_ended")
    assert told.to_user_id == pat.pk
    message = message_of(told)
    assert "8 Apr 2026" in message.body
    assert "Nothing was charged." in message.body
    assert violations(at=ENDS + DAY) == []
    assert expire_due(at=after.due_at + DAY).moved == 1
    assert fresh(subscription).state == "deleted"
    assert violations(at=after.due_at + DAY) == []


def test_a_trial_with_a_card_becomes_a_subscription_with_one_bill(pat: User) -> None:
    subscription = start_carded(pat)
    at = ENDS + timedelta(hours=3)

    first, second = end_trials(at=at), end_trials(at=at)

    assert (first.moved, second.moved) == (1, 0)
    after = fresh(subscription)
    next_end = datetime(2026, 5, 8, 22, 0, tzinfo=UTC)
    assert (after.channel, after.state, after.recurring_billing) == ("self-service", "active", True)
    assert (str(after.anchor_date), after.period_index, after.offset_months) == ("2026-04-09", 0, 0)
    assert (after.period_start, after.period_end, after.due_at, after.term_end) == (
        ENDS,
        next_end,
        next_end,
        next_end,
    )
    assert after.trial.converted_at == at
    with use_login("worker"):
        bill = Bill.objects.get()
    assert (bill.type, bill.status, bill.collection, bill.payer_id) == (
        "trial_conversion",
        "open",
        "card",
        pat.pk,
    )
    assert (bill.total_minor, bill.charge_due_at) == (choice().seen_total_minor, at)
    assert codes(subscription) == ["trial_started", "trial_converted"]
    assert violations(at=at) == []
    assert renew_due(at=next_end).moved == 1
    assert violations(at=next_end, only=["I-10", "I-11", "I-12", "I-19"]) == []


def test_a_trial_with_a_card_that_was_switched_off_ends_without_a_charge(pat: User) -> None:
    subscription = start_carded(pat)
    set_recurring_billing(
        actor=acting(pat), key=subscription.key, on=False, version=subscription.version, at=AT
    )

    end_trials(at=ENDS)

    assert fresh(subscription).state == "disabled"
    with use_login("worker"):
        assert Bill.objects.count() == 0
    assert violations(at=ENDS) == []


def test_the_price_that_was_shown_is_charged_whatever_the_list_says_then(pat: User) -> None:
    start_carded(pat)
    make_price(plan(FREE), unit_price_minor=99_900, valid_from=ENDS - DAY)

    end_trials(at=ENDS)

    with use_login("worker"):
        assert Bill.objects.get().total_minor == choice().seen_total_minor


def test_who_left_loses_the_trial_to_nobody_and_the_admins_hear_of_its_end(
    pat: User, contoso: Tenant
) -> None:
    admin = make_user(contoso, roles=("billing_admin", "global_admin"))
    start_free(pat)
    with use_login("worker"):
        User.objects.filter(pk=pat.pk).update(status="disabled")

    end_trials(at=ENDS)

    (told,) = mails("trial_ended")
    assert (told.to_user_id, told.context["owner_left"]) == (admin.pk, True)


@pytest.mark.usefixtures("empty_processor")
@pytest.mark.parametrize(
    ("card", "paid", "kind"),
    [
        ("pm_card_visa", 1, "trial_converted"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", 0, "payment_failed"),
    ],
)
def test_the_first_charge_is_paid_or_goes_its_way_as_a_failed_payment(
    pat: User, card: str, paid: int, kind: str
) -> None:
    prepared(pat)
    with use_login("worker"):
        Card.objects.update(processor_id=card) if not paid else None
    end_trials(at=ENDS)

    charged = charge_due(at=ENDS)

    assert (charged.paid, charged.declined) == (paid, 1 - paid)
    (told,) = mails(kind)
    assert message_of(told).subject.startswith(
        "Your trial of Visio Plan 1 turned paid" if paid else "Payment failed"
    )
    with use_login("worker"):
        subscription = Subscription.objects.get()
    assert subscription.state == "active"
    assert (subscription.payment_failed_at is None) == bool(paid)
    assert violations(at=ENDS) == []


@pytest.mark.usefixtures("empty_processor")
def test_what_the_first_charge_paid_can_be_canceled_inside_its_refund_window(pat: User) -> None:
    prepared(pat)
    end_trials(at=ENDS)
    charge_due(at=ENDS)

    with tenant_atomic(pat.tenant_id):
        quote = quote_cancellation(subscription=Subscription.objects.get(), at=ENDS + DAY)

    assert quote.ending == "at_once"
    # 9 April to 8 May are 30 days, of which two are used.
    assert quote.subtotal_minor == round(5 * choice().plan.prices.get(market="NL").unit_price_minor * 28 / 30)


@pytest.mark.usefixtures("empty_processor")
def test_a_browser_that_went_away_does_not_lose_the_trial(pat: User) -> None:
    """F-09, F-16: the bank's answer comes when nobody is there; the reconciler finishes what was begun, once."""
    key, outcome = prepared(pat, "pm_card_threeDSecure2Required")
    assert isinstance(outcome, ActionNeeded)
    with tenant_atomic(pat.tenant_id):
        intent = CardSetup.objects.get(key=key).intent_id
    authenticate(str(intent))

    for minutes in (15, 30, 45):
        reconcile(AT + timedelta(minutes=minutes))

    assert counts() == (1, 1, 1)
    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get(key=key).state == "paid"
    assert violations(at=AT + timedelta(hours=1)) == []
