"""The pages of licensing: translation in and out, who sees which, and how many queries they cost."""

from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses, unassign_licenses
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice Adams", email="alice@contoso.example")


@pytest.fixture
def bob(contoso: Tenant) -> User:
    return make_user(contoso, name="Bob Brown", email="bob@contoso.example")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa Lee", roles=("license_admin",))


@pytest.fixture
def subscription(contoso: Tenant, alice: User) -> Subscription:
    return make_subscription(contoso, owner=alice, quantity=3)


def give(subscription: Subscription, by: User, *to: User, at: datetime) -> None:
    assign_licenses(
        actor=actor_of(by), subscription_key=subscription.key, user_ids=[user.pk for user in to], at=at
    )


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return [name.split()[0] for name in rows.values_list("user__name", flat=True)]


def post(client: Any, tenant: Tenant, url: str, **data: Any) -> Any:
    return client.post(url, {"shown_for_tenant": str(tenant.pk), **data})


# --- Everyone's pages -------------------------------------------------------------------------------------


def test_the_launcher_shows_apps_admin_tile_and_what_needs_the_purchaser(
    contoso: Tenant, subscription: Subscription, alice: User, at: datetime
) -> None:
    give(subscription, alice, alice, at=at)

    page = client_of(alice).get("/").content.decode()

    assert "Good morning, Alice" in page
    assert 'href="/apps/power-bi-pro/"' in page
    assert "Renews 1 Apr 2026" in page
    assert f'href="{reverse("portal:your-products")}"' in page
    assert "2 licenses of Power BI Pro are free" in page


def test_a_member_without_anything_sees_an_empty_launcher_without_the_admin_tile(bob: User) -> None:
    page = client_of(bob).get("/").content.decode()

    assert "No apps yet" in page
    assert "sk-tile--action" not in page
    assert "Needs you" not in page


def test_a_license_admins_tile_leads_to_the_licenses(lisa: User) -> None:
    page = client_of(lisa).get("/").content.decode()

    assert f'href="{reverse("portal:licenses")}"' in page


def test_who_is_not_signed_in_sees_the_catalogue_at_the_start_page(client: Any) -> None:
    page = client.get("/")

    assert page.status_code == 200
    assert "Power BI Pro" in page.content.decode()


def test_my_licenses_say_who_gave_them_and_giving_back_frees_the_seat(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    give(subscription, alice, bob, at=at)
    client = client_of(bob)
    page = client.get("/my/licenses/").content.decode()
    back = reverse("licensing:give-back", args=[subscription.key])
    assert "Bought by Alice Adams" in page
    assert "Self-service" in page
    assert back in page
    assert "You can no longer open Power BI Pro, at once." in client.get(back).content.decode()
    assert holders(subscription) == ["Bob"]

    answer = post(client, contoso, back)

    assert (answer.status_code, answer["Location"]) == (302, "/my/licenses/")
    assert holders(subscription) == []
    assert client.get(back).status_code == 404


@pytest.mark.parametrize(
    ("state", "status", "text"),
    [("active", 200, "You have Power BI Pro"), ("expired", 200, "works until 31 Mar 2026"),
     ("disabled", 403, "You have no license of Power BI Pro")],
)  # fmt: skip
def test_a_product_opens_while_active_or_expired(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime,
    state: str, status: int, text: str,
) -> None:  # fmt: skip
    give(subscription, alice, bob, at=at)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(state=state)

    answer = client_of(bob).get("/apps/power-bi-pro/")

    assert answer.status_code == status
    assert text in answer.content.decode()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "You pay for them each month."),
        ({"recurring_billing": False}, "The purchase ends on 31 Mar 2026."),
        ({"channel": "trial"}, "The trial costs nothing until 31 Mar 2026."),
        ({"state": "expired", "expired_at": AT}, "Access ends on 1 Apr 2026."),
    ],
)
def test_the_start_page_says_of_free_licenses_what_they_cost_and_when_they_end(
    contoso: Tenant, alice: User, fields: dict[str, Any], text: str
) -> None:
    make_subscription(contoso, owner=alice, **fields)

    assert text in client_of(alice).get("/").text


def test_a_product_without_a_license_offers_to_buy_or_to_ask(contoso: Tenant, bob: User) -> None:
    guest = make_user(contoso, kind="guest", name="Gus")

    buyer, visitor = client_of(bob).get("/apps/power-bi-pro/"), client_of(guest).get("/apps/power-bi-pro/")

    assert (buyer.status_code, visitor.status_code) == (403, 403)
    assert reverse("commerce:buy", args=["power-bi-pro"]) in buyer.content.decode()
    assert "Contact your admin" in visitor.content.decode()
    assert client_of(bob).get("/apps/no-such-thing/").status_code == 404


