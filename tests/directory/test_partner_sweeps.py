"""What time does to relationships (directory/operations/partner_sweeps.py)."""

from datetime import timedelta

import pytest

from config.kit.sweeps import schedule
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import AuditEntry, Invitation, MailPreference, OutgoingMail, Relationship
from directory.operations.invitations import ask_for_relationship
from directory.operations.outbox import message_of
from directory.operations.partner_sweeps import sweep_relationships
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

ENDS = AT + timedelta(days=364)
NOTHING = (0, 0, 0, 0)


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def northwind():
    return make_tenant(name="Northwind")


@pytest.fixture
def gina(contoso):
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def petra(northwind):
    return make_user(northwind, name="Petra", roles=("global_admin",))


def again(relationship):
    with tenant_atomic(relationship.tenant_id):
        return Relationship.objects.get(pk=relationship.pk)


def trail(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant, target_type="relationship").order_by("pk")
        return [(row.code.removeprefix("directory.relationship."), row.actor_label) for row in rows]


def told(tenant, kind):
    with tenant_atomic(tenant.pk):
        return list(
            OutgoingMail.objects.filter(tenant=tenant, kind=kind)
            .order_by("created_at", "to_user_id")
            .values_list("to_user_id", flat=True)
        )


def ask(petra, **changed):
    facts = {"domain": "contoso.test", "name": "N", "roles": ("license_admin",), "days": 30, "message": ""}
    return ask_for_relationship(actor=actor_of(petra), extends=False, at=AT, **(facts | changed))


# --- The end ----------------------------------------------------------------------------------------------


def test_the_end_is_noted_once_on_both_sides_and_told(contoso, northwind, gina, petra):
    nils = make_user(northwind)
    relationship = make_relationship(contoso, northwind, users=(nils, petra))

    assert sweep_relationships(at=ENDS - timedelta(seconds=1)).ended == 0
    assert again(relationship).status == "active"
    assert sweep_relationships(at=ENDS).ended == 1
    assert sweep_relationships(at=ENDS + timedelta(days=1)) == NOTHING

    assert (again(relationship).status, again(relationship).ends_at) == ("ended", ENDS)
    assert [trail(side) for side in (contoso, northwind)] == [[("ended", "Seatkeeper")]] * 2
    assert told(contoso, "relationship_ended") == [gina.pk]
    assert told(northwind, "relationship_ended") == sorted([nils.pk, petra.pk])


def test_who_left_is_not_told_and_who_wants_no_mail_has_the_notice(contoso, northwind, gina, petra):
    make_user(contoso, roles=("global_admin",), status="disabled", disabled_at=AT)
    with tenant_atomic(contoso.pk):
        MailPreference.objects.create(
            tenant=contoso, user=gina, kind="relationship_ended", is_on=False, changed_at=AT
        )
    make_relationship(contoso, northwind)

    sweep_relationships(at=ENDS)

    with tenant_atomic(contoso.pk):
        (mail,) = OutgoingMail.objects.filter(kind="relationship_ended", tenant=contoso)
    assert (mail.to_user_id, mail.state) == (gina.pk, "portal")


# --- Extending --------------------------------------------------------------------------------------------


def test_what_extends_is_moved_a_day_before_its_end_by_180_days(contoso, northwind):
    relationship = make_relationship(contoso, northwind, extends=True)

    assert sweep_relationships(at=ENDS - timedelta(days=1, seconds=1)).extended == 0
    assert sweep_relationships(at=ENDS - timedelta(days=1)).extended == 1
    assert sweep_relationships(at=ENDS - timedelta(days=1)).extended == 0

    assert (again(relationship).status, again(relationship).ends_at) == ("active", ENDS + timedelta(days=180))
    assert [trail(side) for side in (contoso, northwind)] == [[("extended", "Seatkeeper")]] * 2


def test_after_a_long_outage_the_end_lies_ahead_again(contoso, northwind):
    relationship = make_relationship(contoso, northwind, extends=True)

    assert sweep_relationships(at=ENDS + timedelta(days=200)).extended == 1

    assert again(relationship).ends_at == ENDS + timedelta(days=360)


