"""The vendor's staff set going again what stopped, once, and both trails say so (docs/adr/0034)."""

from datetime import timedelta
from typing import Any

import pytest

from commerce.models import Bill, RefundAttempt, Subscription, SubscriptionEvent, WebhookEvent
from commerce.operations.payments import NothingOwed
from commerce.operations.staff_work import (
    ask_about_charge,
    book_refund,
    charge_again,
    handle_again,
    refund_again,
    try_again,
)
from commerce.queries.staff_work import CHARGE_WAITS, PARKED, STUCK_CHARGES
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible, PeerUnavailable
from config.kit.listings import page
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Job, OutgoingMail, Tenant
from directory.operations import jobs
from directory.operations.people import disable_user
from directory.operations.staff_deeds import NotWaiting
from directory.operations.staff_work import NoSuchWork, ReaderLeft, go_on_with_job, send_again
from directory.permissions import Capability
from directory.queries.staff_work import STOPPED_JOBS, UNSURE, WAITING_MAILS
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.operator.work import LATE, Work, lost, make_mail, make_work
from tests.processor import charges, fault

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def work() -> Work:
    return make_work(make_tenant(name="Contoso"))


def trail(tenant_id: int, code: str) -> list[tuple[str, str]]:
    with tenant_atomic(tenant_id):
        rows = AuditEntry.objects.filter(code=code).order_by("pk")
        return list(rows.values_list("actor_label", "target_id"))


def of(tenant: Tenant, model: Any, pk: int) -> Any:
    with tenant_atomic(tenant.pk):
        return model.objects.get(pk=pk)


def test_a_parked_renewal_is_taken_up_again_once(sven: Actor, work: Work) -> None:
    try_again(staff=sven, subscription_id=work.parked.pk, at=LATE)
    with pytest.raises(NotWaiting):
        try_again(staff=sven, subscription_id=work.parked.pk, at=LATE)

    parked = of(work.tenant, Subscription, work.parked.pk)
    assert (parked.parked_at, parked.parked_reason) == (None, "")
    key = str(work.parked.key)
    assert trail(work.tenant.pk, "commerce.subscription.unparked") == [("Support: Sven Larsen", key)]
    assert trail(sven.tenant_id, "commerce.subscription.unparked") == [("Sven Larsen", key)]
    with tenant_atomic(work.tenant.pk):
        assert SubscriptionEvent.objects.filter(code="unparked").count() == 1
    with tenant_atomic(sven):
        assert page(PARKED, "").rows == []


def test_a_mail_that_was_given_up_goes_out_again_once(sven: Actor, work: Work) -> None:
    send_again(staff=sven, mail_id=work.mail.pk, at=LATE)
    with pytest.raises(NotWaiting):
        send_again(staff=sven, mail_id=work.mail.pk, at=LATE)

    mail = of(work.tenant, OutgoingMail, work.mail.pk)
    assert (mail.state, mail.tries, mail.next_try_at) == ("queued", 0, LATE)
    assert len(trail(work.tenant.pk, "directory.mail.sent_again")) == 1
    assert len(trail(sven.tenant_id, "directory.mail.sent_again")) == 1


def test_a_mail_that_may_have_gone_out_is_listed_and_goes_out_again_once_nobody_is_at_it(
    sven: Actor, work: Work
) -> None:
    unsure = make_mail(work.tenant, state="sent", next_try_at=LATE)
    make_mail(work.tenant, state="sent", sent_at=AT)
    with tenant_atomic(sven):
        assert [(row.id, row.state) for row in page(WAITING_MAILS, UNSURE, "").rows] == [(unsure.pk, UNSURE)]

    with pytest.raises(NotWaiting):
        send_again(staff=sven, mail_id=unsure.pk, at=LATE - timedelta(seconds=1))
    send_again(staff=sven, mail_id=unsure.pk, at=LATE)
    with pytest.raises(NotWaiting):
        send_again(staff=sven, mail_id=unsure.pk, at=LATE)

    mail = of(work.tenant, OutgoingMail, unsure.pk)
    assert (mail.state, mail.tries, mail.next_try_at) == ("queued", 0, LATE)
    assert len(trail(sven.tenant_id, "directory.mail.sent_again")) == 1


