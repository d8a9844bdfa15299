"""The pages of requests: asking, following, the queue, deciding there and by the link of a mail (product §7.5)."""

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.urls import reverse

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, RoleAssignment, Tenant, User
from licensing.models import Assignment, LicenseRequest, RequestedPerson
from licensing.operations.requests import ask_for_licenses
from policies.models import Permit, PolicyValue
from policies.operations.policies import approval_threshold, change_policies, set_product_policy
from policies.operations.requests import set_request_process
from policies.spending import Limit
from tests.factories import (
    actor_of,
    client_of,
    make_checkout,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db

ASK = "/my/requests/ask/power-bi-pro/"
QUEUE = "/admin/requests/"


@pytest.fixture(autouse=True)
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa Lee", email="lisa@contoso.example", roles=("license_admin",))


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", email="bill@contoso.example", roles=("billing_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Mulder", email="mike@contoso.example")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik Engel", email="erik@contoso.example")


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    return make_subscription(contoso, quantity=3)


def asked_by(user: User, at: datetime, *others: User) -> LicenseRequest:
    return ask_for_licenses(
        actor=actor_of(user, at=at),
        product=product(),
        user_ids=[each.pk for each in (user, *others)],
        reason="I report on the tenders.",
        at=at,
    ).request


def post(user: User, address: str, /, **data: Any) -> Any:
    return client_of(user).post(address, {"shown_for_tenant": str(user.tenant_id), **data})


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def state_of(request: LicenseRequest) -> str:
    with tenant_atomic(request.tenant_id):
        return str(LicenseRequest.objects.values_list("state", flat=True).get(pk=request.pk))


def holders(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = Assignment.objects.live().order_by("user__name")
        return list(rows.values_list("user__name", flat=True))


def test_a_line_that_cannot_be_read_is_refused_even_where_its_beginning_names_somebody(
    bill: User, mike: User, erik: User
) -> None:
    lines = f"erik@contoso.example\x07\n{mike.email}"

    refused = post(mike, ASK, reason="For the tenders.", people=lines)

    assert refused.status_code == 422
    assert "Nobody, or more than one person" in text_of(refused)
    with tenant_atomic(mike.tenant_id):
        assert not LicenseRequest.objects.exists()


# --- In place of Buy ------------------------------------------------------------------------------------------------


def test_who_may_not_buy_is_offered_the_request(bill: User, mike: User, at: datetime) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)

    response = client_of(mike).get("/buy/power-bi-pro/")

    assert response.status_code == 403
    assert f'href="{ASK}"' in response.content.decode()


def test_guests_and_organizations_without_a_queue_are_offered_none(
    contoso: Tenant, mike: User, at: datetime
) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    set_product_policy(actor=actor_of(gina), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)
    guest = make_user(contoso, kind="guest")
    as_guest = client_of(guest).get("/buy/power-bi-pro/").content.decode()
    set_request_process(
        actor=actor_of(gina), is_on=False, text="Ask the desk.", url="https://desk.example/", at=at
    )

    as_member = client_of(mike).get("/buy/power-bi-pro/").content.decode()

    assert ASK not in as_guest
    assert ASK not in as_member
    assert "Ask the desk." in as_member
    assert 'href="https://desk.example/"' in as_member


def test_a_product_without_a_license_offers_the_request(bill: User, mike: User, at: datetime) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)

    response = client_of(mike).get("/apps/power-bi-pro/")

    assert f'href="{ASK}"' in response.content.decode()


def test_the_checkout_says_that_one_can_be_asked_for(
    lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    checkout = make_checkout(mike, at=at)

    response = client_of(mike).get(reverse("commerce:checkout", args=["power-bi-pro", checkout.key]))

    assert f'href="{ASK}"' in response.content.decode()


def test_a_purchase_above_the_threshold_becomes_a_request_with_its_cost(
    contoso: Tenant, bill: User, mike: User, at: datetime
) -> None:
    checkout = make_checkout(mike, quantity=4, at=at)
    limit = approval_threshold(Limit(1_000, "purchase"), currency="EUR")
    change_policies(actor=actor_of(bill), changes=[limit], at=at)
    page = client_of(mike).get(reverse("commerce:checkout", args=["power-bi-pro", checkout.key]))
    link = f"{ASK}?checkout={checkout.key}"

    form = client_of(mike).get(link)
    sent = post(mike, ASK, checkout=str(checkout.key), reason="The year closes.")
    answered = post(
        bill, reverse("portal:request", args=[only(contoso).key]), action="answer", how="spending"
    )

    assert f'href="{link}"' in page.content.decode()
    assert "37.60" in text_of(form)
    assert sent.status_code == answered.status_code == 303
    with tenant_atomic(contoso.pk):
        assert Permit.objects.get().sum_minor == checkout.subtotal_minor == 3_760
    paying = client_of(mike).get(reverse("commerce:checkout", args=["power-bi-pro", checkout.key]))
    assert "Ask for approval" not in paying.content.decode()


def only(tenant: Tenant) -> LicenseRequest:
    with tenant_atomic(tenant.pk):
        return LicenseRequest.objects.get()


def test_a_colleagues_checkout_cannot_be_asked_about(
    bill: User, mike: User, erik: User, at: datetime
) -> None:
    checkout = make_checkout(mike, at=at)

    assert client_of(erik).get(f"{ASK}?checkout={checkout.key}").status_code == 404
    assert client_of(erik).get(f"{ASK}?checkout=nonsense").status_code == 404


def test_checking_a_person_says_who_sees_the_request(bill: User, mike: User, at: datetime) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)

    page = client_of(bill).get(f"/admin/billing/policy/?person={mike.email}&product=power-bi-pro")

    assert "Mike Mulder sees Request a license instead." in text_of(page)


