"""Setting what a template says for many customers: one after the other, each all or nothing, as the person there and now
(product §12; docs/adr/0046)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from commerce.operations.fleet import (
    Chosen,
    NoLongerAllowed,
    apply_to_customer,
    look_at_customers,
    start_applying,
)
from commerce.queries.fleet import catalogue, customers_served
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, JobRow, OutgoingMail, Relationship, Tenant, User
from directory.operations.jobs import run_jobs
from directory.operations.partners import end_relationship
from policies.models import PolicyChange, PolicyTemplate
from policies.operations import policies as operations
from policies.operations.policies import change_policies, undo_change
from policies.operations.templates import TemplateMoved, change_template, create_template
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

END = AT + timedelta(days=10)


@dataclass
class Fleet:
    """A partner with some customers, each with a global admin, and a template."""

    petra: User
    template: PolicyTemplate
    customers: list[Tenant] = field(default_factory=list)
    relationships: list[Relationship] = field(default_factory=list)
    admins: list[User] = field(default_factory=list)

    @property
    def actor(self) -> Actor:
        return actor_of(self.petra)

    def chosen(self, *lines: str, at: datetime = AT) -> Chosen:
        """All customers with what a page would show."""
        served = customers_served(self.actor, at=at)
        found = look_at_customers(
            actor=self.actor,
            customers=served,
            said=self.template.said,
            products=catalogue(),
            has_second_factor=False,
            at=at,
        )
        seen = {
            each.served.actor.tenant_id: {line.name: line.seen for line in each.differences} for each in found
        }
        return Chosen(lines or tuple(self.template.said), seen)

    def start(self, chosen: Chosen | None = None, **changed: Any) -> Job:
        facts = {"version": 1, "why": "As agreed.", "has_second_factor": False, "back": "", "at": AT}
        return start_applying(
            actor=self.actor,
            key=self.template.key,
            chosen=chosen or self.chosen(),
            **(facts | changed),
        )


def said() -> dict[str, Any]:
    return {
        "default": "OnlyTrialsWithoutPaymentMethod",
        f"product:{product('power-bi-pro').key}": "Disabled",
        "cap": {"basis": "person_month", "amounts": {"EUR": 5000, "USD": 6000}},
    }


@pytest.fixture
def fleet() -> Fleet:
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    customers = [
        make_tenant(name=name, currency=currency)
        for name, currency in (("Contoso", "EUR"), ("Fabrikam", "USD"), ("Woodgrove", "GBP"))
    ]
    relationships = [
        make_relationship(each, northwind, users=(petra,), ends_at=END, name="Licensing")
        for each in customers
    ]
    admins = [make_user(each, name="Gina", roles=("global_admin",)) for each in customers]
    template = create_template(actor=actor_of(petra), name="Careful start", said=said(), at=AT)
    return Fleet(petra, template, customers, relationships, admins)


def work(at: datetime = AT) -> None:
    run_jobs(clock=lambda: at)


def outcome() -> list[tuple[str, str]]:
    with use_login("worker"):
        return list(JobRow.objects.order_by("job_id", "number").values_list("subject", "code"))


def history(tenant: Tenant) -> list[tuple[str, Any]]:
    with tenant_atomic(tenant.pk):
        return [
            (row.target, row.after.get("value", row.after.get("minor")))
            for row in PolicyChange.objects.filter(tenant=tenant).order_by("id")
        ]


def trail(tenant_id: int, **facts: Any) -> list[AuditEntry]:
    with tenant_atomic(tenant_id):
        return list(AuditEntry.objects.filter(tenant_id=tenant_id, **facts).order_by("id"))


ALL = [("default", "OnlyTrialsWithoutPaymentMethod"), ("product", "Disabled")]


def test_each_customer_gets_what_differs_in_its_own_currency(fleet: Fleet) -> None:
    fleet.start()
    work()

    assert outcome() == [("Contoso", "applied"), ("Fabrikam", "applied"), ("Woodgrove", "applied")]
    contoso, fabrikam, woodgrove = fleet.customers
    assert history(contoso) == [*ALL, ("cap", 5000)]
    assert history(fabrikam) == [*ALL, ("cap", 6000)]
    assert history(woodgrove) == ALL


def test_each_change_names_the_person_the_relationship_and_the_template(fleet: Fleet) -> None:
    fleet.start()
    work()

    with tenant_atomic(fleet.customers[0].pk):
        change = PolicyChange.objects.order_by("id")[0]
    assert (change.actor_label, change.on_behalf_of, change.door, change.why) == (
        "Petra",
        "Northwind: Licensing",
        "job",
        "Template Careful start, version 1. As agreed.",
    )


def test_both_trails_and_the_customers_admins_learn_of_it(fleet: Fleet) -> None:
    fleet.start()
    work()

    contoso, gina = fleet.customers[0], fleet.admins[0]
    for tenant_id in (contoso.pk, fleet.petra.tenant_id):
        told = trail(tenant_id, code="policies.template.applied", target_id=str(contoso.pk))
        assert [(each.actor_label, each.actor_tenant_id, each.after) for each in told] == [
            ("Petra", fleet.petra.tenant_id, {"template": "Careful start", "version": 1, "values": 3})
        ]
    changed = trail(contoso.pk, code="policies.default.changed")
    assert [each.actor_tenant_id for each in changed] == [fleet.petra.tenant_id]
    with use_login("worker"):
        mails = OutgoingMail.objects.filter(kind="policy_changed", tenant_id=contoso.pk)
        assert [mail.to_user_id for mail in mails] == [gina.pk]


def test_only_the_chosen_values_are_set(fleet: Fleet) -> None:
    fleet.start(fleet.chosen("default"))
    work()

    assert history(fleet.customers[0]) == ALL[:1]


def test_a_second_run_finds_nothing_to_do(fleet: Fleet) -> None:
    chosen = fleet.chosen()
    fleet.start(chosen)
    fleet.start(chosen)
    work()

    assert [code for _subject, code in outcome()] == ["applied"] * 3 + ["nothing_to_do"] * 3
    assert len(history(fleet.customers[0])) == 3


def test_what_somebody_changed_meanwhile_is_left_alone_as_a_whole(fleet: Fleet) -> None:
    fleet.start()
    moved = operations.of_product([product("power-bi-pro").key], "OnlyTrialsWithoutPaymentMethod")
    change_policies(actor=actor_of(fleet.admins[0]), changes=[moved], at=AT)
    work()

    assert outcome()[:2] == [("Contoso", "changed_meanwhile"), ("Fabrikam", "applied")]
    assert history(fleet.customers[0]) == [("product", "OnlyTrialsWithoutPaymentMethod")]
    with use_login("worker"):
        job = Job.objects.get()
    assert (job.state, job.done, job.failed) == ("done", 2, 1)


def test_what_somebody_set_meanwhile_as_the_template_says_is_no_reason_to_skip(fleet: Fleet) -> None:
    fleet.start()
    same = operations.of_product([product("power-bi-pro").key], "Disabled")
    change_policies(actor=actor_of(fleet.admins[0]), changes=[same], at=AT)
    work()

    assert outcome()[0] == ("Contoso", "applied")
    assert history(fleet.customers[0]) == [("product", "Disabled"), ALL[0], ("cap", 5000)]


def test_a_customer_undoes_it_in_its_own_history(fleet: Fleet) -> None:
    fleet.start()
    work()
    gina = actor_of(fleet.admins[0])
    with tenant_atomic(gina):
        key = PolicyChange.objects.order_by("id")[0].key

    undo_change(actor=gina, key=key, at=AT)

    assert history(fleet.customers[0])[-1] == ("default", "Enabled")


@pytest.mark.parametrize(
    ("at", "codes"),
    [
        (END - timedelta(seconds=1), ["applied"] * 3),
        (END, ["no_longer_allowed"] * 3),
        (END + timedelta(seconds=1), ["no_longer_allowed"] * 3),
    ],
)
def test_a_relationship_counts_to_its_last_second(fleet: Fleet, at: datetime, codes: list[str]) -> None:
    fleet.start()
    work(at)

    assert [code for _subject, code in outcome()] == codes
    assert bool(history(fleet.customers[0])) == (codes[0] == "applied")


def end(fleet: Fleet) -> None:
    key = fleet.relationships[1].key
    end_relationship(actor=actor_of(fleet.admins[1]), key=key, at=AT)


def take_back(fleet: Fleet) -> None:
    with tenant_atomic(fleet.customers[1].pk):
        fleet.relationships[1].assignments.all().delete()


def suspend(fleet: Fleet) -> None:
    with use_login("worker"):
        Tenant.objects.filter(pk=fleet.customers[1].pk).update(standing="suspended")


def ask_for_a_factor(fleet: Fleet) -> None:
    with use_login("worker"):
        Tenant.objects.filter(pk=fleet.customers[1].pk).update(admins_need_second_factor=True)


def become_a_school(fleet: Fleet) -> None:
    with use_login("worker"):
        Tenant.objects.filter(pk=fleet.customers[1].pk).update(kind="education")


LOSSES: list[Callable[[Fleet], None]] = [end, take_back, suspend, ask_for_a_factor, become_a_school]


@pytest.mark.parametrize("lose", LOSSES)
def test_a_right_that_is_lost_during_the_job_stops_it_for_that_customer_alone(
    fleet: Fleet, lose: Callable[[Fleet], None]
) -> None:
    fleet.start()
    lose(fleet)
    work()

    assert outcome() == [("Contoso", "applied"), ("Fabrikam", "no_longer_allowed"), ("Woodgrove", "applied")]
    assert history(fleet.customers[1]) == []


def test_a_session_with_a_second_factor_reaches_who_asks_for_one(fleet: Fleet) -> None:
    chosen = fleet.chosen()
    ask_for_a_factor(fleet)
    fleet.start(chosen, has_second_factor=True)
    work()

    assert outcome()[1] == ("Fabrikam", "applied")


def test_a_starter_who_is_disabled_changes_nothing_more(fleet: Fleet) -> None:
    fleet.start()
    with tenant_atomic(fleet.petra.tenant_id):
        User.objects.filter(pk=fleet.petra.pk).update(status="disabled")
    work()

    with use_login("worker"):
        assert Job.objects.get().state == "failed"
    assert history(fleet.customers[0]) == []


def test_a_suspended_partner_changes_nothing_more(fleet: Fleet) -> None:
    fleet.start()
    with use_login("worker"):
        Tenant.objects.filter(pk=fleet.petra.tenant_id).update(standing="suspended")
    work()

    assert [code for _subject, code in outcome()] == ["not_allowed"] * 3
    assert history(fleet.customers[0]) == []


# --- Starting ---------------------------------------------------------------------------------------------


def test_another_version_than_was_looked_at_is_not_applied(fleet: Fleet) -> None:
    chosen = fleet.chosen()
    change_template(
        actor=fleet.actor,
        key=fleet.template.key,
        seen=1,
        name="Careful start",
        said={"default": "Enabled"},
        at=AT,
    )

    with pytest.raises(TemplateMoved):
        fleet.start(chosen)

    assert not started()


def started() -> bool:
    with use_login("worker"):
        return bool(Job.objects.exists())


def test_a_job_works_with_the_template_as_it_was_confirmed(fleet: Fleet) -> None:
    fleet.start()
    change_template(
        actor=fleet.actor, key=fleet.template.key, seen=1, name="Other", said={"default": "Enabled"}, at=AT
    )
    work()

    assert history(fleet.customers[0]) == [*ALL, ("cap", 5000)]


@pytest.mark.parametrize("lines", [(), ("default", "offer:SaaS")])
def test_only_values_of_the_template_are_chosen(fleet: Fleet, lines: tuple[str, ...]) -> None:
    with pytest.raises(Malformed) as refused:
        fleet.start(Chosen(lines, fleet.chosen().seen))

    assert refused.value.field == "line"
    assert not started()


def test_somebody_elses_customer_is_missing(fleet: Fleet) -> None:
    stranger = make_tenant(name="Stranger")

    with pytest.raises(NotVisible):
        fleet.start(Chosen(("default",), {stranger.pk: {}}))

    assert not started()


def test_a_customer_whose_policy_one_only_reads_is_refused(fleet: Fleet) -> None:
    litware = make_tenant(name="Litware")
    make_relationship(litware, fleet.petra.tenant, roles=("global_reader",), users=(fleet.petra,))

    with pytest.raises(NotAllowed):
        fleet.start(Chosen(("default",), {litware.pk: {}}))

    assert not started()


def test_nils_who_was_given_no_relationship_starts_nothing(fleet: Fleet) -> None:
    nils = actor_of(make_user(fleet.petra.tenant, roles=("global_admin",)))
    chosen = fleet.chosen()

    with pytest.raises(NotVisible):
        start_applying(
            actor=nils,
            key=fleet.template.key,
            version=1,
            chosen=chosen,
            why="",
            has_second_factor=True,
            back="",
            at=AT,
        )

    assert not started()


def test_nobody_else_sees_the_job_whatever_the_roles(fleet: Fleet) -> None:
    job = fleet.start()
    nils = actor_of(make_user(fleet.petra.tenant, roles=("global_admin",)))

    with tenant_atomic(fleet.petra.tenant_id):
        assert [each.key for each in Job.objects.visible_to(fleet.actor)] == [job.key]
        assert list(Job.objects.visible_to(nils)) == []


def test_a_customer_that_is_not_ones_own_is_no_longer_allowed(fleet: Fleet) -> None:
    with pytest.raises(NoLongerAllowed):
        apply_to_customer(
            actor=fleet.actor,
            customer_id=make_tenant().pk,
            said={"default": "Disabled"},
            seen={},
            template="",
            version=1,
            why="",
            has_second_factor=False,
            at=AT,
        )
