"""Sending the outbox: each mail at most once, one poison row holds up nobody (product §15, F-27)."""

import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_string
from typing import Any, override

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings as configured
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connections

from commerce.models import Bill, Card, Subscription
from commerce.operations.notices import queue_purchase_notice, queue_receipt
from commerce.operations.orders import Placed
from config.celery import app
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant
from directory.operations.mail import AttachmentFailed, queue_mail
from directory.operations.outbox import RUN_SECONDS, UNDER_WAY, message_of, send_due_mails, wait_after
from directory.permissions import Role
from tests.factories import AT, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def make_mails(tenant: Tenant, *, people: int = 1, **changes: Any) -> list[OutgoingMail]:
    """Queued notices of a purchase, as the purchase queues them."""
    pat = make_user(tenant, name="Pat <b>")
    for _ in range(people):
        make_user(tenant, roles=(Role.BILLING_ADMIN,))
    subscription = make_self_service_subscription(pat)
    with tenant_atomic(tenant.pk):
        row = Subscription.objects.select_related("product", "plan", "purchaser").get(pk=subscription.pk)
        bill = Bill.objects.select_related("order", "vendor_entity").get(subscription=row)
        placed = Placed(bill.order, row, bill)
        queue_purchase_notice(placed=placed, at=AT)
        queue_receipt(placed=placed, card=Card.objects.get(), at=AT)
        OutgoingMail.objects.update(**changes) if changes else None
        return list(OutgoingMail.objects.order_by("id"))


