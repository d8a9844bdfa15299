"""Every outcome of offering a purchase to a colleague (product §4)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commerce.models import (
    Bill,
    BillTo,
    Card,
    HandOver,
    Order,
    OrderLine,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.checkouts import BillingDetails, NotEligible, TermsNotAccepted
from commerce.operations.handovers import (
    AlreadyOffered,
    ColleagueMayNotBuy,
    NotHandedOver,
    OfferOver,
    accept_hand_over,
    decline_offer,
    lapse_offers,
    offer_hand_over,
    withdraw_offer,
)
from commerce.operations.payments import charge_bill
from commerce.operations.renewals import renew_due
from commerce.queries import details, handovers
from config.invariants import violations
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from policies.operations.policies import set_product_policy
from tests.factories import (
    AT,
    actor_of,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BILLING = BillingDetails(
    name="Erik Evers", street="Herengracht 2", postal_code="1015 BA", city="Amsterdam", country="NL"
)
DAY = timedelta(days=1)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik Evers", email="erik@contoso.example")


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat, quantity=10)


def make_card(user: User, **fields: Any) -> Card:
    values = {
        "processor_id": f"pm_{user.pk}",
        "brand": "mastercard",
        "last4": "4444",
        "expires_year": 2031,
        "expires_month": 4,
        "is_default": True,
        "added_at": AT,
        **fields,
    }
    with tenant_atomic(user.tenant_id):
        return Card.objects.create(tenant_id=user.tenant_id, user=user, **values)


def offer(owner: User, subscription: Subscription, to: User | None, at: datetime = AT) -> HandOver:
    return offer_hand_over(
        actor=actor_of(owner), key=subscription.key, to_user_id=to.pk if to else None, at=at
    )


def accept(
    who: User, offered: HandOver, card: Card | None, *, at: datetime = AT + DAY, **changed: Any
) -> Subscription:
    values: dict[str, Any] = {
        "version": offered.subscription.version,
        "card_id": card.pk if card else None,
        "billing": BILLING,
        "agrees_to_terms": True,
        **changed,
    }
    return accept_hand_over(actor=actor_of(who), key=offered.key, at=at, **values)


def fresh(row: Any) -> Any:
    with use_login("worker"):
        return type(row).objects.get(pk=row.pk)


def codes(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        events = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return [code for code in events.values_list("code", flat=True) if "hand" in code]


def mails() -> list[tuple[str, str, str]]:
    """Kind, what, and to whom, of those about hand-overs."""
    with use_login("worker"):
        rows = OutgoingMail.objects.filter(kind__startswith="hand_over").order_by("id")
        return [(row.kind, row.context["what"], row.to_address) for row in rows]


def test_the_colleague_gets_a_mail_and_nothing_else_changes(
    pat: User, erik: User, bought: Subscription
) -> None:
    offered = offer(pat, bought, erik)

    assert (offered.state, offered.expires_at) == ("offered", AT + timedelta(days=14))
    assert mails() == [("hand_over_offered", "offered", erik.email)]
    assert codes(bought) == ["hand_over_offered"]
    after = fresh(bought)
    assert (after.owner_user_id, after.version) == (pat.pk, bought.version)
    with tenant_atomic(pat.tenant_id):
        assert [each.pk for each in handovers.offers_to(actor_of(erik), AT)] == [offered.pk]
        assert handovers.offers_to(actor_of(pat), AT) == []


def test_who_accepts_owns_and_pays_from_then_on(pat: User, erik: User, bought: Subscription) -> None:
    offered, card = offer(pat, bought, erik), make_card(erik)

    accept(erik, offered, card)

    after = fresh(bought)
    assert (after.owner_kind, after.owner_user_id, after.purchaser_id) == ("person", erik.pk, erik.pk)
    assert (after.purchaser_name, after.card_id) == ("Erik Evers", card.pk)
    assert "erik evers" in after.search_text
    assert "pat peters" not in after.search_text
    assert after.version == bought.version + 1
    assert (after.state, after.period_end, after.due_at) == (bought.state, bought.period_end, bought.due_at)
    with use_login("worker"):
        assert BillTo.objects.get(pk=after.bill_to_id).street == "Herengracht 2"
        line = OrderLine.objects.filter(subscription=bought).latest("id")
        assert (line.order.type, line.quantity, line.amount_minor) == (Order.Type.HAND_OVER, 0, 0)
        audit = AuditEntry.objects.get(code="commerce.subscription.handed_over")
    assert audit.before == {"owner": "Pat Peters"}
    assert audit.after is not None
    assert audit.after["owner"] == "Erik Evers"
    assert audit.after["terms_version"]
    state = fresh(offered)
    assert (state.state, state.decided_at) == ("accepted", AT + DAY)
    assert codes(bought) == ["hand_over_offered", "handed_over"]
    assert mails()[1:] == [
        ("hand_over_decided", "accepted", pat.email),
        ("hand_over_decided", "accepted", erik.email),
    ]
    assert violations(at=AT + DAY) == []


def test_the_next_bill_is_the_new_owners_and_the_old_one_stays_the_former_ones(
    pat: User, erik: User, bought: Subscription
) -> None:
    accept(erik, offer(pat, bought, erik), make_card(erik))

    renew_due(at=datetime(2026, 4, 10, tzinfo=UTC))

    with use_login("worker"):
        found = Bill.objects.filter(subscription=bought).order_by("id")
        assert [(bill.type, bill.payer_id, bill.bill_to.name) for bill in found] == [
            ("purchase", pat.pk, pat.name),
            ("renewal", erik.pk, "Erik Evers"),
        ]
        assert found[1].order.type == Order.Type.HAND_OVER


def test_an_open_bill_stays_with_the_former_owner_and_the_own_card(
    pat: User, erik: User, bought: Subscription, empty_processor: str
) -> None:
    offered, card = offer(pat, bought, erik), make_card(erik)
    renewed_at = datetime(2026, 4, 10, tzinfo=UTC)
    renew_due(at=renewed_at)
    accept(erik, offered, card, at=AT + 10 * DAY, version=fresh(bought).version)
    with use_login("worker"):
        bill = Bill.objects.get(subscription=bought, type="renewal")
        charge_bill(bill_id=bill.pk, at=renewed_at)

        attempt = bill.attempts.get()
    assert bill.payer_id == pat.pk
    assert attempt.card_processor_id == fresh(bought.card).processor_id
    assert fresh(bought).card_id == card.pk


def test_both_see_what_is_theirs_afterwards(pat: User, erik: User, bought: Subscription) -> None:
    accept(erik, offer(pat, bought, erik), make_card(erik))
    renew_due(at=datetime(2026, 4, 10, tzinfo=UTC))
    pat, erik = fresh(pat), fresh(erik)

    assert (pat.purchaser_since, erik.purchaser_since) == (AT, AT + DAY)
    with tenant_atomic(pat.tenant_id):
        former, owner = actor_of(pat), actor_of(erik)
        assert list(Subscription.objects.visible_to(former)) == []
        assert [row.pk for row in Subscription.objects.visible_to(owner)] == [bought.pk]
        assert [bill.type for bill in Bill.objects.visible_to(former)] == ["purchase"]
        assert [bill.type for bill in Bill.objects.visible_to(owner)] == ["renewal"]
        handed = handovers.former_purchase(former, bought.key)
        assert [entry.type for entry in details.order_history(former, bought, only_own=True)] == ["purchase"]
        until = handovers.events_until(bought, handed.at)
        assert next(event.code for event in until) == "handed_over"
        assert "renewed" not in [event.code for event in until]
        assert handovers.handed_over_by(former) == [handed]
        assert handovers.handed_over_by(owner) == []
        with pytest.raises(NotVisible):
            handovers.former_purchase(owner, bought.key)


def test_it_can_come_back(pat: User, erik: User, bought: Subscription) -> None:
    accept(erik, offer(pat, bought, erik), make_card(erik))

    back = offer(fresh(erik), fresh(bought), pat, at=AT + 2 * DAY)
    accept(pat, back, fresh(bought.card), at=AT + 3 * DAY, version=fresh(bought).version)

    assert fresh(bought).owner_user_id == pat.pk
    with tenant_atomic(pat.tenant_id):
        assert handovers.handed_over_by(actor_of(pat)) == []
        assert len(handovers.handed_over_by(actor_of(erik))) == 1


def test_the_colleague_says_no(pat: User, erik: User, bought: Subscription) -> None:
    offered = offer(pat, bought, erik)

    decline_offer(actor=actor_of(erik), key=offered.key, at=AT + DAY)

    assert fresh(offered).state == "declined"
    assert fresh(bought).owner_user_id == pat.pk
    assert codes(bought) == ["hand_over_offered", "hand_over_declined"]
    assert mails()[1:] == [("hand_over_decided", "declined", pat.email)]
    with pytest.raises(OfferOver):
        accept(erik, offered, make_card(erik))
    with pytest.raises(OfferOver):
        decline_offer(actor=actor_of(erik), key=offered.key, at=AT + DAY)


def test_the_owner_takes_it_back(pat: User, erik: User, bought: Subscription) -> None:
    offered = offer(pat, bought, erik)

    withdraw_offer(actor=actor_of(pat), key=bought.key, at=AT + DAY)

    assert fresh(offered).state == "withdrawn"
    assert mails()[1:] == [("hand_over_decided", "withdrawn", erik.email)]
    with pytest.raises(OfferOver):
        accept(erik, offered, make_card(erik))
    with pytest.raises(OfferOver):
        withdraw_offer(actor=actor_of(pat), key=bought.key, at=AT + DAY)
    assert offer(pat, bought, erik, at=AT + DAY).state == "offered"


def test_an_offer_lapses_after_14_days(pat: User, erik: User, bought: Subscription) -> None:
    offered = offer(pat, bought, erik)

    assert lapse_offers(at=offered.expires_at - timedelta(seconds=1)) == 0
    with pytest.raises(OfferOver):
        accept(erik, offered, make_card(erik), at=offered.expires_at)
    assert lapse_offers(at=offered.expires_at) == 1
    assert lapse_offers(at=offered.expires_at) == 0

    assert fresh(offered).state == "lapsed"
    assert fresh(bought).owner_user_id == pat.pk
    assert codes(bought) == ["hand_over_offered", "hand_over_lapsed"]
    assert mails()[1:] == [("hand_over_decided", "lapsed", pat.email)]


def test_a_lapsed_offer_does_not_stand_in_the_way_before_the_sweep(
    pat: User, erik: User, bought: Subscription
) -> None:
    first = offer(pat, bought, erik)

    second = offer(pat, bought, erik, at=first.expires_at)

    assert (fresh(first).state, second.state) == ("lapsed", "offered")


def test_one_offer_at_a_time(pat: User, erik: User, bought: Subscription) -> None:
    offer(pat, bought, erik)

    with pytest.raises(AlreadyOffered):
        offer(pat, bought, erik)

    assert len(mails()) == 1


@pytest.mark.parametrize("fields", [{"kind": "guest"}, {"status": "disabled"}, {"status": "deleted"}])
def test_refuses_guests_and_accounts_that_are_not_active(
    contoso: Tenant, pat: User, bought: Subscription, fields: dict[str, str]
) -> None:
    with pytest.raises(Malformed) as refused:
        offer(pat, bought, make_user(contoso, **fields))

    assert refused.value.field == "person"
    assert (mails(), codes(bought)) == ([], [])


def test_refuses_oneself_nobody_and_strangers(pat: User, bought: Subscription) -> None:
    for person in (pat, None, make_user(make_tenant())):
        with pytest.raises(Malformed):
            offer(pat, bought, person)

    assert mails() == []


def test_refuses_a_colleague_who_may_not_buy(
    contoso: Tenant, pat: User, erik: User, bought: Subscription
) -> None:
    admin = make_user(contoso, roles=("global_admin",))
    set_product_policy(actor=actor_of(admin), product_keys=[product().key], value="Disabled", at=AT)

    with pytest.raises(ColleagueMayNotBuy) as refused:
        offer(pat, bought, erik)

    assert refused.value.eligibility.codes == ("policy_disabled",)
    assert mails() == []


def test_a_policy_changed_meanwhile_stops_the_acceptance(
    contoso: Tenant, pat: User, erik: User, bought: Subscription
) -> None:
    offered = offer(pat, bought, erik)
    admin = make_user(contoso, roles=("global_admin",))
    set_product_policy(actor=actor_of(admin), product_keys=[product().key], value="Disabled", at=AT)

    with pytest.raises(NotEligible):
        accept(erik, offered, make_card(erik))

    assert fresh(bought).owner_user_id == pat.pk
    assert fresh(offered).state == "offered"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"version": 99}, Conflict),
        ({"agrees_to_terms": False}, TermsNotAccepted),
        ({"card_id": None}, Malformed),
        ({"card_id": 2**62}, Malformed),
    ],
)
def test_refuses_an_incomplete_or_older_acceptance(
    pat: User, erik: User, bought: Subscription, changed: dict[str, Any], error: type[Exception]
) -> None:
    offered = offer(pat, bought, erik)

    with pytest.raises(error):
        accept(erik, offered, make_card(erik), **changed)

    assert fresh(bought).owner_user_id == pat.pk
    assert fresh(offered).state == "offered"
    assert len(mails()) == 1


def test_refuses_the_card_of_somebody_else_or_a_removed_one(
    pat: User, erik: User, bought: Subscription
) -> None:
    offered = offer(pat, bought, erik)

    for card in (fresh(bought.card), make_card(erik, removed_at=AT)):
        with pytest.raises(Malformed):
            accept(erik, offered, card)

    assert fresh(bought).owner_user_id == pat.pk


def test_only_the_one_it_was_offered_to_decides(
    contoso: Tenant, pat: User, erik: User, bought: Subscription
) -> None:
    offered, charlie = offer(pat, bought, erik), make_user(contoso)

    for person in (charlie, pat, make_user(make_tenant())):
        with pytest.raises(NotVisible):
            accept(person, offered, None)
        with pytest.raises(NotVisible):
            decline_offer(actor=actor_of(person), key=offered.key, at=AT)

    assert fresh(offered).state == "offered"


def test_only_the_owner_offers_and_withdraws(
    contoso: Tenant, pat: User, erik: User, bought: Subscription
) -> None:
    admin = make_user(contoso, roles=("global_admin",))
    offer(pat, bought, erik)

    with pytest.raises(NotAllowed):
        withdraw_offer(actor=actor_of(admin), key=bought.key, at=AT)
    with pytest.raises(NotAllowed):
        offer(admin, make_subscription(contoso), erik)
    with pytest.raises(NotVisible):
        withdraw_offer(actor=actor_of(erik), key=bought.key, at=AT)

    assert codes(bought) == ["hand_over_offered"]


@pytest.mark.parametrize(
    "fields", [{"state": "disabled"}, {"state": "deleted", "due_at": None}, {"channel": "trial"}]
)
def test_refuses_what_nobody_can_use_and_trials(
    contoso: Tenant, pat: User, erik: User, fields: dict[str, Any]
) -> None:
    with pytest.raises(NotHandedOver):
        offer(pat, make_subscription(contoso, owner=pat, **fields), erik)

    assert mails() == []


def test_an_expired_purchase_can_change_hands(contoso: Tenant, pat: User, erik: User) -> None:
    expired = make_subscription(contoso, owner=pat, state="expired", recurring_billing=False)

    accept(erik, offer(pat, expired, erik), make_card(erik))

    assert fresh(expired).owner_user_id == erik.pk


def test_a_purchase_that_ended_meanwhile_is_not_taken_over(
    pat: User, erik: User, bought: Subscription
) -> None:
    offered = offer(pat, bought, erik)
    with use_login("worker"):
        Subscription.objects.filter(pk=bought.pk).update(state="disabled")

    with pytest.raises(OfferOver) as over:
        accept(erik, offered, make_card(erik))

    assert over.value.state == "moved_on"
    assert fresh(bought).owner_user_id == pat.pk


def test_each_mail_says_who_what_and_until_when(pat: User, erik: User, bought: Subscription) -> None:
    withdraw_offer(actor=actor_of(pat), key=offer(pat, bought, erik).subscription.key, at=AT)
    decline_offer(actor=actor_of(erik), key=offer(pat, bought, erik).key, at=AT)
    lapse_offers(at=offer(pat, bought, erik).expires_at)
    accept(erik, offer(pat, bought, erik, at=AT + DAY), make_card(erik), at=AT + 2 * DAY)

    with use_login("worker"):
        rows = OutgoingMail.objects.filter(kind__startswith="hand_over").order_by("id")
        told = {(row.context["what"], row.to_address): message_of(row) for row in rows}

    subjects = {key: message.subject for key, message in told.items()}
    assert subjects == {
        ("offered", erik.email): "Pat Peters offers you Power BI Pro",
        ("withdrawn", erik.email): "Pat Peters no longer offers you Power BI Pro",
        ("declined", pat.email): "Erik Evers declined Power BI Pro",
        ("lapsed", pat.email): "Erik Evers did not answer about Power BI Pro",
        ("accepted", pat.email): "Erik Evers took over Power BI Pro",
        ("accepted", erik.email): "You took over Power BI Pro",
    }
    offered = told["offered", erik.email]
    assert "/my/offers/" in offered.body
    assert "€94.00 a month, without tax" in offered.body
    assert "Next charge: 10 Apr 2026" in offered.body
    assert "25 Mar 2026, 10:30" in offered.body
    for message in told.values():
        assert len(message.alternatives) == 1
        assert "{" not in message.body
