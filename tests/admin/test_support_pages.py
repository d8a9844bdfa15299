"""Support in the admin center: the list, the form that says which support applies, the conversation (product §14)."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from commerce.models import CaseFile, Subscription, SupportCase
from commerce.operations.case_talk import QUIET, Written, close_quiet_cases, solve
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.commerce.talking import PNG, again, ask, grant, said, used
from tests.factories import (
    actor_of,
    client_of,
    make_central_subscription,
    make_self_service_subscription,
    make_staff,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LIST = "/admin/support/"


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
    return make_self_service_subscription(pat, at=now() - timedelta(days=2))


@pytest.fixture
def central(bill: User) -> Subscription:
    return make_central_subscription(bill, at=now() - timedelta(days=2))


def form(tenant: Tenant, **fields: object) -> dict[str, object]:
    return {
        "shown_for_tenant": tenant.pk,
        "kind": "question",
        "subject": "Report is gone",
        "text": "Where is it?",
    } | fields


def test_a_purchaser_is_led_from_the_purchase_to_the_answer(
    contoso: Tenant, pat: User, own: Subscription
) -> None:
    client = client_of(pat)
    address = f"{LIST}new/{own.key}/"

    assert address in client.get(f"/admin/billing/your-products/{own.key}/").text
    assert address in client.get(f"{LIST}new/").text
    page = client.get(address).text
    sent = client.post(address, form(contoso, files=[SimpleUploadedFile("screen.png", PNG)]))
    case = client.get(sent["Location"]).text

    assert "The IT department of Contoso is not in charge of it" in page
    assert "your case never counts against premier incidents of Contoso" in page
    assert 'name="support"' not in page
    assert sent.status_code == 303
    for words in ("Your case is with support.", "Where is it?", "screen.png", "With support"):
        assert words in case
    assert "Report is gone" in client.get(LIST).text


@pytest.mark.parametrize(
    ("granted", "taken", "words"), [(3, 1, "2 of 3 incidents left"), (1, 1, "None is left")]
)
def test_a_central_purchase_offers_premier_support_with_its_balance(
    contoso: Tenant, bill: User, central: Subscription, granted: int, taken: int, words: str
) -> None:
    assert central.agreement is not None
    grant(central.agreement, granted, taken)
    client = client_of(bill)
    address = f"{LIST}new/{central.key}/"

    page = client.get(address).text
    answer = client.post(address, form(contoso, support="premier"))

    assert words in page
    assert answer.status_code == (303 if granted > taken else 409)
    assert used(central.agreement.pk, contoso.pk) == granted - (0 if granted == taken else 1)


def test_a_central_purchase_without_premier_has_standard_support(bill: User, central: Subscription) -> None:
    page = client_of(bill).get(f"{LIST}new/{central.key}/").text

    assert "which has no premier support" in page
    assert 'value="premier"' not in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": ""}, "Choose what it is about."),
        ({"subject": ""}, "Write a subject of up to 120 characters."),
        ({"text": " "}, "Write what it is about."),
        ({"support": "premier"}, "Premier support is for what was bought under an agreement that has it."),
    ],
)
def test_a_form_that_is_refused_keeps_what_was_typed(
    contoso: Tenant, pat: User, own: Subscription, fields: dict[str, str], words: str
) -> None:
    answer = client_of(pat).post(f"{LIST}new/{own.key}/", form(contoso) | fields)

    assert (answer.status_code, words in answer.text) == (422, True)
    assert fields.get("text") or "Where is it?" in answer.text
    with tenant_atomic(contoso.pk):
        assert SupportCase.objects.count() == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.zip",
            b"PK\x03\x04" + b"\0" * 40,
            "a.zip cannot be sent: not a picture (PNG, JPEG), a PDF or text.",
        ),
        ("big.txt", b"x" * 5_000_001, "big.txt cannot be sent: larger than 5 MB."),
        ("huge.txt", b"x" * 10_500_000, "huge.txt cannot be sent: larger than 5 MB."),
    ],
)
def test_a_file_that_cannot_be_sent_is_named(
    contoso: Tenant, pat: User, own: Subscription, name: str, content: bytes, words: str
) -> None:
    answer = client_of(pat).post(
        f"{LIST}new/{own.key}/", form(contoso, files=[SimpleUploadedFile(name, content)])
    )

    assert (answer.status_code, words in answer.text) == (422, True)


def test_the_list_has_filters_and_shows_each_their_own(
    contoso: Tenant, pat: User, bill: User, own: Subscription, central: Subscription
) -> None:
    of_pat = ask(pat, own, subject="Of Pat", at=now())
    ask(bill, central, subject="Of all", kind="billing", at=now())
    solve(actor=actor_of(pat), key=ask(pat, own, subject="Was solved", at=now()).key, at=now())
    pats, bills = client_of(pat), client_of(bill)

    assert ("Of Pat" in pats.get(LIST).text, "Of all" in pats.get(LIST).text) == (True, False)
    assert ("Of Pat" in bills.get(LIST).text, "Of all" in bills.get(LIST).text) == (False, True)
    assert "Was solved" not in pats.get(LIST).text
    assert "Was solved" in pats.get(f"{LIST}?show=over").text
    assert "Of Pat" in pats.get(f"{LIST}?show=all&kind=question").text
    assert "Nothing matches these filters." in pats.get(f"{LIST}?kind=billing").text
    assert [pats.get(f"{LIST}?{wrong}").status_code for wrong in ("show=x", "kind=x", "page=x")] == [422] * 3
    assert bills.get(f"{LIST}{of_pat.key}/").status_code == 404


def test_a_conversation_goes_on_and_is_solved(contoso: Tenant, pat: User, own: Subscription) -> None:
    case = ask(pat, own, at=now())
    client, address = client_of(pat), f"{LIST}{case.key}/"
    here = {"shown_for_tenant": contoso.pk}

    empty = client.post(address, here | {"text": " "})
    sent = client.post(address, here | {"text": "<b>Still</b>\nopen."})
    page = client.get(address).text
    solved = client.post(address, here | {"action": "solve"})

    assert (empty.status_code, sent.status_code, solved.status_code) == (422, 303, 303)
    assert "&lt;b&gt;Still&lt;/b&gt;<br>open." in page
    assert "Not solved after all" in client.get(address).text
    assert again(case).state == "solved"


def test_nothing_is_written_in_a_closed_case(contoso: Tenant, pat: User, own: Subscription) -> None:
    case = ask(pat, own, at=now() - 2 * QUIET)
    solve(actor=actor_of(pat), key=case.key, at=now() - QUIET)
    close_quiet_cases(at=now())
    client, address = client_of(pat), f"{LIST}{case.key}/"

    answer = client.post(address, {"shown_for_tenant": contoso.pk, "text": "Hello?"})

    assert (answer.status_code, "This case is closed. Nothing was sent." in answer.text) == (409, True)
    assert 'name="text"' not in answer.text
    assert len(said(case)) == 1


def test_a_reader_reads_and_has_no_form(contoso: Tenant, bill: User, central: Subscription) -> None:
    case = ask(bill, central, at=now())
    client = client_of(make_user(contoso, roles=("global_reader",)))

    assert 'name="text"' not in client.get(f"{LIST}{case.key}/").text
    assert client.post(f"{LIST}{case.key}/", {"shown_for_tenant": contoso.pk, "text": "x"}).status_code == 403


def test_a_request_to_cancel_is_read_there_too(contoso: Tenant, bill: User, own: Subscription) -> None:
    with tenant_atomic(contoso.pk):
        case = SupportCase.objects.create(
            tenant=contoso,
            kind="cancel",
            subscription=own,
            message="She left.",
            asked_at=now(),
            asked_by="Bill",
        )
    client = client_of(bill)

    page = client.get(f"{LIST}{case.key}/")
    answer = client.post(f"{LIST}{case.key}/", {"shown_for_tenant": contoso.pk, "text": "x"})

    assert (page.status_code, "She left." in page.text, 'name="text"' in page.text) == (200, True, False)
    assert answer.status_code == 409


# --- Files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def file(pat: User, own: Subscription) -> CaseFile:
    case = ask(
        pat, own, written=Written("See.", [('pa"ge\u00e9.html', b"<script>alert(1)</script>")]), at=now()
    )
    with tenant_atomic(case.tenant_id):
        found: CaseFile = CaseFile.objects.select_related("message__case").get()
    return found


def address_of(file: CaseFile) -> str:
    return f"{LIST}{file.message.case.key}/files/{file.key}/"


def test_a_file_is_only_downloaded(pat: User, file: CaseFile) -> None:
    answer = client_of(pat).get(address_of(file))

    assert (answer.status_code, answer.content) == (200, b"<script>alert(1)</script>")
    assert answer["Content-Type"] == "text/plain"
    assert answer["Content-Disposition"].startswith("attachment; filename*=utf-8''pa_ge%C3%A9.html.txt")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Cache-Control"] == "private, no-store"


def test_nobody_else_gets_a_file(contoso: Tenant, bill: User, own: Subscription, file: CaseFile) -> None:
    other = make_user(make_tenant(), roles=("global_admin",))
    vendor = make_tenant(kind="vendor")
    sven = client_of(make_staff(vendor, "staff_support"), with_factor=True)
    olga = client_of(make_staff(vendor, "staff_catalogue"), with_factor=True)
    of_staff = f"/operator/cases/{file.message.case_id}/files/{file.key}/"

    for client in (client_of(bill), client_of(other), sven):
        assert client.get(address_of(file)).status_code == 404
    assert [client.get(of_staff).status_code for client in (sven, olga, client_of(bill))] == [200, 404, 404]
    assert Client().get(address_of(file)).status_code == 302


def test_a_file_is_not_reached_through_another_case(pat: User, own: Subscription, file: CaseFile) -> None:
    other = ask(pat, own, at=now())

    assert client_of(pat).get(f"{LIST}{other.key}/files/{file.key}/").status_code == 404


def test_the_list_asks_no_more_for_many_cases(
    pat: User, own: Subscription, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        ask(pat, own, subject=f"Question {number}", at=now())
    client = client_of(pat)
    client.get(LIST)

    with django_assert_max_num_queries(14):
        page = client.get(LIST).text

    assert page.count("Question ") >= 12
