"""The vendor's staff answer cases, judge solutions and agree on prices; both trails say so (product §2, §11, §12)."""

from datetime import timedelta

import pytest

from commerce.models import Agreement, Bill, Solution, Subscription, SupportCase
from commerce.operations import cases, solutions
from commerce.operations.agreements import (
    NotInForce,
    agree_on_price,
    agree_on_terms,
    agreement_for,
    customer_of_domain,
    end_agreement,
    take_up_agreement,
)
from commerce.operations.cancellations import CancellationChanged
from commerce.queries.central import agreed_price, agreement_of
from commerce.queries.staff_lists import AGREEMENTS, CASES
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.listings import page
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.people import disable_user, enable_user
from tests.factories import AT, actor_of, make_self_service_subscription, make_tenant, make_user, plan
from tests.operator.work import make_work

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

SOON = AT + timedelta(days=1)
LATER = AT + timedelta(days=8)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def dora(contoso: Tenant) -> User:
    return make_user(contoso, name="Dora")


@pytest.fixture
def asked(gina: User, dora: User) -> SupportCase:
    """Support is asked to cancel what Dora, who left, still owns."""
    bought = make_self_service_subscription(dora, quantity=3)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=AT)
    return cases.ask_to_cancel(actor=actor_of(gina), key=bought.key, message="She left.", at=AT)


def trail(tenant_id: int, code: str) -> list[str]:
    with tenant_atomic(tenant_id):
        rows = AuditEntry.objects.filter(code=code).order_by("pk")
        return list(rows.values_list("actor_label", flat=True))


def bought_of(case: SupportCase) -> Subscription:
    with tenant_atomic(case.tenant_id):
        row: Subscription = Subscription.objects.get(pk=case.subscription_id)
        return row


def test_canceling_inside_the_refund_window_gives_back_what_the_page_said(
    sven: Actor, asked: SupportCase, empty_processor: str
) -> None:
    case = cases.open_case(staff=sven, case_id=asked.pk)
    with tenant_atomic(case.tenant_id):
        quote = cases.quote_case(case=case, at=SOON)
    assert quote is not None

    done = cases.carry_out_case(case=case, staff=sven, answer="Done.", at=SOON, seen=quote.seen)

    assert (done.state, done.answered_by) == ("done", "Support: Sven Larsen")
    assert bought_of(case).state == "disabled"
    with tenant_atomic(case.tenant_id):
        notes = Bill.objects.filter(type="cancel").values_list("total_minor", flat=True)
        assert list(notes) == [-quote.refund_minor]
        assert OutgoingMail.objects.filter(kind="case_answered").count() == 1
    assert trail(case.tenant_id, "commerce.case.answered") == ["Support: Sven Larsen"]
    assert trail(sven.tenant_id, "commerce.case.answered") == ["Sven Larsen"]
    assert violations(at=SOON) == []


def test_another_sum_than_the_page_said_changes_nothing(sven: Actor, asked: SupportCase) -> None:
    case = cases.open_case(staff=sven, case_id=asked.pk)
    with tenant_atomic(case.tenant_id):
        quote = cases.quote_case(case=case, at=SOON)
    assert quote is not None

    with pytest.raises(CancellationChanged):
        cases.carry_out_case(case=case, staff=sven, answer="", at=LATER, seen=quote.seen)

    assert (bought_of(case).state, bought_of(case).recurring_billing) == ("active", True)
    with tenant_atomic(case.tenant_id):
        assert SupportCase.objects.get().state == "open"


def test_carried_out_twice_is_once(sven: Actor, asked: SupportCase) -> None:
    case = cases.open_case(staff=sven, case_id=asked.pk)
    cases.carry_out_case(case=case, staff=sven, answer="", at=LATER)

    with pytest.raises(cases.CaseClosed):
        cases.carry_out_case(case=case, staff=sven, answer="", at=LATER)
    with pytest.raises(cases.CaseClosed):
        cases.decline_case(case=case, staff=sven, answer="No.", at=LATER)

    assert bought_of(case).recurring_billing is False
    assert trail(sven.tenant_id, "commerce.case.answered") == ["Sven Larsen"]


def test_who_is_back_cancels_it_alone(sven: Actor, asked: SupportCase, gina: User, dora: User) -> None:
    enable_user(actor=actor_of(gina), user_id=dora.pk, at=SOON)
    case = cases.open_case(staff=sven, case_id=asked.pk)

    with pytest.raises(cases.PurchaserIsHere):
        cases.carry_out_case(case=case, staff=sven, answer="", at=SOON)
    declined = cases.decline_case(case=case, staff=sven, answer="She is back.", at=SOON)

    assert (declined.state, bought_of(case).state) == ("declined", "active")
    with tenant_atomic(sven):
        assert [row.id for row in page(CASES, "open", "").rows] == []
        assert [row.id for row in page(CASES, "declined", "conto").rows] == [case.pk]


def test_a_case_is_not_open_to_who_works_at_something_else(
    olga: Actor, gina: User, asked: SupportCase
) -> None:
    for actor in (olga, actor_of(gina)):
        with pytest.raises(NotVisible):
            cases.open_case(staff=actor, case_id=asked.pk)
        with pytest.raises(NotVisible):
            cases.carry_out_case(case=asked, staff=actor, answer="", at=LATER)

    assert bought_of(asked).recurring_billing is True