# --- Asking and following -------------------------------------------------------------------------------------------


def test_a_member_asks_for_colleagues_by_name_and_address_and_follows_it(
    contoso: Tenant, lisa: User, mike: User, erik: User
) -> None:
    sent = post(mike, ASK, people="erik@contoso.example\nLisa Lee", reason="For the team")
    page = client_of(mike).get("/my/requests/")
    of_erik = client_of(erik).get("/my/requests/")

    assert sent.status_code == 303
    with tenant_atomic(contoso.pk):
        rows = RequestedPerson.objects.order_by("user__name").values_list("user__name", flat=True)
        assert list(rows) == ["Erik Engel", "Lisa Lee"]
    assert "Withdraw" in text_of(page)
    assert "By Mike Mulder" in text_of(of_erik)
    assert "Withdraw" not in text_of(of_erik)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"me": "yes", "reason": " "}, "Say what it is for"),
        ({"reason": "x"}, "Ask for 1 to 100 people"),
        ({"reason": "x", "people": "nobody@contoso.example"}, "nobody@contoso.example"),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_is_kept(
    contoso: Tenant, lisa: User, mike: User, data: dict[str, str], said: str
) -> None:
    response = post(mike, ASK, **data)

    assert response.status_code == 422
    assert said in text_of(response)
    assert data.get("people", "") in response.content.decode()
    with tenant_atomic(contoso.pk):
        assert not LicenseRequest.objects.exists()


def test_the_requester_withdraws(mike: User, lisa: User, at: datetime) -> None:
    request = asked_by(mike, at)

    answers = [post(mike, f"/my/requests/{request.key}/withdraw/").status_code for _ in range(2)]

    assert answers == [303, 303]
    assert state_of(request) == "withdrawn"


# --- The queue ------------------------------------------------------------------------------------------------------


def test_the_queue_shows_who_asked_what_it_costs_and_what_is_free(
    lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at, erik)

    page = client_of(lisa).get(QUEUE)
    badge = client_of(lisa).get(f"{QUEUE}waiting/")

    text = text_of(page)
    assert "Mike Mulder mike@contoso.example" in text
    assert "Waiting 1" in text
    assert "€18.80 a month" in text
    assert str(request.key) in page.content.decode()
    assert f'hx-get="{QUEUE}waiting/"' in page.content.decode()
    assert text_of(badge).split() == ["1", "waiting"]


