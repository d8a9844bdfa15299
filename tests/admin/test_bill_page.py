"""One bill: what it says, its PDF and receipt, and whose it is (product §6)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commerce.documents import sheet_of
from commerce.models import Bill, Refund, RefundAttempt, Subscription, VendorEntity
from commerce.operations.bills import Line, issue_bill
from commerce.queries.bills import document
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.conftest import SignIn
from tests.factories import (
    AT,
    actor_of,
    make_bill_to,
    make_central_subscription,
    make_credit_note,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.kit.test_pdf import text_of

pytestmark = pytest.mark.django_db

ADDRESS = "/admin/billing/bills/"
FIRST = f"{ADDRESS}SK-NL-2026-000001/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def admin(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


def the_bill(subscription: Subscription) -> Bill:
    with tenant_atomic(subscription.tenant_id):
        return Bill.objects.select_related("order", "bill_to", "payer").get(
            subscription=subscription, credits__isnull=True
        )


def sheet(user: User, number: str = "SK-NL-2026-000001") -> dict[str, Any]:
    with tenant_atomic(user.tenant_id):
        return sheet_of(document(actor_of(user), number))


def sums(user: User, number: str = "SK-NL-2026-000001") -> list[tuple[str, str]]:
    return [(row["label"], row["value"]) for row in sheet(user, number)["sums"]]


def test_a_paid_bill_says_everything(pat, bought) -> None:
    said = sheet(pat)

    assert (said["title"], said["badge"], said["vendor"]) == (
        "Bill SK-NL-2026-000001",
        "Paid",
        "Seatkeeper Demo B.V.",
    )
    assert said["from"]["lines"] == [
        "Seatkeeper Demo B.V.",
        "Keizersgracht 1",
        "1015 CN Amsterdam",
        "Netherlands",
        "VAT number NL000099998B57",
    ]
    assert said["to"]["lines"] == [
        "Pat Peters",
        "Keizersgracht 1",
        "1015 CJ Amsterdam",
        "Netherlands",
        "pat@contoso.example",
    ]
    assert said["facts"][:3] == [
        ["Date", "10 Mar 2026"],
        ["Due", "10 Mar 2026"],
        ["Period", "10 Mar to 9 Apr 2026"],
    ]
    assert said["lines"] == [
        {
            "description": "Power BI Pro",
            "note": "Purchase",
            "dates": "10 Mar to 9 Apr 2026",
            "quantity": "10",
            "price": "€9.40",
            "days": "31 of 31",
            "tax": "21%",
            "amount": "€94.00",
        }
    ]
    assert said["payment"]["lines"] == ["€113.74 by Visa ending in 4242 on 10 Mar 2026, 10:30."]
    assert sums(pat) == [
        ("Subtotal", "€94.00"),
        ("VAT 21% on €94.00", "€19.74"),
        ("Total", "€113.74"),
        ("Paid", "−€113.74"),  # noqa: RUF001
        ("To pay", "€0.00"),
    ]


def test_the_page_shows_it_with_what_can_be_done(sign_in: SignIn, pat, bought) -> None:
    text = sign_in(pat).get(FIRST).text

    assert "<h1>SK-NL-2026-000001</h1>" in text
    assert 'href="pdf/"' in text
    assert 'href="receipt/"' in text
    assert "Pay " not in text
    assert f"/admin/billing/your-products/{bought.key}/" in text


def test_the_vat_number_says_whether_the_register_has_it(pat, bought) -> None:
    for verified, said in ((None, "not verified"), (False, "not verified"), (True, "verified")):
        with tenant_atomic(pat.tenant_id):
            other = make_bill_to(pat.tenant, vat_number="NL000099998B57", vat_is_verified=verified)
            _reissue(bought, bill_to=other)
            number = Bill.objects.order_by("-id")[0].number

        assert sheet(pat, number)["to"]["lines"][-1] == f"VAT number NL000099998B57 ({said})"


def _reissue(subscription: Subscription, **changes: Any) -> Bill:
    """An open bill for a thing that bills no period."""
    first = the_bill_of_purchase(subscription)
    row = Subscription.objects.select_related("vendor_entity").get(pk=subscription.pk)
    start = changes.pop("start", first.period_start)
    lines = changes.pop("lines", [Line("Power BI Pro", 5, 940, 4700, start, first.period_end)])
    values = {
        "type": Bill.Type.ADD_SEATS,
        "bill_to": first.bill_to,
        "payer": first.payer,
        "collection": first.collection,
        "at": AT,
        "due_at": AT,
        **changes,
    }
    return issue_bill(
        actor=Actor.system(subscription.tenant_id),
        subscription=row,
        order=first.order,
        lines=lines,
        period_start=start,
        period_end=first.period_end,
        **values,
    )


def the_bill_of_purchase(subscription: Subscription) -> Bill:
    return Bill.objects.select_related("order", "bill_to", "payer").get(
        subscription=subscription, type=Bill.Type.PURCHASE
    )


def test_added_seats_show_their_days_of_the_whole_period(pat, bought) -> None:
    start = datetime(2026, 3, 24, 23, 0, tzinfo=UTC)
    with tenant_atomic(pat.tenant_id):
        bill = the_bill_of_purchase(bought)
        line = Line("Power BI Pro", 5, 940, 2426, start, bill.period_end)
        added = _reissue(bought, start=start, lines=[line])

    said = sheet(pat, added.number)["lines"][0]

    assert (said["dates"], said["days"], said["amount"]) == ("25 Mar to 9 Apr 2026", "16 of 31", "€24.26")


def test_an_open_bill_says_what_is_to_pay(pat, bought) -> None:
    with tenant_atomic(pat.tenant_id):
        added = _reissue(bought)

    assert sheet(pat, added.number)["payment"]["lines"] == [
        "€56.87 was due on 10 Mar 2026 and has not been paid yet."
    ]
    assert sums(pat, added.number)[-1] == ("To pay", "€56.87")


def test_a_bill_on_account_says_where_to_pay(admin) -> None:
    make_central_subscription(admin)

    assert sheet(admin)["payment"]["lines"] == [
        "Pay €242.00 until 9 Apr 2026 to NL91 ABNA 0417 1643 00 and name SK-NL-2026-000001."
    ]


def test_a_credit_note_and_its_bill_name_each_other(sign_in: SignIn, pat, bought) -> None:
    note = make_credit_note(the_bill(bought), 4_000)

    assert sheet(pat, note.number)["title"] == f"Credit note {note.number}"
    assert sheet(pat, note.number)["badge"] == "Refund under way"
    assert ["Takes back", "SK-NL-2026-000001"] in sheet(pat, note.number)["facts"]
    assert sheet(pat, note.number)["payment"]["lines"] == [
        "€48.40 goes back to the card that paid. Banks take up to ten days."
    ]
    assert sums(pat, note.number)[-1] == ("Total", "−€48.40")  # noqa: RUF001
    assert sums(pat)[3:] == [
        ("Paid", "−€113.74"),  # noqa: RUF001
        ("Credited", "−€48.40"),  # noqa: RUF001
        ("Refunded", "€48.40"),
        ("To pay", "€0.00"),
    ]
    assert f'href="{ADDRESS}{note.number}/"' in sign_in(pat).get(FIRST).text
    assert f'href="{FIRST}"' in sign_in(pat).get(f"{ADDRESS}{note.number}/").text


def test_a_refunded_credit_note_says_when_and_to_which_card(pat, bought) -> None:
    note = make_credit_note(the_bill(bought), 4_000)
    with tenant_atomic(pat.tenant_id):
        asked = RefundAttempt.objects.select_related("payment").get(credit_note=note)
        Refund.objects.create(
            tenant_id=pat.tenant_id,
            payment=asked.payment,
            attempt=asked.payment.attempt,
            credit_note=note,
            amount_minor=4_840,
            currency="EUR",
            refunded_at=AT + timedelta(days=1),
            processor_refund_id="re_1",
        )
        Bill.objects.filter(pk=note.pk).update(status="paid", paid_minor=-4_840, paid_at=AT)

    said = sheet(pat, note.number)

    assert said["badge"] == "Refunded"
    assert said["payment"]["lines"] == ["€48.40 to Visa ending in 4242 on 11 Mar 2026, 10:30."]


def test_a_refund_that_failed_does_not_claim_to_be_on_its_way(pat, bought) -> None:
    note = make_credit_note(the_bill(bought), 4_000)
    with tenant_atomic(pat.tenant_id):
        RefundAttempt.objects.filter(credit_note=note).update(state="failed", failure_code="lost")

    assert sheet(pat, note.number)["payment"]["lines"] == [
        "€48.40 could not be given back to the card. We will ask you where to send it."
    ]


def test_a_credited_bill_that_was_not_paid_asks_for_nothing(pat, bought) -> None:
    with tenant_atomic(pat.tenant_id):
        added = _reissue(bought)
    note = make_credit_note(added, 4_700)

    assert sheet(pat, added.number)["badge"] == "Credited"
    assert sums(pat, added.number)[-2:] == [("Credited", "−€56.87"), ("To pay", "€0.00")]  # noqa: RUF001
    assert sheet(pat, note.number)["badge"] == "Settled"
    assert sheet(pat, note.number)["payment"]["lines"] == [
        f"Nothing is refunded: bill {added.number} was not paid."
    ]


def test_the_card_of_another_payer_is_not_named(pat, admin, bought) -> None:
    with tenant_atomic(pat.tenant_id):
        Bill.objects.update(payer=None)

    assert sheet(admin)["payment"]["lines"] == ["€113.74 by card on 10 Mar 2026, 10:30."]


@pytest.mark.parametrize("ending", ["", "pdf/", "receipt/"])
def test_an_admin_may_not_open_what_a_purchaser_pays(sign_in: SignIn, admin, bought, ending) -> None:
    assert sign_in(admin).get(FIRST + ending).status_code == 404


@pytest.mark.parametrize("ending", ["", "pdf/", "receipt/"])
def test_a_foreign_bill_is_byte_for_byte_what_is_missing(sign_in: SignIn, bought, ending) -> None:
    fiona = make_user(make_tenant(), purchaser_since=AT, roles=("global_admin",))
    client = sign_in(fiona)

    foreign, missing = client.get(FIRST + ending), client.get(f"{ADDRESS}SK-NL-2026-999999/{ending}")

    assert (foreign.status_code, foreign.content) == (404, missing.content)


def test_the_pdf_is_a_file_by_the_bills_number(sign_in: SignIn, pat, bought) -> None:
    response = sign_in(pat).get(f"{FIRST}pdf/")

    assert response["Content-Type"] == "application/pdf"
    assert response["Content-Disposition"] == 'attachment; filename="SK-NL-2026-000001.pdf"'
    assert set("BillSK-NL2026€113.74Visa4242Paid") <= set(text_of(response.content))
    assert b"<pdfuaid:part>1</pdfuaid:part>" in response.content


def test_the_receipt_is_called_so(sign_in: SignIn, pat, bought) -> None:
    response = sign_in(pat).get(f"{FIRST}receipt/")

    assert response["Content-Disposition"] == 'attachment; filename="receipt-SK-NL-2026-000001.pdf"'
    assert re.search(rb"Receipt SK-NL-2026-000001", response.content)


def test_there_is_no_receipt_of_what_is_not_paid(sign_in: SignIn, admin) -> None:
    make_central_subscription(admin)

    response = sign_in(admin).get(f"{FIRST}receipt/")

    assert response.status_code == 409
    assert "not paid" in response.text


def test_pdfs_are_limited_and_the_answer_says_when(sign_in: SignIn, pat, bought, settings) -> None:
    settings.PDFS_PER_MINUTE = 2
    client = sign_in(pat)

    answers = [client.get(f"{FIRST}pdf/").status_code for _ in range(3)]

    assert answers == [200, 200, 429]


def test_a_bill_takes_few_queries(sign_in: SignIn, pat, bought) -> None:
    client = sign_in(pat)

    with CaptureQueriesContext(connection) as captured:
        client.get(FIRST)

    assert len([q for q in captured if "commerce_" in q["sql"]]) == 5


def test_a_seller_without_numbers_says_none(pat, bought) -> None:
    entity = VendorEntity(name="Small Seller")

    with tenant_atomic(pat.tenant_id):
        found = document(actor_of(pat), "SK-NL-2026-000001")
        found.bill.vendor_entity = entity

    assert sheet_of(found)["from"]["lines"] == ["Small Seller"]


def test_the_order_history_leads_to_the_bill_that_one_may_open(sign_in: SignIn, pat, admin, bought) -> None:
    address = f"/admin/billing/your-products/{bought.key}/"

    assert f'href="{FIRST}"' in sign_in(pat).get(address).text
    assert FIRST not in sign_in(admin).get(address).text
