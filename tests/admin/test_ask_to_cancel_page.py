"""The page that asks a purchaser to cancel, and what the purchaser sees of it (product §10)."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from commerce.models import CancelRequest, Subscription
from commerce.operations.cancel_requests import ask_to_cancel
from commerce.operations.renewals import remind_asked
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.people import disable_user
from tests.admin.conftest import SignIn
from tests.factories import actor_of, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
LATE = datetime(2026, 3, 25, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _on_the_tenth_of_march() -> Any:
    with time_machine.travel(AT, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat, at=BOUGHT)


def purchase(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def states(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        return list(CancelRequest.objects.order_by("id").values_list("state", flat=True))


def test_the_admin_reads_what_happens_asks_and_finds_the_request_on_the_purchase(
    sign_in: SignIn, bill: User, bought: Subscription
) -> None:
    client = sign_in(bill)

    assert f'href="{purchase(bought)}ask-to-cancel/"' in text_of(client.get(purchase(bought)))
    page = text_of(client.get(purchase(bought) + "ask-to-cancel/"))
    response = client.post(purchase(bought) + "ask-to-cancel/", {"message": "Central now"}, follow=True)

    for words in (
        *(
            "Ask Pat Peters to cancel",
            "€94.00",
            "31 Mar 2026",
            "13 Mar 2026, 17 Mar 2026, 24 Mar 2026: reminders",
        ),
        "Everybody keeps the license they have; it goes on and renews as before.",
    ):
        assert words in page, words
    text = text_of(response)
    assert "Pat Peters was asked by mail to cancel. Nothing else changed." in text
    assert "Pat Peters is asked to cancel this" in text
    assert "The next reminder goes out on 13 Mar 2026." in text
    assert "Purchaser asked to cancel" in text
    assert states(bought) == ["asked"]


def test_asking_again_says_when_it_was_and_offers_to_withdraw(
    sign_in: SignIn, bill: User, bought: Subscription
) -> None:
    client = sign_in(bill)
    client.post(purchase(bought) + "ask-to-cancel/", {"message": ""})

    again = client.post(purchase(bought) + "ask-to-cancel/", {"message": ""})
    withdrawn = client.post(purchase(bought) + "ask-to-cancel/", {"action": "withdraw"}, follow=True)

    assert again.status_code == 409
    assert "Pat Peters was asked on 10 Mar 2026 by Bill Bakker already. Nothing was sent." in text_of(again)
    assert "Withdraw the request" in text_of(again)
    assert "Pat Peters is no longer asked, and gets no reminder." in text_of(withdrawn)
    assert states(bought) == ["withdrawn"]


def test_the_purchaser_sees_the_request_and_a_link_to_the_page_with_the_button_which_alone_acts(
    sign_in: SignIn, bill: User, pat: User, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(bill), key=bought.key, message="Central now", at=AT)
    client = sign_in(pat)

    own = text_of(client.get(purchase(bought)))
    page = text_of(client.get(purchase(bought) + "cancel/"))

    assert "Bill Bakker asks you to cancel this" in own
    assert "“Central now”" in own
    assert f'href="{purchase(bought)}cancel/"' in own
    assert "ask-to-cancel/" not in own
    assert "Bill Bakker asks you to cancel this" in page
    assert states(bought) == ["asked"]
    signed = page.split('name="quote" value="')[1].split('"')[0]
    done = client.post(purchase(bought) + "cancel/", {"quote": signed}, follow=True)
    assert "asks you to cancel" not in text_of(done)
    assert states(bought) == ["canceled"]


def test_the_purchaser_keeps_it_by_a_button_of_its_own(
    sign_in: SignIn, bill: User, pat: User, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(bill), key=bought.key, at=AT)
    client, admin = sign_in(pat), sign_in(bill)

    page = text_of(client.get(purchase(bought) + "cancel/"))
    kept = client.post(purchase(bought) + "cancel/", {"action": "keep"}, follow=True)
    again = client.post(purchase(bought) + "cancel/", {"action": "keep"})
    seen = text_of(admin.get(purchase(bought)))

    assert "Keep it, and tell Bill Bakker" in page
    assert "Bill Bakker is told that you keep it. Nothing else changed." in text_of(kept)
    assert "asks you to cancel" not in text_of(kept)
    assert again.status_code == 409
    assert "No request is open for this purchase. Nothing was changed." in text_of(again)
    assert "Kept by the purchaser, who was asked to cancel" in seen
    assert f'href="{purchase(bought)}ask-to-cancel/"' in seen
    assert states(bought) == ["declined"]


def test_nobody_else_keeps_it_for_the_purchaser(
    sign_in: SignIn, bill: User, contoso: Tenant, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(bill), key=bought.key, at=AT)

    answers = [
        sign_in(user).post(purchase(bought) + "cancel/", {"action": "keep"}).status_code
        for user in (bill, make_user(contoso, roles=("global_reader",)), make_user(contoso))
    ]

    assert answers == [403, 403, 404]
    assert states(bought) == ["asked"]


def test_after_the_last_reminder_taking_over_is_offered(
    sign_in: SignIn, bill: User, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(bill), key=bought.key, at=AT)
    remind_asked(at=LATE)

    with time_machine.travel(LATE, tick=False):
        client = sign_in(bill)
        text = text_of(client.get(purchase(bought)))
        page = text_of(client.get(purchase(bought) + "ask-to-cancel/"))

    assert "Pat Peters was asked to cancel and has not answered" in text
    assert "Reminded 3 times." in text
    assert f'<a href="{purchase(bought)}take-over/">Take it over</a>' in text
    assert f'<a class="sk-btn sk-btn--primary" href="{purchase(bought)}take-over/">' in page
    assert "No further reminder follows." in page


def test_a_purchaser_who_left_cannot_be_asked_and_the_page_offers_to_take_over(
    sign_in: SignIn, contoso: Tenant, bill: User, pat: User, bought: Subscription
) -> None:
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=pat.pk, at=AT)
    client = sign_in(bill)

    response = client.get(purchase(bought) + "ask-to-cancel/")

    assert response.status_code == 409
    assert "The purchaser left and cannot be asked. Take it over instead. Nothing was sent." in text_of(
        response
    )
    assert f'href="{purchase(bought)}take-over/"' in text_of(response)
    assert "ask-to-cancel/" not in text_of(client.get(purchase(bought)))


def test_a_reader_sees_the_request_and_no_button(
    sign_in: SignIn, contoso: Tenant, bill: User, bought: Subscription
) -> None:
    ask_to_cancel(actor=actor_of(bill), key=bought.key, at=AT)
    client = sign_in(make_user(contoso, roles=("global_reader",)))

    text = text_of(client.get(purchase(bought)))

    assert "Pat Peters is asked to cancel this" in text
    assert "ask-to-cancel/" not in text
    assert client.get(purchase(bought) + "ask-to-cancel/").status_code == 403