def test_a_request_opens_beside_the_queue_and_its_answer_leads_back_there(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    first, second = asked_by(mike, at), asked_by(erik, at)
    client = client_of(lisa)

    closed = client.get(QUEUE).content.decode()
    opened = client.get(QUEUE, {"show": "waiting", "open": str(first.key)}).content.decode()
    answer = post(
        lisa, reverse("portal:request", args=[first.key]), action="answer", how="seats", person=mike.pk
    )
    back = post(
        lisa,
        reverse("portal:request", args=[second.key]),
        **{"action": "reject", "message": "No", "person": erik.pk, "from": "waiting"},
    )
    gone = client.get(QUEUE, {"open": str(first.key)}).content.decode()

    assert f'href="?show=waiting&amp;open={first.key}#panel"' in closed
    assert 'id="panel"' not in closed
    assert "I report on the tenders." in opened
    assert f'action="{reverse("portal:request", args=[first.key])}"' in opened
    assert opened.count('class="is-open"') == 1
    assert answer["Location"] == reverse("portal:request", args=[first.key])
    assert back["Location"] == f"{QUEUE}?show=waiting"
    assert 'id="panel"' not in gone
    assert holders(contoso) == ["Mike Mulder"]


def test_a_reader_sees_the_request_beside_the_queue_without_buttons(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at)
    rhea = client_of(make_user(contoso, roles=("global_reader",)))

    page = rhea.get(QUEUE, {"open": str(request.key)}).content.decode()

    assert "I report on the tenders." in page
    assert 'name="action"' not in page


def test_the_queue_offers_the_products_that_were_asked_for(lisa: User, mike: User, at: datetime) -> None:
    asked_by(mike, at)

    def offered(page: Any) -> list[str]:
        return [product.slug for product in page.context["products"]]

    assert offered(client_of(lisa).get(QUEUE)) == ["power-bi-pro"]
    assert offered(client_of(lisa).get(f"{QUEUE}?product=visio-plan-1")) == ["power-bi-pro", "visio-plan-1"]


def test_the_queue_is_filtered_by_state_and_product(lisa: User, mike: User, at: datetime) -> None:
    asked_by(mike, at)

    assert "Mike Mulder" in text_of(client_of(lisa).get(f"{QUEUE}?show=all&product=power-bi-pro"))
    assert "Mike Mulder" not in text_of(client_of(lisa).get(f"{QUEUE}?show=rejected"))
    assert "Nothing matches" in text_of(client_of(lisa).get(f"{QUEUE}?product=visio-plan-1"))
    assert client_of(lisa).get(f"{QUEUE}?show=nonsense").status_code == 422


def test_the_queue_costs_the_same_queries_for_one_request_as_for_ten(
    contoso: Tenant, lisa: User, mike: User, at: datetime, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    client = client_of(lisa)
    for others in (0, 9):
        for _ in range(others):
            asked_by(make_user(contoso), at)
        if not others:
            asked_by(mike, at)
        with CaptureQueriesContext(connection) as captured:
            client.get(QUEUE)
        counts.append(len(captured))

    assert counts[0] == counts[1]


def test_a_reader_sees_the_queue_and_decides_nothing(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    rhea = make_user(contoso, roles=("global_reader",))
    request = asked_by(mike, at)
    url = reverse("portal:request", args=[request.key])

    page = client_of(rhea).get(url)
    answers = [
        post(rhea, url, action="answer", how="seats", person=mike.pk),
        post(rhea, f"{QUEUE}decide/", request=str(request.key), action="approve"),
        post(rhea, f"{QUEUE}settings/", queue="off", text="x"),
    ]

    assert page.status_code == 200
    assert "Approve" not in text_of(page).replace("Approved", "")
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert holders(contoso) == []


def test_a_license_admin_gives_some_and_rejects_the_others(
    contoso: Tenant, lisa: User, mike: User, erik: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at, erik)
    url = reverse("portal:request", args=[request.key])

    page = client_of(lisa).get(url)
    given = post(lisa, url, action="answer", how="seats", person=erik.pk)
    without = post(lisa, url, action="reject", person=mike.pk)
    rejected = post(lisa, url, action="reject", person=mike.pk, message="Use the shared one.")

    assert "3 free, 1 left after all" in text_of(page)
    assert "Let Mike Mulder buy" not in text_of(page)
    assert (given.status_code, without.status_code, rejected.status_code) == (303, 422, 303)
    assert "Say why" in text_of(without)
    assert holders(contoso) == ["Erik Engel"]
    assert state_of(request) == "partly"
    assert "Use the shared one." in text_of(client_of(mike).get("/my/requests/"))


def test_who_buys_centrally_gets_there_with_what_is_missing(
    contoso: Tenant, lisa: User, bill: User, mike: User, erik: User, at: datetime
) -> None:
    free = make_subscription(contoso, quantity=1)
    url = reverse("portal:request", args=[asked_by(mike, at, erik).key])

    of_bill, of_lisa = client_of(bill).get(url), client_of(lisa).get(url)

    address = f"{reverse('portal:buy-centrally')}?product={free.product.slug}&amp;quantity=1"
    assert f'href="{address}"' in of_bill.content.decode()
    assert "buy-centrally" not in of_lisa.content.decode()
    assert "/billing/buy/" not in of_lisa.content.decode()


def test_too_few_free_is_said_and_gives_nothing(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    make_subscription(contoso, quantity=1)
    request = asked_by(mike, at, erik)

    response = post(
        lisa,
        reverse("portal:request", args=[request.key]),
        action="answer",
        how="seats",
        person=[mike.pk, erik.pk],
    )

    assert response.status_code == 409
    assert "1 of the 2 licenses are free. Nothing was assigned." in text_of(response)
    assert holders(contoso) == []


def test_without_free_licenses_it_is_forwarded_and_the_product_allowed(
    lisa: User, bill: User, mike: User, at: datetime
) -> None:
    set_product_policy(actor=actor_of(bill), product_keys=[product().key], value=PolicyValue.DISABLED, at=at)
    request = asked_by(mike, at)
    url = reverse("portal:request", args=[request.key])
    before = text_of(client_of(lisa).get(url))

    forwarded = post(lisa, url, action="forward")
    page = client_of(bill).get(url).text
    unsaid = post(bill, url, action="answer")
    allowed = post(bill, url, action="answer", how="policy")

    assert "Forward to billing admins" in before
    assert (forwarded.status_code, unsaid.status_code, allowed.status_code) == (303, 422, 303)
    assert "Allow Power BI Pro for everybody" in page
    assert not re.search(r'name="how"[^>]*checked', page)
    assert "Buy 1 license of Power BI Pro for the organization" in page
    assert "Let Mike Mulder buy" not in page
    assert state_of(request) == "approved"
    assert client_of(mike).get("/buy/power-bi-pro/").status_code == 302


def test_several_are_decided_at_once_each_for_itself(
    contoso: Tenant, lisa: User, mike: User, erik: User, at: datetime
) -> None:
    make_subscription(contoso, quantity=1)
    first, second = asked_by(mike, at), asked_by(erik, at)
    keys = [str(first.key), str(second.key)]

    look = client_of(lisa).get(f"{QUEUE}decide/", {"request": keys, "action": "approve"})
    done = post(lisa, f"{QUEUE}decide/", request=keys, action="approve")

    assert "2 requests" in text_of(look)
    assert done.status_code == 303
    assert holders(contoso) == ["Mike Mulder"]
    assert (state_of(first), state_of(second)) == ("approved", "waiting")
    again = post(lisa, f"{QUEUE}decide/", request=keys, action="reject")
    assert again.status_code == 422
    assert state_of(second) == "waiting"


def test_a_global_admin_sets_the_organizations_own_way(contoso: Tenant, mike: User) -> None:
    gina = make_user(contoso, roles=("global_admin",))

    wrong = post(gina, f"{QUEUE}settings/", queue="off", text="", url="nonsense")
    saved = post(gina, f"{QUEUE}settings/", queue="off", text="Ask the desk.", url="")

    assert (wrong.status_code, saved.status_code) == (422, 303)
    assert "Ask the desk." in text_of(client_of(mike).get(ASK))


# --- The link of a mail ---------------------------------------------------------------------------------------------


def link_to(user: User) -> str:
    with tenant_atomic(user.tenant_id):
        mail = OutgoingMail.objects.get(kind="request_received", to_user_id=user.pk)
    return str(mail.context["link"]).removeprefix(settings.PUBLIC_URL)


def test_the_link_shows_what_would_happen_and_only_a_click_decides(
    contoso: Tenant, lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at)
    link = link_to(lisa)
    browser = Client()

    looks = [browser.get(link) for _ in range(2)]
    between = state_of(request)
    done = browser.post(link, {"action": "approve", "person": mike.pk})

    assert [look.status_code for look in looks] == [200, 200]
    assert "3 licenses are free." in text_of(looks[0])
    assert between == "waiting"
    assert "Assigned." in text_of(done)
    assert holders(contoso) == ["Mike Mulder"]
    assert "answered in the meantime" in text_of(browser.get(link))


def test_by_the_link_it_is_rejected_with_a_message(
    lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at)
    link = link_to(lisa)

    without = Client().post(link, {"action": "reject", "person": mike.pk})
    with_one = Client().post(link, {"action": "reject", "person": mike.pk, "message": "No."})

    assert (without.status_code, with_one.status_code) == (422, 200)
    assert state_of(request) == "rejected"


def test_a_link_is_over_after_seven_days_and_without_the_role(
    lisa: User, mike: User, central: Subscription, at: datetime
) -> None:
    request = asked_by(mike, at)
    link = link_to(lisa)

    with time_machine.travel(at + timedelta(days=7)):
        late = Client().post(link, {"action": "approve", "person": mike.pk})
    with tenant_atomic(lisa.tenant_id):
        RoleAssignment.objects.filter(user=lisa).delete()
    revoked = Client().post(link, {"action": "approve", "person": mike.pk})
    forged = Client().get(link[:-2] + "x/")

    assert (late.status_code, revoked.status_code, forged.status_code) == (404, 404, 404)
    assert state_of(request) == "waiting"


def test_money_is_decided_with_a_session_only(contoso: Tenant, bill: User, mike: User, at: datetime) -> None:
    checkout = make_checkout(mike, quantity=4, at=at)
    limit = approval_threshold(Limit(1_000, "purchase"), currency="EUR")
    change_policies(actor=actor_of(bill), changes=[limit], at=at)
    post(mike, ASK, checkout=str(checkout.key), reason="The year closes.")

    link = link_to(bill)

    assert link == reverse("portal:request", args=[only(contoso).key])
    assert "/sign-in/" in Client().get(link)["Location"]
    assert client_of(bill).get(reverse("portal:request", args=[uuid.uuid4()])).status_code == 404
