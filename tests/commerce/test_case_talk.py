"""A conversation with support: who opens it, which support applies, and how it goes on (product §14)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError

from commerce.models import CaseFile, CaseMessage, PremierIncidents, Subscription, SupportCase
from commerce.operations.agreements import grant_incidents
from commerce.operations.case_talk import (
    QUIET,
    CaseOver,
    FileRefused,
    NoIncidentLeft,
    NotPremier,
    Written,
    answer_case,
    assign_case,
    close_quiet_cases,
    give_incident_back,
    premier_of,
    solve,
    write_in,
)
from commerce.operations.cases import carry_out_case, decline_case, open_case
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.people import disable_user
from directory.staff import staff_grants
from tests.commerce.talking import PNG, again, ask, grant, mails, said, used
from tests.factories import (
    AT,
    actor_of,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LATER = AT + timedelta(hours=1)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat", email="pat@contoso.test")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", roles=("billing_admin",))


@pytest.fixture
def own(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


@pytest.fixture
def central(bill: User) -> Subscription:
    return make_central_subscription(bill)


@pytest.fixture
def sven() -> Actor:
    vendor = make_tenant(name="The vendor", kind="vendor")
    return replace(actor_of(make_user(vendor, name="Sven Larsen")), grants=staff_grants({"staff_support"}))


def seen_by(user: User, case: SupportCase) -> bool:
    with tenant_atomic(user.tenant_id):
        return SupportCase.objects.visible_to(actor_of(user)).filter(pk=case.pk).exists()


# --- Opening -------------------------------------------------------------------------------------------------


def test_a_purchaser_asks_about_an_own_purchase(pat: User, own: Subscription) -> None:
    case = ask(pat, own, written=Written("Where is it?", [("screen.png", PNG)]))

    assert (case.state, case.subject, case.asked_by, case.is_premier, case.is_organizations) == (
        *("open", "Report is gone", "Pat", False, False),
    )
    assert said(case) == [("Pat", "Where is it?", False)]
    with tenant_atomic(case.tenant_id):
        file = CaseFile.objects.get()
        assert (file.name, file.media_type, bytes(file.content), file.size) == (
            *("screen.png", "image/png", PNG, len(PNG)),
        )
        assert AuditEntry.objects.filter(code="commerce.case.opened").count() == 1


def test_who_sees_a_case_is_who_asked_and_of_the_organizations_its_admins(
    contoso: Tenant, pat: User, bill: User, own: Subscription, central: Subscription
) -> None:
    reader = make_user(contoso, roles=("global_reader",))
    license_admin = make_user(contoso, roles=("license_admin",))
    of_pat, of_all = ask(pat, own), ask(bill, central)

    assert [seen_by(user, of_pat) for user in (pat, bill, reader, license_admin)] == [
        True,
        False,
        False,
        False,
    ]
    assert [seen_by(user, of_all) for user in (pat, bill, reader, license_admin)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotVisible),
        (("user_admin",), NotVisible),
        (("billing_admin",), NotAllowed),
        (("global_admin",), NotAllowed),
        (("global_reader",), NotAllowed),
    ],
)
def test_nobody_asks_about_a_colleagues_purchase(
    contoso: Tenant, own: Subscription, roles: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(make_user(contoso, roles=roles), own)

    with tenant_atomic(contoso.pk):
        assert SupportCase.objects.count() == 0


def test_a_partner_asks_for_the_organization_with_the_delegated_role(
    contoso: Tenant, bill: User, central: Subscription
) -> None:
    northwind = make_tenant()
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))

    case = ask(petra, central, actor=actor_of(petra, contoso))

    assert (case.asked_by, case.asked_by_id, case.is_organizations) == ("Petra", None, True)
    assert seen_by(bill, case)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"kind": "cancel"}, "kind"),
        ({"kind": ""}, "kind"),
        ({"subject": " \n "}, "subject"),
        ({"subject": "x" * 121}, "subject"),
        ({"written": Written("  ")}, "text"),
        ({"written": Written("x" * 20_001)}, "text"),
        ({"written": Written("a\0b")}, "text"),
        ({"written": Written("See.", [("a.zip", b"PK\x03\x04" + b"\0" * 30)])}, "files"),
        ({"written": Written("See.", [(f"{n}.txt", b"x") for n in range(6)])}, "files"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_nothing_is_kept(
    pat: User, own: Subscription, facts: dict[str, object], field: str
) -> None:
    with pytest.raises(Malformed) as refused:
        ask(pat, own, **facts)

    assert refused.value.field == field
    with tenant_atomic(pat.tenant_id):
        assert (SupportCase.objects.count(), CaseMessage.objects.count()) == (0, 0)


def test_the_file_that_is_refused_is_named(pat: User, own: Subscription) -> None:
    with pytest.raises(FileRefused) as refused:
        ask(pat, own, written=Written("See.", [("good.txt", b"x"), ("bad.exe", b"MZ\0")]))

    assert (refused.value.left_out.name, refused.value.left_out.why) == ("bad.exe", "kind")


# --- Premier incidents ---------------------------------------------------------------------------------------


def test_a_premier_case_takes_an_incident_until_none_is_left(bill: User, central: Subscription) -> None:
    assert central.agreement is not None
    grant(central.agreement, 1)

    case = ask(bill, central, is_premier=True)
    with pytest.raises(NoIncidentLeft):
        ask(bill, central, is_premier=True)

    assert case.is_premier
    assert used(central.agreement.pk, case.tenant_id) == 1
    with tenant_atomic(case.tenant_id):
        assert SupportCase.objects.count() == 1


def test_a_standard_case_takes_none(bill: User, central: Subscription) -> None:
    assert central.agreement is not None
    grant(central.agreement, 1)

    ask(bill, central)

    assert used(central.agreement.pk, bill.tenant_id) == 0


def test_a_self_service_purchase_is_never_premier(
    pat: User, bill: User, own: Subscription, central: Subscription
) -> None:
    assert central.agreement is not None
    grant(central.agreement, 5)

    with pytest.raises(Malformed):
        ask(pat, own, is_premier=True)

    with tenant_atomic(pat.tenant_id):
        assert premier_of(own) is None
    assert used(central.agreement.pk, pat.tenant_id) == 0


@pytest.mark.parametrize("channel", ["self-service", "trial"])
def test_the_database_takes_no_premier_case_for_what_was_not_bought_centrally(
    pat: User, own: Subscription, central: Subscription, channel: str
) -> None:
    """Not for a purchase that the organization took over under its agreement, either."""
    case = ask(pat, own)
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.filter(pk=own.pk).update(
            channel=channel, owner_kind="organization", owner_user=None, agreement=central.agreement
        )

    with pytest.raises(IntegrityError, match="premier incident"), tenant_atomic(pat.tenant_id):
        SupportCase.objects.filter(pk=case.pk).update(agreement_id=central.agreement_id)
    with pytest.raises(IntegrityError, match="premier incident"), tenant_atomic(pat.tenant_id):
        SupportCase.objects.create(
            tenant_id=pat.tenant_id,
            kind="question",
            subscription=own,
            agreement=central.agreement,
            asked_at=AT,
            moved_at=AT,
            asked_by="Pat",
        )


@pytest.mark.parametrize(("granted", "taken"), [(1, 2), (0, 1)])
def test_the_database_keeps_no_more_used_than_granted(
    central: Subscription, granted: int, taken: int
) -> None:
    assert central.agreement is not None
    with pytest.raises(IntegrityError, match="commerce_premierincidents_left"):
        grant(central.agreement, granted, taken)


def test_an_incident_is_given_back_once_with_a_reason(bill: User, central: Subscription, sven: Actor) -> None:
    assert central.agreement is not None
    grant(central.agreement, 3)
    case = ask(bill, central, is_premier=True)

    with pytest.raises(Malformed):
        give_incident_back(case=case, staff=sven, reason=" ", at=LATER)
    give_incident_back(case=case, staff=sven, reason="Our release broke it.", at=LATER)
    with pytest.raises(NotPremier):
        give_incident_back(case=case, staff=sven, reason="Again.", at=LATER)

    assert used(central.agreement.pk, case.tenant_id) == 0
    with tenant_atomic(case.tenant_id):
        entry = AuditEntry.objects.get(code="commerce.case.incident_given_back")
    assert (entry.actor_label, entry.after) == ("Support: Sven Larsen", {"reason": "Our release broke it."})


def test_a_standard_case_gives_none_back(bill: User, central: Subscription, sven: Actor) -> None:
    with pytest.raises(NotPremier):
        give_incident_back(case=ask(bill, central), staff=sven, reason="Ours.", at=LATER)


def test_incidents_are_granted_by_who_works_at_the_catalogue(central: Subscription, sven: Actor) -> None:
    assert central.agreement is not None
    olga = replace(sven, grants=staff_grants({"staff_catalogue"}), label="Olga")
    facts = {"tenant_id": central.tenant_id, "agreement_id": central.agreement.pk, "at": AT}

    with pytest.raises(NotVisible):
        grant_incidents(staff=sven, granted=5, **facts)
    grant_incidents(staff=olga, granted=5, **facts)
    grant_incidents(staff=olga, granted=5, **facts)
    with tenant_atomic(central.tenant_id):
        PremierIncidents.objects.update(used=3)
    with pytest.raises(Malformed):
        grant_incidents(staff=olga, granted=2, **facts)
    agreed = grant_incidents(staff=olga, granted=3, **facts)

    assert agreed.premier is not None
    assert (agreed.premier.granted, agreed.premier.left) == (3, 0)
    with tenant_atomic(central.tenant_id):
        entries = AuditEntry.objects.filter(code="commerce.agreement.incidents_granted").order_by("id")
        assert [entry.after for entry in entries] == [{"granted": 5}, {"granted": 3}]


# --- Going on ------------------------------------------------------------------------------------------------


def test_support_answers_and_who_asked_gets_it_by_mail(
    settings: object, pat: User, bill: User, own: Subscription, sven: Actor
) -> None:
    settings.SUPPORT_ADDRESS = "support@vendor.test"  # type: ignore[attr-defined]
    case = ask(pat, own)

    answer_case(case=case, staff=sven, written=Written("Export it again."), state="answered", at=LATER)

    (mail,) = mails(case)
    assert (mail.to_user_id, mail.context["text"]) == (pat.pk, "Export it again.")
    assert mail.context["reply_to"].startswith("support+")
    assert said(case)[1] == ("Support: Sven Larsen", "Export it again.", True)
    row = again(case)
    assert (row.state, row.answered_by, row.moved_at) == ("answered", "Support: Sven Larsen", LATER)
    for tenant_id, label in ((case.tenant_id, "Support: Sven Larsen"), (sven.tenant_id, "Sven Larsen")):
        with tenant_atomic(tenant_id):
            assert AuditEntry.objects.get(code="commerce.case.answered").actor_label == label


def test_without_a_mailbox_the_mail_has_no_address_to_answer_to(
    pat: User, own: Subscription, sven: Actor
) -> None:
    case = ask(pat, own)

    answer_case(case=case, staff=sven, written=Written("Yes."), state="waiting", at=LATER)

    assert mails(case)[0].context["reply_to"] == ""


def test_where_who_asked_has_left_the_admins_read_the_answer_of_the_organizations_case_alone(
    contoso: Tenant, pat: User, bill: User, own: Subscription, central: Subscription, sven: Actor
) -> None:
    greg = make_user(contoso, name="Greg", roles=("global_admin",))
    gina = make_user(contoso, name="Gina", roles=("global_admin",))
    cases = (ask(greg, central), ask(pat, own))
    for user in (greg, pat):
        disable_user(actor=actor_of(gina), user_id=user.pk, at=AT)

    for case in cases:
        answer_case(case=case, staff=sven, written=Written("Yes."), state="answered", at=LATER)

    assert {mail.to_user_id for mail in mails(cases[0])} == {gina.pk, bill.pk}


def test_a_message_of_the_customer_lets_it_wait_for_support_again(
    pat: User, own: Subscription, sven: Actor
) -> None:
    case = ask(pat, own)
    answer_case(case=case, staff=sven, written=Written("Which browser?"), state="waiting", at=LATER)

    write_in(actor=actor_of(pat), key=case.key, written=Written("Firefox."), at=LATER)

    assert (again(case).state, [text for _author, text, _is in said(case)]) == (
        *("open", ["Where is my report?", "Which browser?", "Firefox."]),
    )


def test_a_solved_case_is_opened_again_within_14_days_and_closed_then(pat: User, own: Subscription) -> None:
    case = ask(pat, own)
    solve(actor=actor_of(pat), key=case.key, at=AT)
    solve(actor=actor_of(pat), key=case.key, at=LATER)

    assert (again(case).state, again(case).moved_at) == ("solved", AT)
    assert close_quiet_cases(at=AT + QUIET - timedelta(seconds=1)) == 0
    write_in(
        actor=actor_of(pat), key=case.key, written=Written("Not yet."), at=AT + QUIET - timedelta(seconds=1)
    )
    assert close_quiet_cases(at=AT + QUIET) == 0
    solve(actor=actor_of(pat), key=case.key, at=AT + QUIET)
    assert close_quiet_cases(at=AT + 2 * QUIET) == 1
    assert close_quiet_cases(at=AT + 2 * QUIET) == 0
    with pytest.raises(CaseOver):
        write_in(actor=actor_of(pat), key=case.key, written=Written("Too late."), at=AT + 2 * QUIET)
    with pytest.raises(CaseOver):
        solve(actor=actor_of(pat), key=case.key, at=AT + 2 * QUIET)

    assert again(case).state == "closed"
    with tenant_atomic(case.tenant_id):
        codes = set(AuditEntry.objects.filter(target_type="case").values_list("code", flat=True))
        closed = AuditEntry.objects.get(code="commerce.case.closed")
    assert codes == {f"commerce.case.{what}" for what in ("opened", "solved", "reopened", "closed")}
    assert (closed.door, closed.target_id, closed.target_label) == ("job", str(case.key), "Report is gone")


@pytest.mark.parametrize(("state", "closes"), [("answered", 1), ("waiting", 1), ("solved", 1)])
def test_what_nobody_answers_is_closed_after_14_days(
    pat: User, own: Subscription, sven: Actor, state: str, closes: int
) -> None:
    case, waits = ask(pat, own), ask(pat, own)
    answer_case(case=case, staff=sven, written=Written("Yes."), state=state, at=AT)

    assert close_quiet_cases(at=AT + QUIET) == closes
    assert (again(case).state, again(waits).state) == ("closed", "open")


def test_a_reader_sees_it_and_writes_nothing(contoso: Tenant, bill: User, central: Subscription) -> None:
    case = ask(bill, central)
    rhea = make_user(contoso, roles=("global_reader",))

    for deed in (
        lambda: write_in(actor=actor_of(rhea), key=case.key, written=Written("x"), at=LATER),
        lambda: solve(actor=actor_of(rhea), key=case.key, at=LATER),
    ):
        with pytest.raises(NotAllowed):
            deed()

    assert (len(said(case)), again(case).state) == (1, "open")


def test_a_stranger_finds_no_case(pat: User, own: Subscription) -> None:
    case = ask(pat, own)
    charlie = make_user(make_tenant(), roles=("global_admin",))

    with pytest.raises(NotVisible):
        write_in(actor=actor_of(charlie), key=case.key, written=Written("x"), at=LATER)


def test_a_member_of_the_staff_takes_a_case_on_and_gives_it_up(
    pat: User, own: Subscription, sven: Actor
) -> None:
    case = ask(pat, own)

    assign_case(case=case, staff=sven, is_mine=True, at=LATER)
    assign_case(case=case, staff=sven, is_mine=True, at=LATER)
    assert (again(case).assigned_to_id, again(case).assigned_to) == (sven.user_id, "Sven Larsen")
    assign_case(case=case, staff=sven, is_mine=False, at=LATER)

    assert (again(case).assigned_to_id, again(case).assigned_to) == (None, "")
    with tenant_atomic(case.tenant_id):
        assert AuditEntry.objects.filter(code="commerce.case.assigned").count() == 2


def test_nobody_but_supports_staff_answers(pat: User, own: Subscription, sven: Actor) -> None:
    case = ask(pat, own)
    for actor in (actor_of(pat), replace(sven, grants=staff_grants({"staff_catalogue"}))):
        with pytest.raises(NotVisible):
            answer_case(case=case, staff=actor, written=Written("x"), state="answered", at=LATER)
        with pytest.raises(NotVisible):
            assign_case(case=case, staff=actor, is_mine=True, at=LATER)

    assert len(said(case)) == 1


def test_a_conversation_is_neither_carried_out_nor_declined(
    pat: User, own: Subscription, sven: Actor
) -> None:
    asked = ask(pat, own)
    case = open_case(staff=sven, case_id=asked.pk)

    for deed in (carry_out_case, decline_case):
        with pytest.raises(NotVisible):
            deed(case=case, staff=sven, answer="No.", at=LATER)

    assert again(case).state == "open"


def test_a_deleted_person_is_named_in_no_case(contoso: Tenant, pat: User, own: Subscription) -> None:
    case = ask(pat, own)
    gina = make_user(contoso, roles=("global_admin",))

    delete_user(actor=actor_of(gina), user_id=pat.pk, at=LATER, real_at=LATER)

    assert (again(case).asked_by, said(case)[0][0]) == ("Former user", "Former user")
