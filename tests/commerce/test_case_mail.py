"""Answers to support that come by mail: whose are taken, and what is kept of them (product §14; RFC 3834)."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from types import SimpleNamespace

import pytest
from django.core.management import call_command

from commerce.models import CaseFile, CaseMessage, Subscription, SupportCase
from commerce.operations.case_addresses import case_of_address, reply_address
from commerce.operations.case_mail import MOST_AN_HOUR, Outcome, receive_reply
from commerce.operations.case_talk import QUIET, Written, answer_case, close_quiet_cases, solve
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.operations.people import disable_user
from directory.staff import staff_grants
from tests.commerce.talking import PNG, again, ask, mails, said
from tests.factories import (
    AT,
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LATER = AT + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _address(settings: SimpleNamespace) -> None:
    settings.SUPPORT_ADDRESS = "Support@Vendor.test"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat", email="pat@contoso.test")


@pytest.fixture
def own(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


@pytest.fixture
def case(pat: User, own: Subscription) -> SupportCase:
    return ask(pat, own)


@pytest.fixture
def sven() -> Actor:
    vendor = make_tenant(name="The vendor", kind="vendor")
    return replace(actor_of(make_user(vendor, name="Sven Larsen")), grants=staff_grants({"staff_support"}))


def mail(
    case: SupportCase, text: str = "It works now.", sender: str = "Pat <pat@contoso.test>"
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = f"Support <{reply_address(case.key)}>"
    message["Subject"] = "Re: Support answered"
    message["Message-ID"] = make_msgid(domain="contoso.test")
    message.set_content(text)
    return message


def receive(message: EmailMessage, at: object = LATER) -> str:
    return receive_reply(bytes(message), at=at).outcome.value  # type: ignore[arg-type]


def nothing_was_taken(case: SupportCase) -> bool:
    return said(case) == [("Pat", "Where is my report?", False)]


# --- Taken ---------------------------------------------------------------------------------------------------


def test_an_answer_is_taken_into_its_case(case: SupportCase) -> None:
    received = receive_reply(bytes(mail(case)), at=LATER)

    assert (received.outcome, received.case) == (Outcome.TAKEN, case.key)
    assert said(case)[1] == ("Pat", "It works now.", False)
    with tenant_atomic(case.tenant_id):
        message = CaseMessage.objects.get(is_mail=True)
        entry = AuditEntry.objects.get(code="commerce.case.written_in")
    assert (message.author_id, message.at) == (case.asked_by_id, LATER)
    assert (entry.door, entry.actor_label) == ("mail", "Pat")


def test_the_mail_that_support_sends_is_answered_as_a_mail_program_does(
    case: SupportCase, sven: Actor
) -> None:
    answer_case(case=case, staff=sven, written=Written("Which browser?"), state="waiting", at=LATER)
    with tenant_atomic(case.tenant_id):
        sent = message_of(mails(case)[0])
    quoted = "\n".join(f"> {line}" for line in str(sent.body).splitlines())
    answer = mail(case, f"Firefox.\n\nOn Fri, 27 Nov 2026 at 10:00, Support <x@y.test> wrote:\n\n{quoted}")
    del answer["To"]
    answer["To"] = sent.reply_to[0]

    assert receive(answer) == "taken"
    assert said(case)[2] == ("Pat", "Firefox.", False)
    assert again(case).state == "open"
    assert "##- Write your answer above this line -##" in str(sent.alternatives[0][0])


def test_an_answer_opens_a_solved_case_again(case: SupportCase, pat: User) -> None:
    solve(actor=actor_of(pat), key=case.key, at=AT)

    assert receive(mail(case)) == "taken"
    assert again(case).state == "open"


def test_files_are_kept_or_left_out_with_the_reason(case: SupportCase) -> None:
    message = mail(case, "See these.")
    message.add_attachment(PNG, maintype="application", subtype="octet-stream", filename="../screen.png")
    message.add_attachment(b"PK\x03\x04" + b"\0" * 40, maintype="image", subtype="png", filename="zip.png")
    message.add_attachment(b"<script>", maintype="text", subtype="html", filename="page.html")

    assert receive(message) == "taken"
    with tenant_atomic(case.tenant_id):
        files = list(CaseFile.objects.order_by("id").values_list("name", "media_type"))
        left_out = CaseMessage.objects.get(is_mail=True).left_out
    assert files == [("screen.png", "image/png"), ("page.html.txt", "text/plain")]
    assert left_out == [{"name": "zip.png", "why": "kind"}]


def test_a_text_that_is_too_long_is_cut_and_says_so(case: SupportCase) -> None:
    assert receive(mail(case, "word " * 5_000)) == "taken"
    with tenant_atomic(case.tenant_id):
        message = CaseMessage.objects.get(is_mail=True)
    assert (len(message.text) <= 20_000, message.left_out) == (True, [{"name": "", "why": "text_cut"}])


def test_an_admin_answers_a_case_of_the_organization(contoso: Tenant) -> None:
    bill = make_user(contoso, name="Bill", email="bill@contoso.test", roles=("billing_admin",))
    make_user(contoso, name="Gina", email="gina@contoso.test", roles=("global_admin",))
    case = ask(bill, make_central_subscription(bill))

    assert receive(mail(case, sender="gina@contoso.test")) == "taken"
    assert said(case)[1][0] == "Gina"


def test_the_address_of_the_envelope_counts_too(case: SupportCase) -> None:
    message = mail(case)
    del message["To"]
    message["To"] = "undisclosed-recipients:;"

    assert receive_reply(bytes(message), at=LATER).outcome == Outcome.NO_CASE
    named = receive_reply(bytes(message), at=LATER, recipients=[reply_address(case.key).upper()])
    assert named.outcome == Outcome.TAKEN


# --- Not taken -----------------------------------------------------------------------------------------------


def test_the_same_mail_is_taken_once(case: SupportCase) -> None:
    message = mail(case)

    assert [receive(message), receive(message)] == ["taken", "duplicate"]
    assert len(said(case)) == 2


@pytest.mark.parametrize(
    "header", [("Auto-Submitted", "auto-replied"), ("Precedence", "bulk"), ("Return-Path", "<>")]
)
def test_what_a_program_answers_is_not_taken(case: SupportCase, header: tuple[str, str]) -> None:
    message = mail(case, "I am away until Monday.")
    message[header[0]] = header[1]

    assert receive(message) == "automatic"
    assert nothing_was_taken(case)


def test_our_own_mail_that_comes_back_is_not_taken(case: SupportCase, sven: Actor) -> None:
    answer_case(case=case, staff=sven, written=Written("Yes."), state="answered", at=LATER)
    with tenant_atomic(case.tenant_id):
        sent = message_of(mails(case)[0]).message()
    del sent["To"]
    sent["To"] = reply_address(case.key)

    assert receive_reply(sent.as_bytes(), at=LATER).outcome == Outcome.AUTOMATIC


@pytest.mark.parametrize(
    "sender",
    [
        "colleague@contoso.test",
        "rhea@contoso.test",
        "gina@contoso.test",
        "guest@contoso.test",
        "pat@fabrikam.test",
        '"pat@contoso.test" <evil@fabrikam.test>',
        "pat@contoso.test, evil@fabrikam.test",
        "PAT@CONTOSO.TEST.",
        "%",
        "",
    ],
)
def test_nobody_else_writes_in_the_case_of_a_purchaser(
    contoso: Tenant, case: SupportCase, sender: str
) -> None:
    """Not a colleague, a reader, an admin, a guest, nor somebody of another organization with the address."""
    make_user(contoso, email="colleague@contoso.test")
    make_user(contoso, email="rhea@contoso.test", roles=("global_reader",))
    make_user(contoso, email="gina@contoso.test", roles=("global_admin",))
    make_user(contoso, email="guest@contoso.test", kind="guest")
    make_user(make_tenant(), email="pat@fabrikam.test", roles=("global_admin",))
    message = bytes(mail(case, sender="x@y.test")).replace(b"From: x@y.test", b"From: " + sender.encode())

    assert receive_reply(message, at=LATER).outcome == Outcome.NOT_ALLOWED
    assert nothing_was_taken(case)


def test_who_has_left_writes_no_more(contoso: Tenant, pat: User, case: SupportCase) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    disable_user(actor=actor_of(gina), user_id=pat.pk, at=AT)

    assert receive(mail(case)) == "not_allowed"


def test_an_address_that_was_changed_is_nobodys(case: SupportCase) -> None:
    address = reply_address(case.key)
    local, _at, domain = address.partition("@")
    changed = [
        f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}",
        f"{local}a@{domain}",
        f"{local[:-1]}@{domain}",
        f"{local}@evil.test",
        f"other{local.removeprefix('support')}@{domain}",
        f"support+{case.key}@{domain}",
        f"support+{case.key.hex}@{domain}",
        "support+@vendor.test",
        "support@vendor.test",
        "",
        "+",
        "@",
    ]

    assert case_of_address(address) == case_of_address(address.upper()) == case.key
    assert [case_of_address(each) for each in changed] == [None] * len(changed)
    for each in changed[:3]:
        message = mail(case)
        del message["To"]
        message["To"] = each
        assert receive(message) == "no_case"
    assert nothing_was_taken(case)


def test_every_letter_of_the_address_is_signed(case: SupportCase) -> None:
    address = reply_address(case.key)
    start = address.index("+") + 1

    for place in range(start, address.index("@")):
        letter = "a" if address[place] != "a" else "b"
        assert case_of_address(f"{address[:place]}{letter}{address[place + 1 :]}") is None


def test_an_address_fits_and_outlives_the_exchange_of_the_key(
    settings: SimpleNamespace, case: SupportCase
) -> None:
    address = reply_address(case.key)
    before = settings.SECRET_KEY

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key", [before]
    during = case_of_address(address)
    settings.SECRET_KEY_FALLBACKS = []

    assert len(address.partition("@")[0]) <= 64
    assert (during, case_of_address(address)) == (case.key, None)


def test_without_an_address_nothing_is_taken(settings: SimpleNamespace, case: SupportCase) -> None:
    message = mail(case)
    settings.SUPPORT_ADDRESS = ""

    assert receive(message) == "no_case"
    assert reply_address(case.key) == ""


def test_what_is_neither_text_nor_file_is_not_taken(case: SupportCase) -> None:
    assert receive(mail(case, "\n> quoted\n\n##- Write your answer above this line -##\n")) == "empty"


@pytest.mark.parametrize("raw", [b"", b"\0" * 50, b"From: x\r\n\r\n", b"x" * 200_000])
def test_what_is_no_mail_is_not_taken(case: SupportCase, raw: bytes) -> None:
    assert receive_reply(raw, at=LATER).outcome in (Outcome.UNREADABLE, Outcome.NO_CASE)


def test_two_programs_that_answer_each_other_stop(case: SupportCase) -> None:
    outcomes = [receive(mail(case, f"Ticket {number} was made.")) for number in range(MOST_AN_HOUR + 2)]

    assert outcomes == ["taken"] * MOST_AN_HOUR + ["too_many"] * 2
    assert receive(mail(case), at=LATER + timedelta(hours=1)) == "taken"


def test_an_answer_to_a_closed_case_is_not_taken_and_the_writer_is_told_once_a_day(
    pat: User, case: SupportCase
) -> None:
    solve(actor=actor_of(pat), key=case.key, at=AT)
    close_quiet_cases(at=AT + QUIET)

    outcomes = [receive(mail(case), at=AT + QUIET) for _ in range(2)]

    assert outcomes == ["closed", "closed"]
    assert nothing_was_taken(case)
    with tenant_atomic(pat.tenant_id):
        assert list(OutgoingMail.objects.filter(kind="case_closed").values_list("to_user_id", flat=True)) == [
            pat.pk
        ]


# --- By command ----------------------------------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """`piped(bytes, *words)` runs the command with those bytes on standard input."""

    def run(raw: bytes, *words: str) -> str:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
        told = io.StringIO()
        call_command("receive_case_mail", *words, stdout=told)
        return told.getvalue().strip()

    return run  # type: ignore[return-value]


def test_a_mail_server_pipes_a_mail_in(piped: object, case: SupportCase) -> None:
    message = mail(case)
    del message["To"]

    assert piped(bytes(message)) == "no_case"  # type: ignore[operator]
    assert piped(bytes(message), "--recipient", reply_address(case.key)) == "taken"  # type: ignore[operator]
    assert re.search("It works", said(case)[1][1])
