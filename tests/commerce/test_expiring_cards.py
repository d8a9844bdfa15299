"""A card that ends before the next charge is announced in time, once (product §5.6, §15)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from commerce.models import Card, Subscription
from commerce.operations.expiring_cards import notice_expiring_cards
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.outbox import message_of, send_due_mails
from directory.permissions import Role
from tests.factories import make_card, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# A yearly term in Amsterdam, charged again at the local midnight of 1 March 2027.
CHARGED = datetime(2027, 2, 28, 23, 0, tzinfo=UTC)
# The card of January 2027 ends at the local midnight of 1 February.
ENDS = datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
IN_TIME = ENDS - timedelta(days=30)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat Mulder")


def yearly(tenant: Tenant, owner: User | None, **fields: Any) -> Subscription:
    values = {"period_end": CHARGED, "term_end": CHARGED, "plan": plan("power-bi-pro", "yearly")}
    return make_subscription(tenant, owner=owner, **values | {"channel": "self-service"} | fields)


def january(tenant: Tenant, user: User | None = None, **fields: Any) -> Card:
    return make_card(tenant, user, **{"expires_year": 2027, "expires_month": 1} | fields)


def queued(tenant: Tenant) -> list[OutgoingMail]:
    with tenant_atomic(tenant.pk):
        return list(OutgoingMail.objects.order_by("id"))


def test_a_card_is_announced_from_thirty_days_before_its_end_once(tenant: Tenant, pat: User) -> None:
    card = january(tenant, pat)
    yearly(tenant, pat, card=card)

    counts = [
        notice_expiring_cards(at=at) for at in (IN_TIME - timedelta(minutes=1), IN_TIME, IN_TIME, CHARGED)
    ]

    assert counts == [0, 1, 0, 0]
    (told,) = queued(tenant)
    assert (told.kind, told.to_user_id) == ("card_expiring", pat.pk)
    with tenant_atomic(tenant.pk):
        assert Card.objects.get().expiry_noticed_at == IN_TIME


def test_the_mail_says_which_card_until_when_what_it_would_pay_and_where_to_change_it(
    tenant: Tenant, pat: User
) -> None:
    card = january(tenant, pat)
    yearly(tenant, pat, card=card, quantity=10, unit_price_minor=10_000)
    yearly(tenant, pat, period_end=CHARGED + timedelta(days=5), term_end=CHARGED + timedelta(days=5))
    notice_expiring_cards(at=IN_TIME)

    message = message_of(queued(tenant)[0])

    html = str(message.alternatives[0][0])
    assert message.subject == "Your card is valid until 31 Jan 2027: Power BI Pro needs another one"
    for text in (message.body, html):
        assert "Visa ending in 4242" in text
        assert "31 Jan 2027" in text
        assert "1 Mar 2027" in text
        assert "€1,210.00" in text
        assert "1 more purchase" in text
        assert "/admin/billing/payment-methods/" in text
        assert "Nothing is charged now." in text


def test_a_card_that_is_changed_before_the_sweep_is_not_announced(tenant: Tenant, pat: User) -> None:
    old, new = january(tenant, pat), make_card(tenant, pat)
    yearly(tenant, pat, card=new)

    assert notice_expiring_cards(at=IN_TIME) == 0

    with tenant_atomic(tenant.pk):
        Subscription.objects.update(card=None)
    assert notice_expiring_cards(at=IN_TIME) == 1
    assert queued(tenant)[0].event_key == f"card_expiring:{old.pk}:2027-01:{pat.pk}"


def test_another_expiry_is_announced_anew(tenant: Tenant, pat: User) -> None:
    card = january(tenant, pat, expires_year=2026, expires_month=12)
    yearly(tenant, pat, card=card)
    notice_expiring_cards(at=IN_TIME)
    with tenant_atomic(tenant.pk):
        Card.objects.update(expires_year=2027, expires_month=1, expiry_noticed_at=None)

    notice_expiring_cards(at=IN_TIME)

    assert len(queued(tenant)) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"recurring_billing": False},
        {"state": "expired", "recurring_billing": False},
        {"period_end": ENDS - timedelta(days=1), "term_end": ENDS - timedelta(days=1)},
    ],
)
def test_a_card_that_no_later_charge_needs_is_not_announced(
    tenant: Tenant, pat: User, fields: dict[str, Any]
) -> None:
    yearly(tenant, pat, card=january(tenant, pat), **fields)

    assert notice_expiring_cards(at=IN_TIME) == 0


def test_a_charge_in_the_instant_of_the_end_is_too_late(tenant: Tenant, pat: User) -> None:
    yearly(tenant, pat, card=january(tenant, pat), period_end=ENDS, term_end=ENDS)

    assert notice_expiring_cards(at=IN_TIME) == 1


def test_a_removed_card_is_not_announced(tenant: Tenant, pat: User) -> None:
    yearly(tenant, pat, card=january(tenant, pat, removed_at=IN_TIME, is_default=False))

    assert notice_expiring_cards(at=IN_TIME) == 0


def test_the_organizations_card_is_announced_to_those_who_pay_with_it(tenant: Tenant, pat: User) -> None:
    bill = make_user(tenant, roles=(Role.BILLING_ADMIN, Role.GLOBAL_ADMIN))
    make_user(tenant, roles=(Role.LICENSE_ADMIN,))
    january(tenant)
    yearly(tenant, None)

    assert notice_expiring_cards(at=IN_TIME) == 1

    (told,) = queued(tenant)
    assert told.to_user_id == bill.pk
    assert "Visa ending in 4242" in message_of(told).body


def test_of_who_left_the_billing_admins_are_told_without_the_card(tenant: Tenant, pat: User) -> None:
    bill = make_user(tenant, roles=(Role.BILLING_ADMIN,))
    subscription = yearly(tenant, pat, card=january(tenant, pat))
    with tenant_atomic(tenant.pk):
        User.objects.filter(pk=pat.pk).update(status="disabled")

    notice_expiring_cards(at=IN_TIME)

    (told,) = queued(tenant)
    message = message_of(told)
    everything = f"{message.subject}{message.body}{message.alternatives[0][0]}{told.context}"
    assert told.to_user_id == bill.pk
    assert "4242" not in everything
    assert "visa" not in everything.lower()
    assert "Pat Mulder has left Contoso" in message.body
    assert f"/admin/billing/your-products/{subscription.key}/" in message.body


def test_many_cards_are_announced_in_batches(tenant: Tenant) -> None:
    people = [make_user(tenant) for _ in range(5)]
    for person in people:
        yearly(tenant, person, card=january(tenant, person))
    make_card(tenant, make_user(tenant), expires_year=2026, expires_month=1)

    assert notice_expiring_cards(at=IN_TIME, limit=2) == 5
    assert send_due_mails(at=IN_TIME) == 5
    assert sorted(message.to[0] for message in mail.outbox) == sorted(person.email for person in people)
