"""Changing the policy: all at once or nothing, with history, undo and a mail (product §9)."""

from datetime import timedelta

import pytest

from config.kit.actors import Actor
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Group, GroupMembership, OutgoingMail, Tenant, User
from directory.permissions import Role
from policies.models import OfferType, PolicyChange, ProductPolicy, TenantPolicy
from policies.operations import policies as operations
from policies.operations.policies import (
    AlreadyUndone,
    Change,
    GroupGone,
    PolicyMoved,
    change_policies,
    undo_change,
)
from policies.queries.policies import effective_policies, effective_policy, offer_type_values
from policies.rule import Subject
from policies.spending import Limit
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db

KEYS = ["NEW", "OLD"]
VISIO = Subject(KEYS, "Visio", AT - timedelta(days=1))


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(tenant: Tenant) -> Actor:
    return actor_of(make_user(tenant, roles=(Role.BILLING_ADMIN,), name="Bill Bakker"))


def make_group(tenant: Tenant, name: str, *members: User) -> Group:
    with tenant_atomic(tenant.pk):
        group = Group.objects.create(tenant=tenant, name=name)
        for member in members:
            GroupMembership.objects.create(tenant=tenant, group=group, user=member)
    return group


def value(actor: Actor, subject: Subject = VISIO, user: User | None = None) -> str:
    with tenant_atomic(actor):
        found = effective_policy(actor=actor, subject=subject, user_id=user.pk if user else None)
    return found.value


def history(actor: Actor) -> list[tuple[str, str, object, object]]:
    with tenant_atomic(actor):
        rows = PolicyChange.objects.visible_to(actor).order_by("id")
        return [(row.target, row.target_key, row.before, row.after) for row in rows]


def test_several_changes_are_made_at_once_with_who_when_from_to_and_why(bill: Actor) -> None:
    made = change_policies(
        actor=bill,
        changes=[
            operations.default_for_all("Disabled"),
            operations.of_category("Visio", "OnlyTrialsWithoutPaymentMethod"),
            operations.of_product(["OTHER"], "Enabled", name="Other"),
        ],
        why=" The budget is spent. ",
        at=AT,
    )

    assert len(made) == 3
    assert value(bill) == "OnlyTrialsWithoutPaymentMethod"
    assert value(bill, Subject(["OTHER"], "Project", AT)) == "Enabled"
    assert value(bill, Subject(["THIRD"], "Project", AT)) == "Disabled"
    assert history(bill) == [
        ("default", "", {"value": "Enabled"}, {"value": "Disabled"}),
        ("category", "Visio", {"value": None}, {"value": "OnlyTrialsWithoutPaymentMethod"}),
        ("product", "OTHER", {"value": None}, {"value": "Enabled"}),
    ]
    assert {(row.actor_label, row.at, row.why, row.door) for row in made} == {
        ("Bill Bakker", AT, "The budget is spent.", "web")
    }
    with tenant_atomic(bill):
        assert list(AuditEntry.objects.order_by("id").values_list("code", flat=True)) == [
            "policies.default.changed",
            "policies.category_policy.changed",
            "policies.product_policy.changed",
        ]


def test_what_is_so_already_makes_no_history_and_no_mail(bill: Actor, tenant: Tenant) -> None:
    make_user(tenant, roles=(Role.GLOBAL_ADMIN,))

    made = change_policies(actor=bill, changes=[operations.default_for_all("Enabled")], at=AT)

    assert made == []
    with tenant_atomic(bill):
        assert not OutgoingMail.objects.exists()


def test_the_other_admins_get_one_mail_for_what_was_saved_at_once(bill: Actor, tenant: Tenant) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN, Role.BILLING_ADMIN))
    make_user(tenant, roles=(Role.LICENSE_ADMIN,))

    change_policies(
        actor=bill,
        changes=[operations.default_for_all("Disabled"), operations.of_category("Visio", "Enabled")],
        at=AT,
    )

    with tenant_atomic(bill):
        mail = OutgoingMail.objects.get(kind="policy_changed")
    assert mail.to_user_id == gina.pk
    assert [change["target"] for change in mail.context["changes"]] == ["default", "category"]


def test_nothing_is_saved_when_one_of_the_changes_is_not_as_it_was_shown(bill: Actor) -> None:
    change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)

    with pytest.raises(PolicyMoved):
        change_policies(
            actor=bill,
            changes=[
                operations.default_for_all("Disabled"),
                operations.of_product(KEYS, "Enabled", seen={"value": None}),
            ],
            at=AT,
        )

    assert len(history(bill)) == 1
    with tenant_atomic(bill):
        assert TenantPolicy.objects.get().default_value == "Enabled"


