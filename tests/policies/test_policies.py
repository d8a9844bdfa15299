"""Setting what a tenant allows, and reading what is in force (product §9)."""

import pytest

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.permissions import Role
from policies.models import PolicyValue, ProductPolicy, TenantPolicy
from policies.operations.policies import set_contact_text, set_product_policy
from policies.queries.policies import ContactText, contact_text, effective_policy
from policies.rule import Subject
from tests.factories import AT, actor_of, make_tenant, make_user

pytestmark = pytest.mark.django_db

KEYS = ["NEW", "OLD"]


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def bill(tenant: Tenant) -> User:
    return make_user(tenant, roles=(Role.BILLING_ADMIN,), name="Bill Bakker")


def value(user: User, keys: list[str] = KEYS) -> str:
    actor = actor_of(user)
    with tenant_atomic(actor):
        return effective_policy(actor=actor, subject=Subject(keys, "Power Platform", AT)).value


def test_everything_is_allowed_by_default(bill: User) -> None:
    assert value(bill) == PolicyValue.ENABLED


def test_a_tenants_default_holds_for_products_without_a_value(bill: User, tenant: Tenant) -> None:
    with tenant_atomic(tenant.pk):
        TenantPolicy.objects.create(tenant=tenant, default_value=PolicyValue.DISABLED)

    assert value(bill) == PolicyValue.DISABLED


def test_a_value_is_set_and_audited(bill: User, tenant: Tenant) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=KEYS, value="Disabled", at=AT)

    assert value(bill) == PolicyValue.DISABLED
    with tenant_atomic(tenant.pk):
        policy = ProductPolicy.objects.get()
        entry = AuditEntry.objects.get(code="policies.product_policy.changed")
    assert (policy.product_key, policy.changed_at, policy.changed_by) == ("NEW", AT, "Bill Bakker")
    assert (entry.before, entry.after) == ({"value": None}, {"value": "Disabled"})


def test_what_was_said_of_a_former_id_holds_for_the_product(bill: User, tenant: Tenant) -> None:
    with tenant_atomic(tenant.pk):
        ProductPolicy.objects.create(
            tenant=tenant, product_key="OLD", value="Disabled", changed_at=AT, changed_by="x"
        )

    assert value(bill) == PolicyValue.DISABLED


def test_setting_moves_a_former_ids_row_to_the_current_one(bill: User, tenant: Tenant) -> None:
    with tenant_atomic(tenant.pk):
        ProductPolicy.objects.create(
            tenant=tenant, product_key="OLD", value="Disabled", changed_at=AT, changed_by="x"
        )

    set_product_policy(actor=actor_of(bill), product_keys=KEYS, value="Enabled", at=AT)

    with tenant_atomic(tenant.pk):
        assert list(ProductPolicy.objects.values_list("product_key", "value")) == [("NEW", "Enabled")]


def test_another_tenants_value_counts_for_nothing(bill: User) -> None:
    other = make_user(make_tenant(), roles=(Role.GLOBAL_ADMIN,))
    set_product_policy(actor=actor_of(other), product_keys=KEYS, value="Disabled", at=AT)

    assert value(bill) == PolicyValue.ENABLED


def test_an_unknown_value_is_refused(bill: User, tenant: Tenant) -> None:
    with pytest.raises(Malformed) as refusal:
        set_product_policy(actor=actor_of(bill), product_keys=KEYS, value="disabled", at=AT)

    assert refusal.value.field == "value"
    with tenant_atomic(tenant.pk):
        assert not ProductPolicy.objects.exists()


@pytest.mark.parametrize(
    ("roles", "error"),
    [((), NotVisible), ((Role.GLOBAL_READER,), NotAllowed), ((Role.LICENSE_ADMIN,), NotVisible)],
)
def test_others_may_not_set_it(tenant: Tenant, roles: tuple[str, ...], error: type[Exception]) -> None:
    user = make_user(tenant, roles=roles)

    with pytest.raises(error):
        set_product_policy(actor=actor_of(user), product_keys=KEYS, value="Disabled", at=AT)

    with tenant_atomic(tenant.pk):
        assert not ProductPolicy.objects.exists()
        assert not AuditEntry.objects.exists()


def test_the_contact_text_is_set_and_audited(bill: User, tenant: Tenant) -> None:
    actor = actor_of(bill)

    set_contact_text(actor=actor, text=" Ask the desk.\x00 ", url="https://it.contoso.example/", at=AT)

    with tenant_atomic(actor):
        assert contact_text(actor=actor) == ContactText("Ask the desk.", "https://it.contoso.example/")
        assert AuditEntry.objects.filter(code="policies.contact_text.changed").count() == 1


@pytest.mark.parametrize(
    ("text", "url", "field"),
    [
        ("x" * 1001, "", "text"),
        ("", "javascript:alert(1)", "url"),
        ("", "//evil.example", "url"),
        ("", "it desk", "url"),
    ],
)
def test_a_contact_text_that_cannot_be_shown_is_refused(bill: User, text: str, url: str, field: str) -> None:
    actor = actor_of(bill)

    with pytest.raises(Malformed) as refusal:
        set_contact_text(actor=actor, text=text, url=url, at=AT)

    assert refusal.value.field == field
    with tenant_atomic(actor):
        assert contact_text(actor=actor) == ContactText("", "")


def test_a_reader_may_not_change_the_contact_text(tenant: Tenant) -> None:
    actor = actor_of(make_user(tenant, roles=(Role.GLOBAL_READER,)))

    with pytest.raises(NotVisible):
        set_contact_text(actor=actor, text="Mine", url="", at=AT)

    with tenant_atomic(actor):
        assert contact_text(actor=actor) == ContactText("", "")
