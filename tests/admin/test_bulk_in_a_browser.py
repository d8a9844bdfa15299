"""Lists, groups, the waiting list and idle licenses walked in Chromium, and axe on their pages (product §7.3, §7.6)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Job, Tenant, User
from directory.operations.jobs import run_jobs
from directory.operations.people import add_member, create_group
from licensing.models import Assignment, GroupLicense
from licensing.operations.assignments import assign_licenses
from licensing.operations.groups import assign_group
from licensing.operations.waiting import add_to_waiting_list
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Gerritsen", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def people(contoso: Tenant) -> list[User]:
    names = ("Erik Evers", "Daan Dekker", "Dirk Daniels", "Diana Dumas", "Mike Mulder")
    return [
        make_user(contoso, name=name, email=f"{name.split()[0].lower()}@contoso.example") for name in names
    ]


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    return make_subscription(contoso, quantity=2)


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        return list(rows.values_list("user__name", flat=True))


@pytest.mark.parametrize("look", ["desktop", "phone", "no script"])
def test_a_long_file_becomes_a_job_whose_page_shows_how_it_ends(
    open_page: Any, gina: User, people: list[User], central: Subscription, look: str, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    rows = [*(person.email for person in people), *(f"nobody-{n}@contoso.example" for n in range(1_100))]
    file.write_text("E-mail\n" + "\n".join(rows))
    page = open_page(gina, f"/admin/licenses/{central.key}/assign/", look)
    page.get_by_label("Or use a CSV file").set_input_files(file)
    page.get_by_role("button", name="Assign licenses").click()

    expect(page.get_by_text("0 of 1,105 done").first).to_be_visible()
    run_jobs(clock=now)
    expect(page.get_by_text("1,105 of 1,105 done, 1,103 failed").first).to_be_visible(timeout=15_000)
    expect(page.get_by_role("link", name="Result, CSV")).to_be_visible()
    assert holders(central) == ["Erik Evers", "Daan Dekker"]


@pytest.mark.parametrize("look", ["desktop", "phone", "no script"])
def test_from_a_group_without_enough_seats_to_the_waiting_list_and_back(
    open_page: Any, gina: User, people: list[User], central: Subscription, look: str
) -> None:
    admin = actor_of(gina)
    sales = create_group(actor=admin, name="Sales", at=now())
    for person in people[:3]:
        add_member(actor=admin, group_key=sales.key, user_id=person.pk, at=now())
    page = open_page(gina, f"/admin/licenses/{central.key}/assign/", look)
    page.get_by_role("button", name="Assign to the group Sales").click()
    expect(page.get_by_text("Sales has licenses now.")).to_be_visible()
    page.get_by_role("link", name="1 has none: why").click()
    expect(page.get_by_text("No license left; gets the next free one")).to_be_visible()

    page.goto(page.url.split("groups/")[0] + "assign/")
    page.get_by_label("Or paste a list").fill(people[4].email)
    page.get_by_role("button", name="Assign licenses").click()
    page.get_by_role("button", name="Put those ticked on the waiting list").click()
    expect(page.get_by_role("row", name="Mike Mulder")).to_be_visible()
    page.goto(page.url.replace("waiting/", f"unassign/?person={people[0].pk}"))
    page.get_by_role("button", name="Take 1 license back").click()
    expect(page.get_by_role("row", name="Mike Mulder")).to_be_visible()

    assert holders(central) == ["Daan Dekker", "Mike Mulder"]


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_stand_axe_and_a_phone(
    open_page: Any, contoso: Tenant, gina: User, people: list[User], central: Subscription, look: str
) -> None:
    admin, at = actor_of(gina), now()
    sales = create_group(actor=admin, name="Sales", at=at)
    for person in people[:4]:
        add_member(actor=admin, group_key=sales.key, user_id=person.pk, at=at)
    long_ago = at - timedelta(days=120)
    assign_licenses(actor=admin, subscription_key=central.key, user_ids=[people[4].pk], at=long_ago)
    group = assign_group(actor=admin, subscription_key=central.key, group_key=sales.key, at=at)
    add_to_waiting_list(
        actor=admin, subscription_key=central.key, user_ids=[people[2].pk, people[1].pk], at=at
    )
    with tenant_atomic(contoso.pk):
        idle = Assignment.objects.get(user=people[4])
        assert (GroupLicense.objects.count(), Job.objects.count()) == (1, 0)
    base = f"/admin/licenses/{central.key}"
    pages = {
        "assign": f"{base}/assign/",
        "holders": f"{base}/",
        "group": f"{base}/groups/{group.key}/",
        "group-delete": f"/admin/groups/{sales.key}/delete/",
        "waiting list": f"{base}/waiting/",
        "take back": f"{base}/unassign/list/",
        "idle": "/admin/licenses/idle/?days=90",
        "reclaim": f"/admin/licenses/idle/reclaim/?days=90&license={idle.pk}",
    }

    problems = [
        problem
        for title, address in pages.items()
        for problem in problems_of(open_page(gina, address, look), f"bulk {title}", look)
    ]

    assert problems == []