def test_a_product_goes_back_to_what_it_inherits_and_its_former_ids_with_it(
    bill: Actor, tenant: Tenant
) -> None:
    with tenant_atomic(tenant.pk):
        ProductPolicy.objects.create(
            tenant=tenant, product_key="OLD", value="Disabled", changed_at=AT, changed_by="x"
        )

    operations.set_product_policy(actor=bill, product_keys=KEYS, value=None, at=AT)

    assert value(bill) == "Enabled"
    assert history(bill) == [("product", "NEW", {"value": "Disabled"}, {"value": None})]


def test_the_rule_for_new_products_keeps_its_beginning_while_it_only_changes(bill: Actor) -> None:
    later = AT + timedelta(days=10)
    new = Subject(["X"], "Visio", AT + timedelta(days=1))

    change_policies(actor=bill, changes=[operations.new_products("Ask")], at=AT)
    assert value(bill, new) == "Disabled"
    change_policies(actor=bill, changes=[operations.new_products("OnlyTrialsWithoutPaymentMethod")], at=later)

    assert value(bill, new) == "OnlyTrialsWithoutPaymentMethod"
    assert value(bill) == "Enabled"


def test_a_rule_for_new_products_that_is_taken_back_begins_anew_and_undo_brings_its_beginning_back(
    bill: Actor,
) -> None:
    new = Subject(["X"], "Visio", AT + timedelta(days=1))
    later = AT + timedelta(days=10)
    change_policies(actor=bill, changes=[operations.new_products("Disabled")], at=AT)
    taken_back = change_policies(actor=bill, changes=[operations.new_products("")], at=later)
    assert value(bill, new) == "Enabled"

    undo_change(actor=bill, key=taken_back[0].key, at=later)
    assert value(bill, new) == "Disabled"

    change_policies(actor=bill, changes=[operations.new_products("")], at=later)
    change_policies(actor=bill, changes=[operations.new_products("Disabled")], at=later)
    assert value(bill, new) == "Enabled"


def test_offer_types_are_allowed_until_something_else_is_said(bill: Actor) -> None:
    change_policies(actor=bill, changes=[operations.of_offer_type("SaaS", "Disabled")], at=AT)
    change_policies(actor=bill, changes=[operations.of_offer_type("DYNAMICSBC", "Enabled")], at=AT)

    with tenant_atomic(bill):
        assert offer_type_values(actor=bill) == {
            OfferType.SAAS: "Disabled",
            OfferType.POWER_BI_VISUALS: "Enabled",
            OfferType.DYNAMICS_CE: "Enabled",
            OfferType.DYNAMICS_BC: "Enabled",
        }
    assert len(history(bill)) == 1


def test_a_groups_rule_holds_for_its_members_and_the_table_shows_the_value_without_it(
    bill: Actor, tenant: Tenant
) -> None:
    mike, pat = make_user(tenant), make_user(tenant)
    makers = make_group(tenant, "Makers", mike)
    change_policies(
        actor=bill,
        changes=[
            operations.of_product(KEYS, "Disabled"),
            operations.of_group(makers.pk, "Enabled", level="product", keys=KEYS),
        ],
        at=AT,
    )

    assert (value(bill, user=mike), value(bill, user=pat), value(bill)) == ("Enabled", "Disabled", "Disabled")

    change_policies(
        actor=bill, changes=[operations.of_group(makers.pk, None, level="product", keys=KEYS)], at=AT
    )
    assert value(bill, user=mike) == "Disabled"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: operations.default_for_all("enabled"), Malformed),
        (lambda: operations.default_for_all("Ask"), Malformed),
        (lambda: operations.new_products("ask"), Malformed),
        (lambda: operations.of_category("Visio", "Ask"), Malformed),
        (lambda: operations.of_product(KEYS, ""), Malformed),
        (lambda: operations.of_offer_type("SaaS", "OnlyTrialsWithoutPaymentMethod"), Malformed),
        (lambda: operations.of_offer_type("saas", "Enabled"), NotVisible),
        (lambda: operations.of_group(1, "Enabled", level="tenant", keys=["X"]), Malformed),
        (lambda: operations.of_group(1, "Enabled", level="product"), Malformed),
        (lambda: operations.spend_cap(Limit(-1, "purchase"), currency="EUR"), Malformed),
        (lambda: operations.approval_threshold(Limit(1, "purchase"), currency=""), Malformed),
    ],
)
def test_what_is_no_value_is_refused(make: "type[Change]", error: type[DomainError]) -> None:
    with pytest.raises(error):
        make()  # type: ignore[call-arg]


def test_a_group_of_another_organization_does_not_exist(bill: Actor) -> None:
    other = make_group(make_tenant(), "Makers")

    with pytest.raises(NotVisible):
        change_policies(actor=bill, changes=[operations.of_group(other.pk, "Enabled", level="tenant")], at=AT)

    assert history(bill) == []


def test_a_reason_that_is_too_long_is_refused(bill: Actor) -> None:
    with pytest.raises(Malformed) as refused:
        change_policies(actor=bill, changes=[operations.default_for_all("Disabled")], why="x" * 501, at=AT)

    assert refused.value.field == "why"
    assert history(bill) == []