def states(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        return list(OutgoingMail.objects.order_by("id").values_list("state", flat=True))


def test_a_due_mail_goes_out_once() -> None:
    tenant = make_tenant()
    make_mails(tenant)

    first, second = send_due_mails(at=AT), send_due_mails(at=AT + timedelta(days=1))

    assert (first, second) == (2, 0)
    assert len(mail.outbox) == 2
    with tenant_atomic(tenant.pk):
        assert set(OutgoingMail.objects.values_list("state", "tries", "sent_at")) == {("sent", 1, AT)}


def test_a_receipt_brings_the_bill_as_pdf_in_the_readers_language() -> None:
    make_mails(make_tenant())

    send_due_mails(at=AT)

    receipt = next(each for each in mail.outbox if "receipt" in each.subject)
    notice = next(each for each in mail.outbox if each is not receipt)
    ((name, content, media_type),) = receipt.attachments
    assert (name, media_type) == ("SK-NL-2026-000001.pdf", "application/pdf")
    assert b"<pdfuaid:part>1</pdfuaid:part>" in content
    assert b"/Lang(en)" in content
    assert notice.attachments == []


def test_a_mail_whose_bill_is_gone_waits_and_does_not_go_out_without_it() -> None:
    tenant = make_tenant()
    (receipt,) = [row for row in make_mails(tenant) if row.kind == "receipt"]
    with tenant_atomic(tenant.pk):
        OutgoingMail.objects.exclude(pk=receipt.pk).delete()
        OutgoingMail.objects.update(context=receipt.context | {"bill_number": "SK-NL-2026-999999"})

    assert send_due_mails(at=AT) == 0

    with tenant_atomic(tenant.pk):
        row = OutgoingMail.objects.get()
    assert (row.state, row.tries) == ("queued", 1)
    assert row.last_error.startswith("AttachmentFailed: SK-NL-2026-999999")


def test_another_tenants_bill_is_never_attached() -> None:
    tenant, other = make_tenant(), make_tenant()
    make_self_service_subscription(make_user(other))
    (receipt,) = [row for row in make_mails(tenant) if row.kind == "receipt"]
    with tenant_atomic(other.pk):
        foreign = Bill.objects.get().number
    receipt.context["bill_number"] = foreign

    with use_login("worker"), pytest.raises(AttachmentFailed):
        message_of(receipt)


def test_a_mail_waits_for_its_time() -> None:
    make_mails(make_tenant(), next_try_at=AT + timedelta(minutes=1))

    assert send_due_mails(at=AT) == 0
    assert mail.outbox == []


def test_the_notice_says_who_bought_what_with_a_link_for_each_way_and_one_to_stop_such_mails() -> None:
    tenant = make_tenant(name="Contoso")
    notice = next(row for row in make_mails(tenant) if row.kind == "purchase_notice")

    message = message_of(notice)

    text = str(message.body)
    html = str(message.alternatives[0][0])
    assert message.subject == "Pat <b> bought Power BI Pro"
    assert "Pat <b>" in text
    assert "Pat &lt;b&gt;" in html
    assert "<b>" not in html
    assert (text.count("http"), text.count("/my/notifications/off/")) == (7, 1)
    assert (html.count("href="), html.count("/my/notifications/off/")) == (7, 1)
    assert "/admin/billing/your-products/" in text
    assert "€113.74 (€94.00 and 21% VAT €19.74)" in text


def test_the_receipt_has_the_amounts_the_card_and_the_last_minute_to_cancel() -> None:
    receipt = next(row for row in make_mails(make_tenant()) if row.kind == "receipt")

    text = str(message_of(receipt).body)

    for part in (
        "SK-NL-2026-000001",
        "€113.74",
        "Visa ending in 4242",
        "10 Mar 2026 - 9 Apr 2026",
        "The next charge is on 10 Apr 2026.",
        "Until 17 Mar 2026, 10:30",
        "Seatkeeper Demo B.V.",
    ):
        assert part in text


def test_a_subject_never_has_a_second_line() -> None:
    tenant = make_tenant()
    rows = make_mails(tenant)
    rows[0].context["purchaser"] = "Pat\r\nBcc: everyone@contoso.example"
    rows[0].kind = "purchase_notice"

    message = message_of(rows[0])

    assert message.subject == "Pat Bcc: everyone@contoso.example bought Power BI Pro"
    assert message_from_string(message.message().as_string())["Bcc"] is None


def test_the_same_mail_has_the_same_id_on_every_try() -> None:
    row = make_mails(make_tenant())[0]

    ids = {message_of(row).extra_headers["Message-ID"] for _ in range(2)}

    assert len(ids) == 1


def test_what_happens_twice_is_told_once() -> None:
    tenant = make_tenant()
    user = make_user(tenant)
    with tenant_atomic(tenant.pk):
        for _ in range(2):
            queue_mail("receipt", event_key="order-1", to=[user], tenant_id=tenant.pk, context={}, at=AT)

        assert OutgoingMail.objects.count() == 1


def test_an_outage_of_the_mail_server_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant()
    make_mails(tenant)

    def refuse(self: EmailBackend, messages: list[Any]) -> int:
        raise ConnectionRefusedError("down")

    with monkeypatch.context() as down:
        down.setattr(EmailBackend, "send_messages", refuse)
        assert send_due_mails(at=AT) == 0
    assert states(tenant) == ["queued", "queued"]

    assert send_due_mails(at=AT + timedelta(hours=2)) == 2
    assert len(mail.outbox) == 2


def test_a_mail_that_cannot_be_written_dies_after_ten_tries_and_holds_up_nobody() -> None:
    tenant = make_tenant()
    rows = make_mails(tenant)
    with tenant_atomic(tenant.pk):
        OutgoingMail.objects.filter(pk=rows[0].pk).update(
            kind="no_such_kind", next_try_at=AT - timedelta(days=1)
        )

    sent = [send_due_mails(at=AT + timedelta(days=turn)) for turn in range(12)]

    assert sent == [1] + [0] * 11
    with tenant_atomic(tenant.pk):
        poison = OutgoingMail.objects.get(pk=rows[0].pk)
    assert (poison.state, poison.tries) == ("dead", 10)
    assert "no_such_kind" in poison.last_error


def test_several_senders_at_once_send_each_mail_once() -> None:
    tenant = make_tenant()
    make_mails(tenant, people=30)

    def send(_: int) -> int:
        try:
            return send_due_mails(at=AT)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(send, range(6)))

    assert sum(counts) == 31
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == len(mail.outbox) == 31


def test_a_sender_that_dies_in_between_never_sends_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_tenant()
    make_mails(tenant)

    class Died(BaseException):
        """The process ends."""

    def die(self: EmailBackend, messages: list[Any]) -> int:
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(EmailBackend, "send_messages", die)
        with pytest.raises(Died):
            send_due_mails(at=AT)

    assert send_due_mails(at=AT + timedelta(days=1)) == 1
    with tenant_atomic(tenant.pk):
        assert OutgoingMail.objects.filter(state="sent", sent_at=None).count() == 1


