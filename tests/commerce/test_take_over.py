"""Taking a self-service purchase over: owner, payer, open bills, who reads what afterwards (product §10)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commerce.models import Bill, Card, HandOver, Order, Subscription, SubscriptionEvent
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.cards import CardExpired
from commerce.operations.checkouts import BillingDetails
from commerce.operations.corrections import BeingPaid
from commerce.operations.dunning import note_failure
from commerce.operations.handovers import accept_hand_over, offer_hand_over
from commerce.operations.payments import ActionNeeded, pay_bill, take_due_bills
from commerce.operations.renewals import renew_due
from commerce.operations.takeovers import (
    ChangeBeingPaid,
    NeedsCard,
    NotTakenOver,
    TakeOverChanged,
    take_over,
)
from commerce.queries import details, handovers
from commerce.queries.subscriptions import taken_over_of
from commerce.queries.takeovers import TakeOverSeen, plan_take_over
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.operations.people import disable_user
from tests.factories import (
    AT,
    actor_of,
    make_agreement,
    make_bill,
    make_card,
    make_central_subscription,
    make_change,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)
from tests.processor import card_token, charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DAY = timedelta(days=1)
RENEWS = datetime(2026, 4, 9, 22, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


def fresh[T: (User, Subscription, Bill, HandOver)](row: T) -> T:
    with tenant_atomic(row.tenant_id):
        return type(row).objects.get(pk=row.pk)


def seen_of(subscription: Subscription) -> TakeOverSeen:
    with tenant_atomic(subscription.tenant_id):
        return plan_take_over(Subscription.objects.get(pk=subscription.pk)).seen


def take(
    by: User | Actor, subscription: Subscription, *, at: datetime = AT + DAY, **facts: Any
) -> Subscription:
    values = {"version": fresh(subscription).version, "seen": seen_of(subscription)} | facts
    return take_over(
        actor=actor_of(by) if isinstance(by, User) else by, key=subscription.key, at=at, **values
    )


def owned_bills(subscription: Subscription) -> list[tuple[str, str, int | None, str, str]]:
    with tenant_atomic(subscription.tenant_id):
        rows = Bill.objects.filter(subscription=subscription).order_by("id")
        return list(rows.values_list("number", "type", "payer_id", "status", "collection"))


def test_it_is_the_organizations_from_then_on_and_paid_on_account_at_its_own_price(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    agreement = make_agreement(contoso, unit_price_minor=500)
    gina = make_user(contoso, roles=("global_admin",))

    take(bill, bought)
    renew_due(at=RENEWS)

    row = fresh(bought)
    assert (row.owner_kind, row.owner_user_id, row.card_id) == ("organization", None, None)
    assert (row.channel, row.purchaser_id, row.agreement_id) == ("self-service", pat.pk, agreement.pk)
    assert (row.recurring_billing, row.assigned, row.unit_price_minor) == (True, 1, 940)
    first, second = owned_bills(bought)
    assert first[1:] == ("purchase", pat.pk, "paid", "card")
    assert second[1:] == ("renewal", None, "open", "on_account")
    with tenant_atomic(contoso.pk):
        renewal = Bill.objects.select_related("bill_to", "order").get(number=second[0])
        assert renewal.subtotal_minor == 9_400
        assert renewal.due_at == RENEWS + timedelta(days=30)
        assert (renewal.bill_to.name, renewal.order.type) == ("Contoso", "take_over")
        entry = AuditEntry.objects.get(code="commerce.subscription.taken_over")
        assert (entry.actor_label, entry.before["owner"], entry.after["owner"]) == (
            *("Bill Bakker", "Pat Peters"),
            "organization",
        )
        assert SubscriptionEvent.objects.filter(code="taken_over", subscription=bought).count() == 1
        told = {mail.to_user_id: mail for mail in OutgoingMail.objects.filter(kind="taken_over")}
        by_id = taken_over_of([_row_of(row)])
    assert set(told) == {pat.pk, gina.pk}
    assert "Your card is not charged for it again." in str(message_of(told[pat.pk]).body)
    assert "it is paid on account at its own price" in str(message_of(told[gina.pk]).body)
    assert (by_id[row.pk].by, by_id[row.pk].at) == ("Bill Bakker", AT + DAY)
    assert violations(at=RENEWS) == []


def _row_of(subscription: Subscription) -> Any:
    class Row:
        id, owner_kind, channel = subscription.pk, subscription.owner_kind, subscription.channel

    return Row()


def test_open_bills_are_issued_anew_to_the_organization_and_the_card_is_tried_no_more(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    renew_due(at=RENEWS)
    with tenant_atomic(contoso.pk):
        owed = Bill.objects.select_related("subscription__product", "vendor_entity", "payer").get(
            type="renewal"
        )
        owed.subscription = Subscription.objects.select_related(
            "product", "plan", "tenant", "vendor_entity"
        ).get(pk=bought.pk)
        note_failure(
            actor=Actor.system(contoso.pk), bill=owed, kind="soft", code="insufficient_funds", at=RENEWS
        )

    take(bill, bought, at=RENEWS + DAY)

    _bought, old, note, new = owned_bills(bought)
    assert old[1:] == ("renewal", pat.pk, "credited", "card")
    assert note[1:] == ("take_over", pat.pk, "credited", "card")
    assert new[1:] == ("renewal", None, "open", "on_account")
    with tenant_atomic(contoso.pk):
        anew = Bill.objects.get(number=new[0])
        assert (anew.total_minor, anew.replaces_id) == (11_374, owed.pk)
        assert (anew.due_at, anew.charge_due_at) == (RENEWS + 31 * DAY, None)
        mail = OutgoingMail.objects.get(kind="taken_over", to_user_id=pat.pk)
    row = fresh(bought)
    assert (row.payment_failed_at, row.next_try_at, row.pay_by_at) == (None, None, None)
    assert "You no longer have to pay: €113.74" in str(message_of(mail).body)
    assert take_due_bills(at=RENEWS + 40 * DAY, limit=10) == []
    assert violations(at=RENEWS + DAY) == []


def test_without_an_agreement_the_organizations_card_pays_and_without_a_card_nothing_happens(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    renew_due(at=RENEWS)
    before = owned_bills(bought)

    with pytest.raises(NeedsCard):
        take(bill, bought, at=RENEWS)
    assert owned_bills(bought) == before
    assert fresh(bought).owner_user_id == pat.pk
    card = make_card(contoso)
    take(bill, bought, at=RENEWS)

    row = fresh(bought)
    assert (row.agreement_id, row.card_id, row.is_on_account) == (None, card.pk, False)
    new = owned_bills(bought)[-1]
    assert new[1:] == ("renewal", None, "open", "card")
    with tenant_atomic(contoso.pk):
        assert Bill.objects.get(number=new[0]).charge_due_at == RENEWS
    assert violations(at=RENEWS) == []


def test_an_expired_card_of_the_organization_is_refused(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_card(contoso, expires_year=2026, expires_month=2)

    with pytest.raises(CardExpired):
        take(bill, bought)

    assert not fresh(bought).is_organizations


@pytest.mark.parametrize(("hour", "is_over"), [(21, False), (22, True)])
def test_a_card_ends_with_its_last_month_where_the_organization_is(
    contoso: Tenant, bill: User, bought: Subscription, hour: int, is_over: bool
) -> None:
    make_card(contoso, expires_year=2026, expires_month=3)
    at = datetime(2026, 3, 31, hour, 30, tzinfo=UTC)

    if is_over:
        with pytest.raises(CardExpired):
            take(bill, bought, at=at)
    else:
        take(bill, bought, at=at)

    assert fresh(bought).is_organizations != is_over


def test_the_former_purchaser_reads_own_bills_and_history_up_to_that_day_and_nothing_else(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    take(bill, bought)
    renew_due(at=RENEWS)
    actor = actor_of(fresh(pat))

    with tenant_atomic(contoso.pk):
        assert list(Subscription.objects.visible_to(actor)) == []
        assert [each.type for each in Bill.objects.visible_to(actor)] == ["purchase"]
        former = handovers.former_purchase(actor, bought.key)
        assert (former.subscription.pk, former.to, former.at) == (bought.pk, None, AT + DAY)
        assert handovers.handed_over_by(actor) == [former]
        assert [each.type for each in details.order_history(actor, bought, only_own=True)] == ["purchase"]
        codes = [event.code for event in handovers.events_until(bought, former.at)]
        assert codes[0] == "taken_over"
        assert "renewed" not in codes
        with pytest.raises(NotVisible):
            handovers.former_purchase(actor_of(bill), bought.key)
        quote = quote_cancellation(subscription=fresh(bought), at=RENEWS)
    with pytest.raises(NotVisible):
        cancel_subscription(
            actor=actor, key=bought.key, version=fresh(bought).version, seen=quote.seen, at=RENEWS
        )


def test_its_new_owners_manage_it(contoso: Tenant, pat: User, bill: User, bought: Subscription) -> None:
    make_agreement(contoso)
    take(bill, bought)
    with tenant_atomic(contoso.pk):
        quote = quote_cancellation(subscription=fresh(bought), at=AT + 20 * DAY)

    cancel_subscription(
        actor=actor_of(bill), key=bought.key, version=fresh(bought).version, seen=quote.seen, at=AT + 20 * DAY
    )

    assert fresh(bought).recurring_billing is False


def test_within_its_refund_window_canceling_refunds_the_card_that_paid(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    take(bill, bought)

    with tenant_atomic(contoso.pk):
        quote = quote_cancellation(subscription=fresh(bought), at=AT + 2 * DAY)

    assert (quote.refund_minor > 0, quote.credited_minor) == (True, 0)


def test_an_offer_to_a_colleague_is_withdrawn(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    erik = make_user(contoso, name="Erik")
    offer = offer_hand_over(actor=actor_of(pat), key=bought.key, to_user_id=erik.pk, at=AT)

    take(bill, bought)

    assert fresh(offer).state == "withdrawn"
    with pytest.raises(Conflict):
        accept_hand_over(
            actor=actor_of(erik),
            key=offer.key,
            version=fresh(bought).version,
            card_id=make_card(contoso, erik).pk,
            billing=_billing(),
            agrees_to_terms=True,
            at=AT + 2 * DAY,
        )


def _billing() -> BillingDetails:
    return BillingDetails("Erik", "Street 1", "1000 AA", "Amsterdam", "NL")


def test_what_is_scheduled_for_the_renewal_stays(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=bought.pk).update(next_quantity=4)

    take(bill, bought)
    renew_due(at=RENEWS)

    assert fresh(bought).quantity == 4


def test_a_purchaser_who_left_gets_no_mail_and_the_admins_do(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    gina = make_user(contoso, roles=("global_admin",))
    disable_user(actor=actor_of(gina), user_id=pat.pk, at=AT)

    take(bill, bought)

    assert fresh(bought).is_organizations
    with tenant_atomic(contoso.pk):
        told = OutgoingMail.objects.filter(kind="taken_over").values_list("to_user_id", flat=True)
        assert list(told) == [gina.pk]


def test_a_partner_with_the_role_takes_over_and_both_are_named(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))

    take(actor_of(petra, contoso), bought)

    assert fresh(bought).is_organizations
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(code="commerce.subscription.taken_over")
        assert (entry.actor_label, "Northwind" in entry.on_behalf_of) == ("Petra", True)


def test_a_second_click_changes_nothing_more(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    version, seen = bought.version, seen_of(bought)

    for _click in range(2):
        take(bill, bought, version=version, seen=seen)

    with tenant_atomic(contoso.pk):
        assert Order.objects.filter(type="take_over").count() == 1


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_may_not(
    contoso: Tenant, bought: Subscription, roles: tuple[str, ...], error: type[Exception]
) -> None:
    make_agreement(contoso)

    with pytest.raises(error):
        take(make_user(contoso, roles=roles), bought)

    assert not fresh(bought).is_organizations


def test_neither_the_purchaser_nor_another_organizations_admin_may(
    contoso: Tenant, pat: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    stranger = make_user(make_tenant(), roles=("global_admin",))

    with pytest.raises(NotAllowed):
        take(fresh(pat), bought)
    with pytest.raises(NotVisible):
        take(stranger, bought)


def test_a_suspended_organization_takes_nothing_over(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")

    with pytest.raises(NotAllowed):
        take(bill, bought)


def test_what_is_not_a_persons_or_not_in_use_is_refused(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    central = make_central_subscription(bill, plan=plan("visio-plan-2"))
    with pytest.raises(NotTakenOver):
        take(bill, central)
    for changes in (
        {"channel": "trial"},
        {"channel": "self-service", "state": "deleted", "due_at": None},
        {"state": "disabled", "disabled_reason": "unpaid", "due_at": RENEWS},
    ):
        with tenant_atomic(contoso.pk):
            Subscription.objects.filter(pk=bought.pk).update(**changes)

        with pytest.raises(NotTakenOver):
            take(bill, bought)

    assert fresh(bought).owner_user_id == pat.pk


def test_what_changed_since_the_page_was_shown_is_not_done(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    seen, version = seen_of(bought), bought.version

    with pytest.raises(TakeOverChanged):
        take(bill, bought, seen=replace(seen, payment_days=14))
    make_bill(bought, at=AT)
    with pytest.raises(TakeOverChanged) as changed:
        take(bill, bought, seen=seen)
    with pytest.raises(Conflict):
        take(bill, bought, version=version + 1)

    assert changed.value.plan.moved_minor == 11_374
    assert fresh(bought).owner_user_id == pat.pk


def renewed_and_waiting_for_the_bank(pat: User, bought: Subscription) -> str:
    """The number of a renewal's bill whose charge pat's bank asks pat to confirm."""
    renew_due(at=RENEWS)
    number: str = owned_bills(bought)[-1][0]
    asked = pay_bill(
        actor=actor_of(fresh(pat)),
        number=number,
        confirmation_token=card_token("pm_card_threeDSecure2Required"),
        at=RENEWS,
    )
    assert isinstance(asked, ActionNeeded)
    return number


@pytest.mark.usefixtures("empty_processor")
def test_a_charge_that_waits_for_the_purchasers_bank_is_called_off(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    number = renewed_and_waiting_for_the_bank(pat, bought)

    take(bill, bought, at=RENEWS)

    assert owned_bills(bought)[-1][1:] == ("renewal", None, "open", "on_account")
    assert charges(bill=number) == 0
    with tenant_atomic(contoso.pk):
        assert Bill.objects.get(number=number).attempts.get().state == "canceled"
    assert violations(at=RENEWS) == []


@pytest.mark.usefixtures("empty_processor")
def test_what_is_refused_leaves_the_charge_that_waits_for_the_bank(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    number = renewed_and_waiting_for_the_bank(pat, bought)

    with pytest.raises(Conflict):
        take(bill, bought, version=fresh(bought).version + 1, at=RENEWS)

    with tenant_atomic(contoso.pk):
        assert Bill.objects.get(number=number).attempts.get().state == "action"
    assert fresh(bought).owner_user_id == pat.pk


def test_while_a_card_is_being_charged_nothing_is_changed(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    owed = make_bill(bought, at=AT)
    with tenant_atomic(contoso.pk):
        attempt = owed.attempts.create(
            tenant_id=contoso.pk,
            key="att_test_taken",
            intent_id="pi_test_taken",
            amount_minor=owed.total_minor,
            currency=owed.currency,
            state="confirming",
            created_at=AT,
            updated_at=AT,
        )

    with pytest.raises(BeingPaid):
        take(bill, bought)
    with tenant_atomic(contoso.pk):
        attempt.state = "failed"
        type(attempt).objects.filter(pk=attempt.pk).update(state="failed")
    take(bill, bought)

    assert fresh(bought).is_organizations


def test_while_a_change_is_being_paid_nothing_is_changed(
    contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    change = make_change(fresh(pat), bought)
    with tenant_atomic(contoso.pk):
        type(change).objects.filter(pk=change.pk).update(state="paying", consented_at=AT)

    with pytest.raises(ChangeBeingPaid):
        take(bill, bought)

    assert fresh(bought).owner_user_id == pat.pk
    with tenant_atomic(contoso.pk):
        assert Card.objects.filter(user=pat).count() == 1