@pytest.mark.parametrize("make", [operations.spend_cap, operations.approval_threshold])
def test_undo_sets_back_a_limit(bill: Actor, make: type) -> None:
    first = change_policies(actor=bill, changes=[make(Limit(5_000, "person_month"), currency="EUR")], at=AT)
    second = change_policies(actor=bill, changes=[make(Limit(9_000, "purchase"), currency="EUR")], at=AT)

    undo_change(actor=bill, key=second[0].key, at=AT)

    with tenant_atomic(bill):
        row = TenantPolicy.objects.get()
        name = str(first[0].target)
        assert (getattr(row, f"{name}_minor"), getattr(row, f"{name}_basis")) == (5_000, "person_month")


def test_undo_writes_a_change_of_its_own_which_can_be_undone_too(bill: Actor) -> None:
    done = change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)

    undone = undo_change(actor=bill, key=done[0].key, at=AT)

    assert value(bill) == "Enabled"
    assert undone.undoes_id == done[0].pk
    undo_change(actor=bill, key=undone.key, at=AT)
    assert value(bill) == "Disabled"
    assert len(history(bill)) == 3


def test_undo_is_refused_once_somebody_changed_it_since_and_twice(bill: Actor) -> None:
    done = change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)
    change_policies(
        actor=bill, changes=[operations.of_product(KEYS, "OnlyTrialsWithoutPaymentMethod")], at=AT
    )

    with pytest.raises(PolicyMoved):
        undo_change(actor=bill, key=done[0].key, at=AT)

    change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)
    undo_change(actor=bill, key=done[0].key, at=AT)
    with pytest.raises(AlreadyUndone):
        undo_change(actor=bill, key=done[0].key, at=AT)
    assert value(bill) == "Enabled"


def test_undo_of_a_deleted_groups_rule_says_so(bill: Actor, tenant: Tenant) -> None:
    makers = make_group(tenant, "Makers")
    done = change_policies(
        actor=bill, changes=[operations.of_group(makers.pk, "Enabled", level="tenant")], at=AT
    )
    with tenant_atomic(tenant.pk):
        makers.delete()

    with pytest.raises(GroupGone):
        undo_change(actor=bill, key=done[0].key, at=AT)


@pytest.mark.parametrize(
    ("roles", "error"),
    [((), NotVisible), ((Role.GLOBAL_READER,), NotAllowed), ((Role.USER_ADMIN,), NotVisible)],
)
def test_others_change_and_undo_nothing(
    bill: Actor, tenant: Tenant, roles: tuple[str, ...], error: type[DomainError]
) -> None:
    done = change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)
    other = actor_of(make_user(tenant, roles=roles))

    with pytest.raises(error):
        change_policies(actor=other, changes=[operations.default_for_all("Disabled")], at=AT)
    with pytest.raises(error):
        undo_change(actor=other, key=done[0].key, at=AT)

    assert len(history(bill)) == 1


def test_another_organizations_change_does_not_exist(bill: Actor) -> None:
    done = change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)
    charlie = actor_of(make_user(make_tenant(), roles=(Role.GLOBAL_ADMIN,)))

    with pytest.raises(NotVisible):
        undo_change(actor=charlie, key=done[0].key, at=AT)


def test_a_delegated_billing_admin_changes_it_and_the_history_names_both(tenant: Tenant) -> None:
    partner = make_tenant(name="Northwind")
    petra = make_user(partner, name="Petra Richter")
    make_relationship(tenant, partner, users=(petra,), roles=("billing_admin",))
    actor = actor_of(petra, tenant)

    done = change_policies(actor=actor, changes=[operations.default_for_all("Disabled")], at=AT)

    assert (done[0].actor_label, done[0].on_behalf_of) == ("Petra Richter", actor.relationship_label)


def test_history_cannot_be_changed_even_by_the_application(bill: Actor) -> None:
    from django.db import ProgrammingError, transaction

    change_policies(actor=bill, changes=[operations.of_product(KEYS, "Disabled")], at=AT)

    with tenant_atomic(bill), pytest.raises(ProgrammingError), transaction.atomic():
        PolicyChange.objects.update(why="never")


def test_the_values_of_any_number_of_products_take_two_queries(
    bill: Actor, django_assert_num_queries: object
) -> None:
    subjects = [Subject([f"P{n}"], "Visio", AT) for n in range(50)]
    change_policies(
        actor=bill, changes=[operations.of_product(one.keys, "Disabled") for one in subjects[:20]], at=AT
    )

    with tenant_atomic(bill), django_assert_num_queries(2):  # type: ignore[operator]
        found = effective_policies(actor=bill, subjects=subjects)

    assert [one.value for one in found] == ["Disabled"] * 20 + ["Enabled"] * 30