@pytest.mark.parametrize(("approves", "state"), [(True, "approved"), (False, "declined")])
def test_a_solution_is_judged_once(olga: Actor, contoso: Tenant, approves: bool, state: str) -> None:
    sent_in = make_work(contoso).solution

    solutions.decide(staff=olga, solution_id=sent_in.pk, is_approved=approves, answer="Because.", at=LATER)
    with pytest.raises(solutions.SolutionDecided):
        solutions.decide(staff=olga, solution_id=sent_in.pk, is_approved=True, at=LATER)

    with tenant_atomic(contoso.pk):
        assert list(Solution.objects.values_list("state", "answer")) == [(state, "Because.")]
    assert trail(contoso.pk, f"commerce.solution.{state}") == ["Support: Olga Kuiper"]
    assert trail(olga.tenant_id, f"commerce.solution.{state}") == ["Olga Kuiper"]


def test_a_solution_is_not_declined_without_a_reason(olga: Actor, contoso: Tenant) -> None:
    sent_in = make_work(contoso).solution

    with pytest.raises(Malformed):
        solutions.decide(staff=olga, solution_id=sent_in.pk, is_approved=False, answer=" ", at=LATER)

    with tenant_atomic(contoso.pk):
        assert Solution.objects.get().state == "waiting"


def test_a_first_price_makes_the_agreement_of_the_domains_organization(olga: Actor, contoso: Tenant) -> None:
    tenant_id = customer_of_domain(staff=olga, domain=" Contoso.Test ")
    for _ in range(2):
        agree_on_price(
            **{"staff": olga, "tenant_id": tenant_id, "product": "power-bi-pro", "plan": "monthly"},
            unit_price_minor=750,
            at=AT,
        )
    agree_on_terms(staff=olga, tenant_id=tenant_id, payment_days=45, at=AT)

    with tenant_atomic(olga):
        ((number, _tenant, organization, _name, days, ended_at, prices),) = page(AGREEMENTS, "").rows
    assert (organization, days, ended_at, prices) == ("Contoso", 45, None, 1)
    agreed = agreement_for(staff=olga, agreement_id=number)
    assert [(each.unit_price_minor, each.currency) for each in agreed.prices] == [(750, "EUR")]
    assert trail(contoso.pk, "commerce.agreement.price_set") == ["Support: Olga Kuiper"]
    assert trail(olga.tenant_id, "commerce.agreement.price_set") == ["Olga Kuiper"]


@pytest.mark.parametrize("domain", ["", "nobody.test", "%", "a\x00b"])
def test_a_domain_that_nobody_proved_is_nobodys(olga: Actor, contoso: Tenant, domain: str) -> None:
    with pytest.raises(Malformed):
        customer_of_domain(staff=olga, domain=domain)


def test_nothing_is_bought_under_an_agreement_that_ended_until_it_is_taken_up(
    olga: Actor, contoso: Tenant
) -> None:
    made = agree_on_price(
        **{"staff": olga, "tenant_id": contoso.pk, "product": "power-bi-pro", "plan": "monthly"},
        unit_price_minor=750,
        at=AT,
    ).agreement

    end_agreement(staff=olga, agreement_id=made.pk, at=AT)
    with pytest.raises(NotInForce):
        end_agreement(staff=olga, agreement_id=made.pk, at=AT)

    with tenant_atomic(contoso.pk):
        assert agreement_of(contoso.pk) is None
        assert agreed_price(tenant_id=contoso.pk, plan=plan()) is None
    take_up_agreement(staff=olga, agreement_id=made.pk, at=LATER)
    with tenant_atomic(contoso.pk):
        assert agreement_of(contoso.pk) == made
        assert list(Agreement.objects.values_list("ended_at", flat=True)) == [None]


def test_of_two_agreements_one_is_in_force(olga: Actor, contoso: Tenant) -> None:
    first = agree_on_terms(staff=olga, tenant_id=contoso.pk, payment_days=10, at=AT).agreement
    end_agreement(staff=olga, agreement_id=first.pk, at=AT)
    second = agree_on_terms(staff=olga, tenant_id=contoso.pk, payment_days=20, at=AT).agreement

    with pytest.raises(NotInForce):
        take_up_agreement(staff=olga, agreement_id=first.pk, at=AT)

    assert first.pk != second.pk
    with tenant_atomic(contoso.pk):
        assert agreement_of(contoso.pk) == second


def test_support_and_customers_agree_on_no_price(sven: Actor, gina: User, contoso: Tenant) -> None:
    for actor in (sven, actor_of(gina)):
        with pytest.raises(NotVisible):
            agree_on_terms(staff=actor, tenant_id=contoso.pk, payment_days=10, at=AT)

    with tenant_atomic(contoso.pk):
        assert Agreement.objects.count() == 0


def test_nothing_is_agreed_with_the_vendor_itself(olga: Actor) -> None:
    with pytest.raises(NotVisible):
        agree_on_terms(staff=olga, tenant_id=olga.tenant_id, payment_days=10, at=AT)
