"""A partner's templates: who makes them, what they hold, and that they change nobody's policy (docs/adr/0046)."""

from datetime import timedelta
from typing import Any

import pytest

from config.kit.actors import Actor
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Tenant, User
from policies.models import PolicyChange, PolicyTemplate, TenantPolicy
from policies.operations.templates import (
    MOST_TEMPLATES,
    NameTaken,
    TemplateMoved,
    TooManyTemplates,
    change_template,
    create_template,
    delete_template,
)
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

SAID = {"default": "Disabled", "cap": {"basis": "purchase", "amounts": {"EUR": 5000}}}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def northwind() -> Tenant:
    return make_tenant(name="Northwind")


@pytest.fixture
def petra(contoso: Tenant, northwind: Tenant) -> User:
    user = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(user,))
    return user


def make(user: User, name: str = "Careful start", said: dict[str, Any] | None = None) -> PolicyTemplate:
    return create_template(actor=actor_of(user), name=name, said=SAID if said is None else said, at=AT)


def trail(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        return list(AuditEntry.objects.filter(tenant=tenant).order_by("id").values_list("code", flat=True))


def test_it_is_made_changed_and_deleted_with_the_partners_trail_and_nobodys_policy(
    petra: User, northwind: Tenant
) -> None:
    made = make(petra, " Careful start ")
    changed = change_template(
        actor=actor_of(petra), key=made.key, seen=1, name="Careful", said={"new_products": "Ask"}, at=AT
    )
    delete_template(actor=actor_of(petra), key=made.key, at=AT)

    assert (made.name, made.said, made.version, made.changed_by) == ("Careful start", SAID, 1, "Petra")
    assert (changed.name, changed.said, changed.version) == ("Careful", {"new_products": "Ask"}, 2)
    assert trail(northwind) == [
        "policies.template.created",
        "policies.template.changed",
        "policies.template.deleted",
    ]
    with use_login("worker"):
        assert not PolicyTemplate.objects.exists()
        assert not PolicyChange.objects.exists()
        assert not TenantPolicy.objects.exists()


def test_saving_what_it_says_already_is_no_new_version(petra: User, northwind: Tenant) -> None:
    made = make(petra)

    again = change_template(actor=actor_of(petra), key=made.key, seen=1, name=made.name, said=SAID, at=AT)

    assert again.version == 1
    assert trail(northwind) == ["policies.template.created"]


def test_another_version_than_was_seen_is_refused(petra: User) -> None:
    made = make(petra)
    change_template(actor=actor_of(petra), key=made.key, seen=1, name="Other", said=SAID, at=AT)

    with pytest.raises(TemplateMoved):
        change_template(actor=actor_of(petra), key=made.key, seen=1, name="Third", said={}, at=AT)

    with tenant_atomic(petra.tenant_id):
        assert PolicyTemplate.objects.get().name == "Other"


def test_a_name_is_one_templates(petra: User) -> None:
    make(petra)

    with pytest.raises(NameTaken):
        make(petra)

    with tenant_atomic(petra.tenant_id):
        assert PolicyTemplate.objects.count() == 1


def test_there_are_so_many_and_no_more(petra: User) -> None:
    with tenant_atomic(petra.tenant_id):
        PolicyTemplate.objects.bulk_create(
            PolicyTemplate(tenant_id=petra.tenant_id, name=str(n), changed_at=AT, changed_by="Petra")
            for n in range(MOST_TEMPLATES)
        )

    with pytest.raises(TooManyTemplates):
        make(petra)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default", "Ask"),
        ("default", ""),
        ("new_products", "Nothing"),
        ("category:Visio", "Ask"),
        ("product:VISIO", "Sometimes"),
        ("offer:SaaS", "OnlyTrialsWithoutPaymentMethod"),
        ("offer:Nothing", "Enabled"),
        ("group:1", "Enabled"),
        ("cap", {"basis": "purchase", "amounts": {}}),
        ("cap", {"basis": "purchase", "amounts": {"EUR": -1}}),
        ("threshold", {"basis": "week", "amounts": {"EUR": 1}}),
    ],
)
def test_a_template_says_only_what_a_policy_can_say(petra: User, name: str, value: Any) -> None:
    with pytest.raises(Malformed) as refused:
        make(petra, said={"new_products": "", name: value})

    assert refused.value.field == name
    with tenant_atomic(petra.tenant_id):
        assert not PolicyTemplate.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b"])
def test_a_template_has_a_name(petra: User, name: str) -> None:
    with pytest.raises(Malformed) as refused:
        make(petra, name)

    assert refused.value.field == "name"


@pytest.mark.parametrize(
    ("roles", "refusal"),
    [
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("global_reader",), NotAllowed),
        (("billing_admin",), None),
        (("global_admin",), None),
    ],
)
def test_whoever_changes_the_policy_of_some_customer_makes_them(
    contoso: Tenant, northwind: Tenant, roles: tuple[str, ...], refusal: type[DomainError] | None
) -> None:
    user = make_user(northwind)
    make_relationship(contoso, northwind, roles=roles, users=(user,))

    assert refused_with(actor_of(user)) is refusal


def refused_with(actor: Actor) -> type[DomainError] | None:
    try:
        create_template(actor=actor, name="Mine", said=SAID, at=AT)
    except DomainError as refused:
        return type(refused)
    return None


def test_a_colleague_without_a_customer_sees_none_whatever_the_roles_at_home(petra: User) -> None:
    nils = make_user(petra.tenant, roles=("global_admin",))
    made = make(petra)

    for refused in (
        lambda: make(nils, "Another"),
        lambda: change_template(actor=actor_of(nils), key=made.key, seen=1, name="x", said={}, at=AT),
        lambda: delete_template(actor=actor_of(nils), key=made.key, at=AT),
    ):
        with pytest.raises(NotVisible):
            refused()


def test_the_right_ends_with_the_last_relationship(petra: User, contoso: Tenant) -> None:
    end = AT + timedelta(days=364)

    create_template(actor=actor_of(petra), name="Before", said=SAID, at=end - timedelta(seconds=1))
    with pytest.raises(NotVisible):
        create_template(actor=actor_of(petra), name="After", said=SAID, at=end)


def test_another_partners_template_is_missing(petra: User, contoso: Tenant) -> None:
    other = make_tenant()
    stranger = make_user(other)
    make_relationship(contoso, other, users=(stranger,))
    made = make(petra)

    with pytest.raises(NotVisible):
        change_template(actor=actor_of(stranger), key=made.key, seen=1, name="x", said={}, at=AT)
    with pytest.raises(NotVisible):
        delete_template(actor=actor_of(stranger), key=made.key, at=AT)


def test_nobody_makes_one_while_acting_for_a_customer(petra: User, contoso: Tenant) -> None:
    with pytest.raises(NotVisible):
        create_template(actor=actor_of(petra, contoso), name="Mine", said=SAID, at=AT)


def test_a_suspended_partner_makes_none(contoso: Tenant) -> None:
    northwind = make_tenant(standing="suspended")
    petra = make_user(northwind)
    make_relationship(contoso, northwind, users=(petra,))

    with pytest.raises(NotAllowed):
        make(petra)