def test_what_was_ended_is_not_extended(contoso, northwind):
    relationship = make_relationship(contoso, northwind, extends=True, status="ended")

    assert sweep_relationships(at=ENDS) == NOTHING
    assert again(relationship).ends_at == ENDS


# --- Announcing -------------------------------------------------------------------------------------------


def test_both_sides_are_told_thirty_and_seven_days_before_once_each(contoso, northwind, gina, petra):
    make_relationship(contoso, northwind)
    days = (31, 30, 29, 8, 7, 1)

    announced = [sweep_relationships(at=ENDS - timedelta(days=n)).announced for n in days]

    assert announced == [0, 2, 0, 0, 2, 0]
    assert told(contoso, "relationship_ending") == [gina.pk] * 2
    assert told(northwind, "relationship_ending") == [petra.pk] * 2


def test_a_relationship_shorter_than_that_is_not_announced_at_its_beginning(contoso, northwind, gina, petra):
    make_relationship(contoso, northwind, starts_at=AT, ends_at=AT + timedelta(days=7))

    assert sweep_relationships(at=AT).announced == 0
    assert sweep_relationships(at=AT + timedelta(days=6)).announced == 0


def test_the_announcement_of_what_extends_says_so(contoso, northwind, gina, petra):
    make_relationship(contoso, northwind, extends=True)

    sweep_relationships(at=ENDS - timedelta(days=7))

    with tenant_atomic(contoso.pk):
        mail = OutgoingMail.objects.get(kind="relationship_ending", tenant=contoso)
        assert "extends after" in message_of(mail).subject


# --- Lapsing ----------------------------------------------------------------------------------------------


def test_an_invitation_that_nobody_answered_lapses_after_ninety_days(contoso, northwind, gina, petra):
    known, unknown = ask(petra), ask(petra, domain="nobody.test")

    assert sweep_relationships(at=AT + timedelta(days=90, seconds=-1)).lapsed == 0
    assert sweep_relationships(at=AT + timedelta(days=90)).lapsed == 2
    assert sweep_relationships(at=AT + timedelta(days=91)).lapsed == 0

    with use_login("worker"):
        states = Invitation.objects.filter(pk__in=[known.pk, unknown.pk]).values_list("state", flat=True)
        assert list(states) == ["lapsed", "lapsed"]
    assert trail(contoso) == [("asked", "Petra"), ("lapsed", "Seatkeeper")]
    assert sorted(trail(northwind)) == [
        *[("asked", "Petra")] * 2,
        *[("lapsed", "Seatkeeper")] * 2,
    ]
    assert told(northwind, "relationship_decided") == [petra.pk] * 2
    assert told(contoso, "relationship_decided") == []


# --- As a whole -------------------------------------------------------------------------------------------


def killed_before_its_commit():
    with use_login("worker"), atomic():
        sweep_relationships(at=ENDS)
        raise ZeroDivisionError


def test_what_a_killed_sweep_began_is_done_by_the_next(contoso, northwind, gina, petra):
    relationship = make_relationship(contoso, northwind)
    with pytest.raises(ZeroDivisionError):
        killed_before_its_commit()
    assert again(relationship).status == "active"
    assert told(contoso, "relationship_ended") == []

    assert sweep_relationships(at=ENDS).ended == 1

    assert told(contoso, "relationship_ended") == [gina.pk]


def test_the_work_of_more_than_one_batch_is_done_in_one_call(contoso, northwind, monkeypatch):
    monkeypatch.setattr("directory.operations.partner_sweeps.BATCH", 2)
    made = [make_relationship(contoso, northwind) for _number in range(5)]

    assert sweep_relationships(at=ENDS).ended == 5
    assert {again(each).status for each in made} == {"ended"}


def test_beat_rings_it():
    assert schedule()["directory.sweep_relationships"]["schedule"] == 300.0