def test_a_mail_in_the_queue_is_left_there(sven: Actor, work: Work) -> None:
    with pytest.raises(NotWaiting):
        send_again(staff=sven, mail_id=work.queued.pk, at=LATE)

    assert of(work.tenant, OutgoingMail, work.queued.pk).next_try_at == AT


def test_nothing_is_sent_to_who_left(sven: Actor, work: Work) -> None:
    gina = make_user(work.tenant, roles=("global_admin",))
    reader = make_user(work.tenant)
    mail = make_mail(work.tenant, reader=reader.pk)
    disable_user(actor=actor_of(gina), user_id=reader.pk, at=AT)

    with pytest.raises(ReaderLeft):
        send_again(staff=sven, mail_id=mail.pk, at=LATE)

    assert of(work.tenant, OutgoingMail, mail.pk).state == "dead"
    assert trail(sven.tenant_id, "directory.mail.sent_again") == []


def test_the_list_of_mails_has_no_address(sven: Actor, work: Work) -> None:
    with tenant_atomic(sven):
        (mail,) = page(WAITING_MAILS, "dead", "").rows

    assert mail.error == "SMTPRecipientsRefused: {'(address)': (550, b'no <(address)>')}"


def test_a_stopped_job_goes_on_in_the_name_of_who_started_it(
    sven: Actor, work: Work, monkeypatch: Any
) -> None:
    kind = jobs.Kind("example", "Example", Capability.SEE_PURCHASES, lambda **_: jobs.Step(cursor=None))
    monkeypatch.setitem(jobs.KINDS, "example", kind)
    go_on_with_job(staff=sven, job_id=work.job.pk, at=LATE)
    with pytest.raises(NotWaiting):
        go_on_with_job(staff=sven, job_id=work.job.pk, at=LATE)

    job = of(work.tenant, Job, work.job.pk)
    assert (job.state, job.reason, job.finished_at) == ("queued", "", None)
    assert job.actor_user_id == work.job.actor_user_id
    assert trail(work.tenant.pk, "directory.job.resumed") == [("Support: Sven Larsen", str(work.job.key))]


def test_a_job_of_an_unknown_kind_stays_stopped(sven: Actor, work: Work) -> None:
    with pytest.raises(NoSuchWork):
        go_on_with_job(staff=sven, job_id=work.job.pk, at=LATE)

    with tenant_atomic(sven):
        assert [row.id for row in page(STOPPED_JOBS, "").rows] == [work.job.pk]


def test_a_failed_refund_is_asked_for_again_once(sven: Actor, work: Work) -> None:
    refund_again(staff=sven, refund_id=work.refund.pk, at=LATE)
    with pytest.raises((NotWaiting, NothingOwed)):
        refund_again(staff=sven, refund_id=work.refund.pk, at=LATE)

    with tenant_atomic(work.tenant.pk):
        states = RefundAttempt.objects.order_by("pk").values_list("state", "credit_note_id")
        assert list(states) == [
            ("failed", work.refund.credit_note_id),
            ("created", work.refund.credit_note_id),
        ]
    assert len(trail(sven.tenant_id, "commerce.refund.asked_again")) == 1
    assert violations(at=AT, only=["I-07"]) == []


def test_a_refund_paid_otherwise_is_booked_once(sven: Actor, work: Work) -> None:
    book_refund(staff=sven, refund_id=work.refund.pk, reference="Transfer of 12 March", at=LATE)
    with pytest.raises((NotWaiting, NothingOwed)):
        book_refund(staff=sven, refund_id=work.refund.pk, reference="Transfer of 12 March", at=LATE)

    note = of(work.tenant, Bill, work.refund.credit_note_id)
    assert (note.status, note.paid_minor) == ("paid", -work.refund.amount_minor)
    ((label, _bill),) = trail(work.tenant.pk, "commerce.bill.refunded")
    assert label == "Support: Sven Larsen"
    assert len(trail(sven.tenant_id, "commerce.bill.refunded")) == 1


@pytest.mark.parametrize("reference", ["", "   ", "x" * 101, "a\x00b"])
def test_a_refund_is_not_booked_without_its_reference(sven: Actor, work: Work, reference: str) -> None:
    with pytest.raises(Malformed):
        book_refund(staff=sven, refund_id=work.refund.pk, reference=reference, at=LATE)

    assert of(work.tenant, Bill, work.refund.credit_note_id).status == "open"