class _Conversation(socketserver.StreamRequestHandler):
    """A mail server that takes every mail, up to the word after which it says nothing more."""

    @override
    def handle(self) -> None:
        if not self.answers("connect", "220 here"):
            return
        while word := self.rfile.readline().decode()[:4].strip().upper():
            if not self.answers(word, "354 go on" if word == "DATA" else "250 yes"):
                return
            if word == "DATA":
                while self.rfile.readline() != b".\r\n":
                    pass
                self.server.taken += 1  # type: ignore[attr-defined]
                if not self.answers("end of DATA", "250 taken"):
                    return

    def answers(self, word: str, answer: str) -> bool:
        """Whether it does; one that does not waits until the other side has gone."""
        if word == self.server.silent_from:  # type: ignore[attr-defined]
            while self.rfile.readline():
                pass
            return False
        self.wfile.write(f"{answer}\r\n".encode())
        return True


@contextmanager
def mail_server(settings: Any, *, silent_from: str = "") -> Iterator[Any]:
    """A mail server that the portal sends to; `taken` counts the mails that it read to their end."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Conversation) as server:
        server.silent_from, server.taken = silent_from, 0  # type: ignore[attr-defined]
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address[:2]
        settings.EMAIL_TIMEOUT = 0.2
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


def test_a_mail_server_may_be_silent_for_less_than_a_task_may_run() -> None:
    # At most seven answers are waited for before a mail is under way.
    assert 0 < configured.EMAIL_TIMEOUT * 7 < app.conf.task_soft_time_limit
    assert app.conf.task_time_limit < UNDER_WAY.total_seconds()


def test_all_mails_of_a_round_go_through_one_connection(settings: Any) -> None:
    make_mails(make_tenant())

    with mail_server(settings) as server:
        assert send_due_mails(at=AT) == 2

    assert server.taken == 2


def test_a_silent_mail_server_costs_one_mail_a_try_and_the_others_nothing(settings: Any) -> None:
    tenant = make_tenant()
    make_mails(tenant)

    with mail_server(settings, silent_from="connect"):
        assert send_due_mails(at=AT) == 0

    with tenant_atomic(tenant.pk):
        rows = list(OutgoingMail.objects.order_by("id").values_list("state", "tries", "next_try_at"))
    assert rows == [("queued", 1, AT + timedelta(minutes=1)), ("queued", 0, AT)]


def test_a_mail_that_the_server_took_without_a_word_is_not_sent_again_by_itself(settings: Any) -> None:
    tenant = make_tenant()
    make_mails(tenant)

    with mail_server(settings, silent_from="end of DATA") as server:
        assert send_due_mails(at=AT) == 0
    assert send_due_mails(at=AT + timedelta(days=1)) == 0

    assert server.taken == 1
    with tenant_atomic(tenant.pk):
        rows = list(OutgoingMail.objects.order_by("id").values_list("state", "sent_at", "last_error"))
    assert rows[0] == ("sent", None, "The mail server did not answer; the mail may have gone out.")
    assert rows[1][0] == "queued"


def test_a_round_ends_by_the_clock() -> None:
    tenant = make_tenant()
    make_mails(tenant)

    assert send_due_mails(at=AT, seconds=0) == 0
    assert states(tenant) == ["queued", "queued"]
    assert app.conf.task_soft_time_limit / 2 > RUN_SECONDS


def test_a_mail_that_had_not_begun_to_go_out_is_not_lost_with_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant = make_tenant()
    make_mails(tenant)

    def take_too_long(self: EmailBackend) -> bool:
        raise SoftTimeLimitExceeded

    with monkeypatch.context() as slow:
        slow.setattr(EmailBackend, "open", take_too_long)
        with pytest.raises(SoftTimeLimitExceeded):
            send_due_mails(at=AT)

    with tenant_atomic(tenant.pk):
        assert set(OutgoingMail.objects.values_list("state", "tries")) == {("queued", 0)}
    assert send_due_mails(at=AT) == 2


@pytest.mark.parametrize(("tries", "minutes"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 360), (40, 360)])
def test_waits_longer_each_time(tries: int, minutes: int) -> None:
    assert wait_after(tries) == timedelta(minutes=minutes)
