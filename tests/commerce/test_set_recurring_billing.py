"""Every outcome of switching recurring billing (product §5.3, §5.5)."""

import uuid

import pytest

from commerce.models import Subscription, SubscriptionEvent
from commerce.operations.recurring import NothingToRenew, set_recurring_billing
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry
from tests.factories import AT, actor_of, make_relationship, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso():
    return make_tenant()


@pytest.fixture
def pat(contoso):
    return make_user(contoso, name="Pat Peters")


def stored(subscription) -> tuple[bool, int, list[str], list[str]]:
    with tenant_atomic(subscription.tenant_id):
        row = Subscription.objects.get(pk=subscription.pk)
        events = SubscriptionEvent.objects.filter(subscription=row).values_list("code", flat=True)
        trail = AuditEntry.objects.filter(target_id=str(row.key)).values_list("code", flat=True)
        return row.recurring_billing, row.version, list(events), list(trail)


def test_switches_off_with_event_and_audit(contoso, pat):
    subscription = make_subscription(contoso, owner=pat)

    changed = set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=False, version=0, at=AT)

    assert not changed.recurring_billing
    assert stored(subscription) == (
        False,
        1,
        ["recurring_billing_off"],
        ["commerce.recurring_billing.switched_off"],
    )


def test_switches_on_again(contoso, pat):
    subscription = make_subscription(contoso, owner=pat, recurring_billing=False)

    set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=True, version=0, at=AT)

    assert stored(subscription) == (
        True,
        1,
        ["recurring_billing_on"],
        ["commerce.recurring_billing.switched_on"],
    )


def test_what_is_already_so_stays_so(contoso, pat):
    subscription = make_subscription(contoso, owner=pat)

    set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=True, version=0, at=AT)

    assert stored(subscription) == (True, 0, [], [])


def test_refuses_an_older_page(contoso, pat):
    subscription = make_subscription(contoso, owner=pat, version=4)

    with pytest.raises(Conflict):
        set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=False, version=3, at=AT)

    assert stored(subscription) == (True, 4, [], [])


@pytest.mark.parametrize("state", ["expired", "disabled", "deleted"])
def test_refuses_after_the_term(contoso, pat, state):
    subscription = make_subscription(contoso, owner=pat, state=state, recurring_billing=False)

    with pytest.raises(NothingToRenew):
        set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=True, version=0, at=AT)

    assert stored(subscription) == (False, 0, [], [])


@pytest.mark.parametrize("role", ["billing_admin", "global_admin"])
def test_admins_switch_what_the_organization_owns(contoso, role):
    admin, central = make_user(contoso, roles=(role,)), make_subscription(contoso)

    set_recurring_billing(actor=actor_of(admin), key=central.key, on=False, version=0, at=AT)

    assert stored(central)[0] is False


@pytest.mark.parametrize("role", ["billing_admin", "global_admin", "global_reader"])
def test_admins_see_a_persons_purchase_and_may_not_switch_it(contoso, pat, role):
    admin, subscription = make_user(contoso, roles=(role,)), make_subscription(contoso, owner=pat)

    with pytest.raises(NotAllowed):
        set_recurring_billing(actor=actor_of(admin), key=subscription.key, on=False, version=0, at=AT)

    assert stored(subscription) == (True, 0, [], [])


def test_a_partner_switches_what_the_customer_owns_and_is_named(contoso):
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,))
    central = make_subscription(contoso)

    set_recurring_billing(actor=actor_of(petra, contoso), key=central.key, on=False, version=0, at=AT)

    with tenant_atomic(contoso.pk):
        assert "Northwind" in SubscriptionEvent.objects.get(subscription=central).actor_label
        assert "Northwind" in AuditEntry.objects.get(target_id=str(central.key)).on_behalf_of


@pytest.mark.parametrize("role", ["license_admin", "user_admin"])
def test_others_do_not_see_it(contoso, pat, role):
    admin, subscription = make_user(contoso, roles=(role,)), make_subscription(contoso, owner=pat)

    with pytest.raises(NotVisible):
        set_recurring_billing(actor=actor_of(admin), key=subscription.key, on=False, version=0, at=AT)

    assert stored(subscription) == (True, 0, [], [])


def test_another_tenant_finds_nothing(contoso, pat):
    fiona = make_user(make_tenant(), roles=("global_admin",))
    subscription = make_subscription(contoso, owner=pat)

    with pytest.raises(NotVisible):
        set_recurring_billing(actor=actor_of(fiona), key=subscription.key, on=False, version=0, at=AT)
    with pytest.raises(NotVisible):
        set_recurring_billing(actor=actor_of(pat), key=uuid.uuid4(), on=False, version=0, at=AT)

    assert stored(subscription) == (True, 0, [], [])