def test_the_central_license_answers_before_the_own_one(
    contoso: Tenant, subscription: Subscription, alice: User, lisa: User, at: datetime
) -> None:
    central = make_subscription(contoso)
    give(subscription, alice, alice, at=at)
    assign_licenses(
        actor=actor_of(lisa), subscription_key=central.key, user_ids=[alice.pk], at=at, confirmed=True
    )

    page = client_of(alice).get("/apps/power-bi-pro/").content.decode()

    assert "From Contoso" in page
    assert "Bought by you" not in page


def test_a_trial_is_said_to_be_one_and_not_bought(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    trial = make_subscription(contoso, owner=alice, channel="trial")
    give(trial, alice, alice, bob, at=at)

    own = client_of(alice).get("/my/licenses/").content.decode()
    given = client_of(bob).get("/my/licenses/").content.decode()

    assert ("Trial, started by you" in own, "Bought by" in own) == (True, False)
    assert (f"Trial, started by {alice.name}" in given, "Bought by" in given) == (True, False)


# --- Assigning --------------------------------------------------------------------------------------------


def test_the_picker_shows_who_cannot_have_one_and_who_has_it_already(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, lisa: User, at: datetime
) -> None:
    make_user(contoso, name="Bert Gone", status="disabled")
    make_user(contoso, name="Bea Guest", kind="guest")
    give(make_subscription(contoso), lisa, bob, at=at)
    url = reverse("portal:assign", args=[subscription.key])

    page = client_of(alice).get(url, {"q": "b"}, HTTP_HX_REQUEST="true").content.decode()

    assert "Account is disabled" in page
    assert "Guest, this product is for members only" in page
    assert "Has it from Contoso (Central)" in page
    assert "<html" not in page


def test_chosen_people_get_a_license(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User
) -> None:
    url = reverse("portal:assign", args=[subscription.key])
    client = client_of(alice)
    found = post(client, contoso, url, action="search", q="brown", person=[alice.pk]).content.decode()
    assert "Choosing 1 leaves 2." in found
    assert "Assign 1 license<" in found.replace("\n", "")

    answer = post(client, contoso, url, action="assign", person=[alice.pk, bob.pk])

    assert answer.status_code == 302
    assert answer["Location"] == reverse("portal:subscription", args=[subscription.key])
    assert holders(subscription) == ["Alice", "Bob"]


def test_a_pasted_list_and_a_file_report_who_got_none(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User
) -> None:
    make_user(contoso, name="Twin", email="one@contoso.example")
    make_user(contoso, name="Twin", email="two@contoso.example")
    url = reverse("portal:assign", args=[subscription.key])
    client = client_of(alice)
    upload = SimpleUploadedFile("people.csv", b"Name;E-mail\r\nAlice;ALICE@contoso.example\r\n")

    answer = post(
        client, contoso, url, action="assign", people="bob brown\nnobody@contoso.example\nTwin", file=upload
    )
    page = client.get(answer["Location"]).content.decode()

    assert holders(subscription) == ["Bob", "Alice"]
    assert "2 licenses assigned." in page
    assert "Nobody here with that name or address" in page
    assert "Several people have this name" in page
    assert "Who got no license" not in client.get(url).content.decode()


def test_a_second_license_of_the_product_is_asked_about(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, lisa: User, at: datetime
) -> None:
    give(make_subscription(contoso), lisa, bob, at=at)
    url = reverse("portal:assign", args=[subscription.key])
    client = client_of(alice)

    refused = post(client, contoso, url, action="assign", person=[bob.pk])
    assert refused.status_code == 409
    assert "Assign a second license to those ticked" in refused.content.decode()
    assert holders(subscription) == []

    confirmed = post(client, contoso, url, person=[bob.pk], confirmed="yes")
    assert confirmed.status_code == 302
    assert holders(subscription) == ["Bob"]


def test_no_seat_left_is_a_409_that_says_what_to_do(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    full = make_subscription(contoso, owner=alice, quantity=1)
    give(full, alice, alice, at=at)

    answer = post(
        client_of(alice), contoso, reverse("portal:assign", args=[full.key]), action="assign", person=[bob.pk]
    )

    assert answer.status_code == 409
    assert "No license is left. Nothing was assigned." in answer.content.decode()
    assert answer.content.decode().split("<title>")[1].strip().startswith("Problem:")
    assert holders(full) == ["Alice"]


def test_a_scheduled_reduction_keeps_its_seats_and_the_page_says_so(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    smaller = make_subscription(contoso, owner=alice, quantity=3, next_quantity=1)
    url = reverse("portal:assign", args=[smaller.key])
    client = client_of(alice)
    before = client.get(url).content.decode()
    give(smaller, alice, alice, at=at)

    answer = post(client, contoso, url, action="assign", person=[bob.pk])

    assert "1 free." in before
    assert "Only 1 license is scheduled for the renewal" in before
    assert answer.status_code == 409
    assert "Fewer licenses are scheduled for the renewal" in answer.content.decode()
    assert "0 free." in answer.content.decode()
    assert holders(smaller) == ["Alice"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({}, 422),
        ({"person": ["x"]}, 422),
        ({"person": ["99999999999999999999"]}, 422),
        ({"person": ["-1"]}, 422),
        ({"people": "a\0b"}, 422),
        ({"people": "\n".join(f"p{n}@x.example" for n in range(100_001))}, 422),
        ({"person": [str(n) for n in range(1001)]}, 400),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    contoso: Tenant, subscription: Subscription, alice: User, data: dict[str, Any], status: int
) -> None:
    url = reverse("portal:assign", args=[subscription.key])

    answer = post(client_of(alice), contoso, url, action="assign", **data)

    assert answer.status_code == status
    assert holders(subscription) == []


def test_people_who_cannot_hold_one_are_refused_through_the_page(
    contoso: Tenant, subscription: Subscription, alice: User
) -> None:
    stranger = make_user(make_tenant(), name="Charlie Clark", email="charlie@elsewhere.example")
    guest, gone = make_user(contoso, kind="guest"), make_user(contoso, status="disabled")
    url = reverse("portal:assign", args=[subscription.key])
    client = client_of(alice)

    answers = [
        post(client, contoso, url, action="assign", person=[who.pk]) for who in (stranger, guest, gone)
    ]
    listed = post(client, contoso, url, action="assign", people="charlie@elsewhere.example\nCharlie Clark")

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert listed.status_code == 422
    assert all("Charlie Clark</" not in answer.content.decode() for answer in answers)
    assert holders(subscription) == []


def test_taking_back_says_what_happens_and_does_it(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    give(subscription, alice, alice, bob, at=at)
    url = reverse("portal:unassign", args=[subscription.key])
    client = client_of(alice)
    page = client.get(url, {"person": [bob.pk]}).content.decode()
    assert "If you take 1 license of Power BI Pro back" in page
    assert "2 licenses are free then." in page
    assert holders(subscription) == ["Alice", "Bob"]

    answer = post(client, contoso, url, person=[bob.pk])

    assert answer.status_code == 302
    assert holders(subscription) == ["Alice"]


# --- Who reaches what -------------------------------------------------------------------------------------


def test_who_reaches_the_pages_of_a_self_service_and_of_a_central_subscription(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, lisa: User
) -> None:
    central = make_subscription(contoso)
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,))
    people = {
        "alice": client_of(alice),
        "bob": client_of(bob),
        "lisa": client_of(lisa),
        "bill": client_of(make_user(contoso, roles=("billing_admin",))),
        "gina": client_of(make_user(contoso, roles=("global_admin",))),
        "rhea": client_of(make_user(contoso, roles=("global_reader",))),
        "petra": client_of(petra, contoso),
        "charlie": client_of(make_user(make_tenant(), roles=("global_admin",))),
    }
    names = ("assign", "unassign", "license-subscription", "license-assign", "license-unassign")

    seen = {
        who: [client.get(reverse("portal:licenses")).status_code]
        + [
            client.get(reverse(f"portal:{name}", args=[each.key])).status_code
            for each in (subscription, central)
            for name in names
        ]
        for who, client in people.items()
    }

    #                  list  own: assign unassign page assign unassign   central: the same
    assert seen == {
        "alice":   [200, 200, 302, 200, 200, 302, 404, 404, 404, 404, 404],
        "bob":     [404, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404],
        "lisa":    [200, 404, 404, 200, 403, 403, 404, 404, 200, 200, 302],
        "bill":    [200, 403, 403, 200, 403, 403, 403, 403, 200, 403, 403],
        "gina":    [200, 403, 403, 200, 403, 403, 200, 302, 200, 200, 302],
        "rhea":    [200, 403, 403, 200, 403, 403, 403, 403, 200, 403, 403],
        "petra":   [200, 403, 403, 200, 403, 403, 200, 302, 200, 200, 302],
        "charlie": [200, 404, 404, 404, 404, 404, 404, 404, 404, 404, 404],
    }  # fmt: skip


def test_the_licenses_pages_show_no_price(contoso: Tenant, subscription: Subscription, lisa: User) -> None:
    client = client_of(lisa)

    pages = [
        client.get(reverse("portal:licenses")).content.decode(),
        client.get(reverse("portal:license-subscription", args=[subscription.key])).content.decode(),
    ]

    assert all("Alice Adams" in page for page in pages)
    assert all("€" not in page and "EUR" not in page for page in pages)


def test_a_license_admin_gives_and_takes_central_licenses(contoso: Tenant, lisa: User, bob: User) -> None:
    central = make_subscription(contoso)
    client = client_of(lisa)

    given = post(
        client,
        contoso,
        reverse("portal:license-assign", args=[central.key]),
        action="assign",
        people="Bob Brown",
    )
    assert given["Location"] == reverse("portal:license-subscription", args=[central.key])
    assert holders(central) == ["Bob"]
    assert "Bob Brown" in client.get(given["Location"]).content.decode()

    post(client, contoso, reverse("portal:license-unassign", args=[central.key]), person=[bob.pk])
    assert holders(central) == []


def test_a_form_shown_for_another_tenant_is_a_409(subscription: Subscription, alice: User, bob: User) -> None:
    answer = post(
        client_of(alice), make_tenant(), reverse("portal:assign", args=[subscription.key]), person=[bob.pk]
    )

    assert answer.status_code == 409
    assert holders(subscription) == []


# --- Costs ------------------------------------------------------------------------------------------------


def test_the_change_log_says_whose_license_it_is(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    subscription = make_subscription(contoso, owner=alice, quantity=5)
    carl = make_user(contoso, name="Carl Cook")
    actor = actor_of(alice)
    assign_licenses(actor=actor, subscription_key=subscription.key, user_ids=[bob.pk], at=at)
    assign_licenses(actor=actor, subscription_key=subscription.key, user_ids=[alice.pk, carl.pk], at=at)
    unassign_licenses(actor=actor, subscription_key=subscription.key, user_ids=[bob.pk], at=at)

    page = client_of(alice).get(f"/admin/billing/your-products/{subscription.key}/")

    assert [str(what) for _event, what in page.context["events"]][:3] == [
        "License unassigned from Bob Brown",
        "2 licenses assigned: Alice Adams, Carl Cook",
        "License assigned to Bob Brown",
    ]


def queries(client: Any, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len([q for q in captured if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))])


def test_pages_cost_the_same_with_one_row_and_with_many(
    contoso: Tenant, subscription: Subscription, alice: User, at: datetime
) -> None:
    client = client_of(alice)
    give(subscription, alice, alice, at=at)
    urls = [
        "/",
        "/my/licenses/",
        "/apps/power-bi-pro/",
        reverse("portal:licenses"),
        reverse("portal:license-subscription", args=[subscription.key]),
        reverse("portal:assign", args=[subscription.key]) + "?q=p",
    ]
    few = [queries(client, url) for url in urls]
    for slug in ("visio-plan-1", "project-plan-1", "power-apps-per-user"):
        more = make_subscription(contoso, owner=alice, plan=plan(slug))
        give(more, alice, alice, at=at)
    give(subscription, alice, make_user(contoso), make_user(contoso), at=at)

    many = [queries(client, url) for url in urls]

    assert many == few
    assert few == PINNED


# Session, person, roles, customers, tenant and the setting of each block come before the page's own queries.
# The launcher and the own licenses each ask once for purchases that a colleague offers, the launcher for payments that
# wait for a bank, every page for the bell, what shows a product for its data policy; a product itself for workspaces, solutions and training links.
PINNED = [14, 12, 16, 10, 12, 15]


def test_holders_page_by_key(contoso: Tenant, alice: User, at: datetime) -> None:
    large = make_subscription(contoso, owner=alice, quantity=60)
    with tenant_atomic(contoso.pk):
        people = User.objects.bulk_create(
            User(
                tenant=contoso,
                name=f"Holder {n}",
                sort_name=f"holder {n}",
                email="x@x.example",
                created_at=at,
            )
            for n in range(60)
        )
    give(large, alice, *people, at=at)
    client = client_of(alice)
    url = reverse("portal:license-subscription", args=[large.key])

    first = client.get(url)
    second = client.get(url + first.context["next"])

    assert (len(first.context["holders"]), len(second.context["holders"])) == (50, 10)
    assert second.context["back"]
    assert client.get(url, {"q": "holder 59"}).context["holders"][0].user.name == "Holder 59"
    assert client.get(url, {"holders": "nonsense"}).status_code == 422