def test_an_event_is_handled_again_once(sven: Actor, work: Work) -> None:
    handle_again(staff=sven, event_id=work.event.pk, at=LATE)
    with pytest.raises(NotWaiting):
        handle_again(staff=sven, event_id=work.event.pk, at=LATE)

    assert WebhookEvent.objects.get(pk=work.event.pk).handled_at is None
    assert trail(sven.tenant_id, "commerce.event.handled_again") == [("Sven Larsen", work.event.event_id)]


def test_a_charge_whose_answer_was_lost_is_settled_and_charged_once(
    sven: Actor, empty_processor: str
) -> None:
    attempt = lost(AT)

    found, state = ask_about_charge(staff=sven, attempt_id=attempt.pk, at=AT + CHARGE_WAITS)
    with pytest.raises(NotWaiting):
        ask_about_charge(staff=sven, attempt_id=attempt.pk, at=AT + CHARGE_WAITS)

    assert (found.organization, found.state, state) == ("Fabrikam", "unknown", "succeeded")
    assert charges() == 1
    with tenant_atomic(attempt.tenant_id):
        assert Bill.objects.get().status == "paid"
    assert len(trail(sven.tenant_id, "commerce.attempt.asked_again")) == 1


def test_a_charge_stays_while_the_processor_is_away(sven: Actor, empty_processor: str) -> None:
    attempt = lost(AT)
    fault("error", "/v1/payment_intents/*", method="GET", status=503, count=3)

    with pytest.raises(PeerUnavailable):
        ask_about_charge(staff=sven, attempt_id=attempt.pk, at=AT + CHARGE_WAITS)

    with tenant_atomic(sven):
        assert [row.id for row in page(STUCK_CHARGES, "", AT).rows] == [attempt.pk]


def test_a_bill_that_the_processor_refused_is_charged_again_once(
    sven: Actor, work: Work, empty_processor: str
) -> None:
    charge_again(staff=sven, bill_id=work.bill.pk, at=LATE)
    with pytest.raises(NotWaiting):
        charge_again(staff=sven, bill_id=work.bill.pk, at=LATE)

    assert of(work.tenant, Bill, work.bill.pk).charge_due_at == LATE
    assert trail(work.tenant.pk, "commerce.bill.try_asked") == [("Support: Sven Larsen", str(work.bill.pk))]
    assert trail(sven.tenant_id, "commerce.bill.try_asked") == [("Sven Larsen", str(work.bill.pk))]


def test_a_bill_whose_access_has_ended_is_not_in_the_list(sven: Actor, work: Work) -> None:
    with tenant_atomic(work.tenant.pk):
        Subscription.objects.filter(pk=work.bill.subscription_id).update(state="disabled")

    with pytest.raises(NotWaiting):
        charge_again(staff=sven, bill_id=work.bill.pk, at=LATE)


def test_a_young_charge_is_the_reconcilers(sven: Actor, work: Work) -> None:
    with pytest.raises(NotWaiting):
        ask_about_charge(staff=sven, attempt_id=work.charge.pk, at=AT)

    assert trail(sven.tenant_id, "commerce.attempt.asked_again") == []


@pytest.mark.parametrize("who", ["catalogue", "customer's global admin"])
def test_nobody_else_sets_anything_going(olga: Actor, work: Work, who: str) -> None:
    admin = make_user(work.tenant, roles=("global_admin",))
    actor = olga if who == "catalogue" else actor_of(admin)

    for refused in (
        lambda: try_again(staff=actor, subscription_id=work.parked.pk, at=LATE),
        lambda: send_again(staff=actor, mail_id=work.mail.pk, at=LATE),
        lambda: go_on_with_job(staff=actor, job_id=work.job.pk, at=LATE),
        lambda: ask_about_charge(staff=actor, attempt_id=work.charge.pk, at=LATE),
        lambda: charge_again(staff=actor, bill_id=work.bill.pk, at=LATE),
        lambda: refund_again(staff=actor, refund_id=work.refund.pk, at=LATE),
        lambda: book_refund(staff=actor, refund_id=work.refund.pk, reference="x", at=LATE),
        lambda: handle_again(staff=actor, event_id=work.event.pk, at=LATE),
    ):
        with pytest.raises(NotVisible):
            refused()

    assert of(work.tenant, Subscription, work.parked.pk).parked_at == AT
    assert of(work.tenant, OutgoingMail, work.mail.pk).state == "dead"
