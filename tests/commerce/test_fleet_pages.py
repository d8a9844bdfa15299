"""The pages over all customers of a partner: who differs, from what, and what would change (product §12; docs/adr/0046)."""

import csv
import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, Tenant, User
from directory.sessions import SECOND_FACTOR
from policies.models import PolicyChange, PolicyTemplate
from policies.operations import policies as operations
from policies.operations.policies import change_policies
from policies.operations.templates import create_template
from policies.spending import Limit
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

PAGE = "/admin/customers/drift/"


def serve(
    petra: User, name: str = "", *, roles: tuple[str, ...] = ("billing_admin",), **fields: Any
) -> Tenant:
    """One more customer of Petra's."""
    customer = make_tenant(**({"name": name} if name else {}), **fields)
    at = now()
    make_relationship(
        customer,
        petra.tenant,
        roles=roles,
        users=(petra,),
        starts_at=at - timedelta(days=1),
        ends_at=at + timedelta(days=300),
    )
    return customer


@pytest.fixture
def petra() -> User:
    return make_user(make_tenant(name="Northwind"), name="Petra")


@pytest.fixture
def contoso(petra: User) -> Tenant:
    return serve(petra, "Contoso")


def template_of(petra: User, name: str = "Careful start", **said: Any) -> PolicyTemplate:
    said = said or {"default": "Disabled", "new_products": "Ask", f"product:{product().key}": "Disabled"}
    return create_template(actor=actor_of(petra, at=now()), name=name, said=said, at=now())


def set_default(customer: Tenant, value: str, name: str = "Bill Bakker") -> None:
    bill = make_user(customer, name=name, roles=("billing_admin",))
    change_policies(actor=actor_of(bill, at=now()), changes=[operations.default_for_all(value)], at=now())


def text(response: Any) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


def rows(response: Any) -> dict[str, str]:
    """Each customer's line by its name."""
    lines = re.findall(r"<tr><td>.*?</tr>", response.text, re.S)
    plain = [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", line)).split()) for line in lines]
    return {line.split(" ")[0]: line for line in plain}


def post(user: User, address: str, **values: Any) -> Any:
    return client_of(user).post(address, {"shown_for_tenant": user.tenant_id, **values})


def at(name: str, *args: Any) -> str:
    return reverse(f"portal:{name}", args=args)


# --- The list ---------------------------------------------------------------------------------------------


def test_one_customer_is_compared_value_by_value(petra: User, contoso: Tenant) -> None:
    template_of(petra)
    set_default(contoso, "Disabled")

    answer = client_of(petra).get(PAGE)

    assert "Compared with the template Careful start (version 1)." in text(answer)
    line = rows(answer)["Contoso"]
    assert "Do not allow As every product , differs Do not allow 1" in line
    assert "by Bill Bakker" in line
    assert "With differences 1 1 value Changed this week 1 Contoso, by Bill Bakker" in text(answer)


def test_why_a_customer_is_not_compared_or_not_changed_is_said(petra: User, contoso: Tenant) -> None:
    template_of(petra)
    serve(petra, "Reader", roles=("global_reader",))
    serve(petra, "Licenses", roles=("license_admin",))
    serve(petra, "School", kind="education")
    serve(petra, "Careful", admins_need_second_factor=True)
    serve(petra, "Suspended", standing="suspended")

    found = rows(client_of(petra).get(PAGE))

    assert "You may only read" in found["Reader"]
    assert "You may only read" in found["Suspended"]
    assert "Your roles there do not include the purchase policy" in found["Licenses"]
    assert "Self-service is not available to it" in found["School"]
    assert "It asks for a second factor" in found["Careful"]


def test_a_session_with_a_second_factor_sees_who_asks_for_one(petra: User, contoso: Tenant) -> None:
    template_of(petra)
    serve(petra, "Careful", admins_need_second_factor=True)
    client = client_of(petra)
    session = client.session
    session[SECOND_FACTOR] = True
    session.save()

    assert "It asks for a second factor" not in rows(client.get(PAGE))["Careful"]


@pytest.mark.parametrize(
    ("show", "names"),
    [
        ("all", ["Alike", "Contoso", "Licenses"]),
        ("differs", ["Contoso"]),
        ("same", ["Alike"]),
        ("unread", ["Licenses"]),
    ],
)
def test_the_list_is_filtered(petra: User, contoso: Tenant, show: str, names: list[str]) -> None:
    template_of(petra, default="Disabled")
    set_default(serve(petra, "Alike"), "Disabled")
    serve(petra, "Licenses", roles=("license_admin",))

    assert list(rows(client_of(petra).get(PAGE, {"show": show}))) == names


def test_customers_are_found_by_name_and_an_empty_answer_says_so(petra: User, contoso: Tenant) -> None:
    template_of(petra)
    serve(petra, "Fabrikam")
    client = client_of(petra)

    assert list(rows(client.get(PAGE, {"q": "FABRI"}))) == ["Fabrikam"]
    assert "No customer matches." in text(client.get(PAGE, {"q": "nobody"}))


@pytest.mark.parametrize("query", [{"show": "nothing"}, {"page": "nonsense"}, {"page": "WyJmIiwxLDJd"}])
def test_an_address_that_no_page_has_is_refused(petra: User, contoso: Tenant, query: dict[str, str]) -> None:
    template_of(petra)

    assert client_of(petra).get(PAGE, query).status_code == 422


def queries_of(client: Client, address: str) -> tuple[int, Any]:
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    return len(captured), answer


def test_sixty_customers_come_by_pages_with_so_many_queries_each(
    petra: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine: a session's sign of life has queries of its own.
    monkeypatch.setattr("directory.middleware.SEEN_EVERY_SECONDS", 10**6)
    customers = [serve(petra, f"Customer{number:02}") for number in range(60)]
    template_of(petra)
    client = client_of(petra)
    seen: list[str] = []
    address = PAGE
    while address:
        answer = client.get(address)
        seen += rows(answer)
        found = re.search(r'rel="next" href="([^"]*)"', answer.text)
        address = PAGE + html.unescape(found[1]) if found else ""

    assert seen == [each.name for each in customers]
    assert "25 rows" in text(client.get(PAGE))
    # Read before today, so nothing is noted anew: five for the policy, four for the wall around it.
    many, one = queries_of(client, PAGE)[0], queries_of(client, f"{PAGE}?q=Customer07")[0]
    assert (many - one) / 24 == 9
    assert one <= 50


def test_back_leads_where_next_came_from(petra: User) -> None:
    for number in range(30):
        serve(petra, f"Customer{number:02}")
    template_of(petra)
    client = client_of(petra)
    first = client.get(PAGE)
    forth = re.search(r'rel="next" href="([^"]*)"', first.text)
    assert forth
    second = client.get(PAGE + html.unescape(forth[1]))
    back = re.search(r'rel="prev" href="([^"]*)"', second.text)
    assert back

    assert list(rows(second)) == [f"Customer{number}" for number in range(25, 30)]
    assert list(rows(client.get(PAGE + html.unescape(back[1])))) == list(rows(first))


def test_a_filter_looks_through_more_customers_than_a_page_holds(petra: User) -> None:
    for number in range(30):
        serve(petra, f"Customer{number:02}", currency="EUR")
    set_default(serve(petra, "Zebra"), "Disabled")
    template_of(petra, default="Disabled")

    assert list(rows(client_of(petra).get(PAGE, {"show": "same"}))) == ["Zebra"]


def test_comparing_is_noted_in_both_trails_once_a_day(petra: User, contoso: Tenant) -> None:
    template_of(petra)
    fabrikam = serve(petra, "Fabrikam", roles=("license_admin",))
    client = client_of(petra)

    client.get(PAGE)
    client.get(PAGE)

    def noted(tenant: Tenant) -> list[tuple[str, int, str]]:
        with tenant_atomic(tenant.pk):
            found = AuditEntry.objects.filter(tenant=tenant, code="policies.template.compared")
            return [(each.actor_label, each.actor_tenant_id, each.target_label) for each in found]

    assert noted(contoso) == noted(petra.tenant) == [("Petra", petra.tenant_id, "Contoso")]
    assert noted(fabrikam) == []


def test_looking_changes_nobodys_policy(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    client = client_of(petra)

    for address in (PAGE, at("fleet-apply", template.key) + f"?customer={contoso.pk}"):
        assert client.get(address).status_code == 200

    with use_login("worker"):
        assert not PolicyChange.objects.exists()


# --- Who sees it ------------------------------------------------------------------------------------------


def test_nils_without_a_relationship_of_his_own_sees_nothing(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    nils = client_of(make_user(petra.tenant, roles=("global_admin",)))

    for address in pages_of(template, contoso, petra):
        assert nils.get(address).status_code == 404, address
    assert "Policy drift" not in nils.get("/admin/customers/").text


def pages_of(template: PolicyTemplate, customer: Tenant, petra: User) -> list[str]:
    served = relationship_of(customer, petra)
    return [
        PAGE,
        f"{PAGE}new/",
        at("fleet-template", template.key),
        at("fleet-edit", template.key),
        at("fleet-delete", template.key),
        at("fleet-apply", template.key),
        at("fleet-export", template.key),
        at("fleet-customer", template.key, served),
    ]


def relationship_of(customer: Tenant, petra: User) -> Any:
    from directory.queries import customers_of

    found = customers_of(home_tenant_id=petra.tenant_id, user_id=petra.pk, at=now())
    return next(each.relationship_key for each in found if each.tenant_id == customer.pk)


def test_a_reader_sees_the_drift_and_changes_nothing(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    reader = make_user(petra.tenant, name="Rhea")
    serve(reader, "Litware", roles=("global_reader",))
    client = client_of(reader)

    page = client.get(PAGE)

    assert list(rows(page)) == ["Litware"]
    assert "Edit the template" not in page.text
    assert "Apply the template" not in page.text
    for name in ("fleet-edit", "fleet-delete", "fleet-apply"):
        assert client.get(at(name, template.key)).status_code == 403, name
    assert client.get(at("fleet-customer", template.key, relationship_of(contoso, petra))).status_code == 404


def test_who_reads_no_policy_anywhere_learns_of_no_template(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    lisa = make_user(petra.tenant)
    serve(lisa, "Litware", roles=("license_admin",))
    client = client_of(lisa)

    page = text(client.get(PAGE))

    assert "None of the roles that were given to you" in page
    assert "Careful start" not in page
    for name in ("fleet-template", "fleet-edit", "fleet-apply", "fleet-export"):
        assert client.get(at(name, template.key)).status_code == 404, name


def test_whoever_acts_for_one_customer_is_led_to_stop_first(petra: User, contoso: Tenant) -> None:
    template_of(petra)

    answer = client_of(petra, contoso).get(PAGE, follow=True)

    assert answer.redirect_chain == [("/admin/customers/", 302)]
    assert "Stop acting to see all of them side by side." in text(answer)


def test_the_menu_marks_the_page_and_not_the_one_above_it(petra: User, contoso: Tenant) -> None:
    from config.navigation import sidebar

    request = client_of(petra).get(PAGE).wsgi_request
    items = [item for group in sidebar(request) for item in group["items"]]

    assert [str(item["title"]) for item in items if item["active"]] == ["Policy drift"]


# --- Templates --------------------------------------------------------------------------------------------


def test_without_a_template_the_page_says_what_one_is_for(petra: User, contoso: Tenant) -> None:
    page = text(client_of(petra).get(PAGE))

    assert "No template yet" in page
    assert "Make a template…" in page


def test_a_template_is_copied_from_a_customer(petra: User, contoso: Tenant) -> None:
    bill = make_user(contoso, roles=("billing_admin",))
    changes = [
        operations.default_for_all("Disabled"),
        operations.of_category("Visio", "Enabled"),
        operations.of_product([product().key], "Enabled", name="Power BI Pro"),
        operations.spend_cap(Limit(5000, "person_month"), currency="EUR"),
    ]
    change_policies(actor=actor_of(bill, at=now()), changes=changes, at=now())

    answer = post(petra, f"{PAGE}new/", **{"name": "As Contoso", "from": contoso.pk})

    with tenant_atomic(petra.tenant_id):
        made = PolicyTemplate.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, at("fleet-edit", made.key))
    assert made.said == {
        "default": "Disabled",
        "new_products": "",
        "category:Visio": "Enabled",
        f"product:{product().key}": "Enabled",
        **{f"offer:{kind}": "Enabled" for kind in ("SaaS", "POWERBIVISUALS", "DYNAMICSCE", "DYNAMICSBC")},
        "cap": {"basis": "person_month", "amounts": {"EUR": 5000}},
        "threshold": {"basis": "", "amounts": {}},
    }
    assert "0" in rows(client_of(petra).get(PAGE))["Contoso"].split()[-1]


@pytest.mark.parametrize("chosen", ["12345678", "nobody"])
def test_a_customer_that_is_not_ones_own_is_not_copied(petra: User, contoso: Tenant, chosen: str) -> None:
    answer = post(petra, f"{PAGE}new/", **{"name": "Mine", "from": chosen})

    assert answer.status_code == 422
    assert 'value="Mine"' in answer.text
    with tenant_atomic(petra.tenant_id):
        assert not PolicyTemplate.objects.exists()


def test_the_form_says_each_value_or_leaves_it_out(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    key = product().key

    answer = post(
        petra,
        at("fleet-edit", template.key),
        **{
            "version": "1",
            "name": "Careful",
            "default": "-",
            "new_products": "",
            f"product:{key}": "-",
            "category:Visio": "Enabled",
            "offer:SaaS": "Disabled",
            "cap": "person_month",
            "cap:EUR": "50",
            "cap:USD": "60,50",
            "threshold": "",
        },
    )

    assert answer["Location"] == at("fleet-template", template.key)
    with tenant_atomic(petra.tenant_id):
        saved = PolicyTemplate.objects.get()
    assert (saved.name, saved.version) == ("Careful", 2)
    assert saved.said == {
        "new_products": "",
        "category:Visio": "Enabled",
        "offer:SaaS": "Disabled",
        "cap": {"basis": "person_month", "amounts": {"EUR": 5000, "USD": 6050}},
        "threshold": {"basis": "", "amounts": {}},
    }
    page = client_of(petra).get(at("fleet-edit", template.key)).text
    assert 'name="cap:USD" inputmode="decimal" autocomplete="off" value="60.50"' in page


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"default": "Ask"},
        {"cap": "purchase"},
        {"cap": "purchase", "cap:EUR": "much"},
        {"version": "x"},
    ],
)
def test_a_form_that_cannot_be_keeps_what_was_typed(
    petra: User, contoso: Tenant, values: dict[str, str]
) -> None:
    template = template_of(petra)
    typed = {"version": "1", "name": "Careful", "category:Visio": "Enabled"}

    answer = post(petra, at("fleet-edit", template.key), **(typed | values))

    assert answer.status_code == 422
    assert re.search(r'id="category-Visio">.*?value="Enabled" selected', answer.text, re.S)
    with tenant_atomic(petra.tenant_id):
        assert PolicyTemplate.objects.get().version == 1


def test_a_form_of_an_older_version_is_refused(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    address = at("fleet-edit", template.key)
    post(petra, address, version="1", name="Second")

    answer = post(petra, address, version="1", name="Third")

    assert answer.status_code == 409
    with tenant_atomic(petra.tenant_id):
        assert PolicyTemplate.objects.get().name == "Second"


def test_a_template_is_deleted_on_a_page_that_says_what_stays(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    address = at("fleet-delete", template.key)

    before = text(client_of(petra).get(address))
    answer = post(petra, address)

    assert "Your customers' policies stay as they are" in before
    assert answer["Location"] == PAGE
    assert client_of(petra).get(at("fleet-template", template.key)).status_code == 404


# --- One customer -----------------------------------------------------------------------------------------


def test_one_customer_shows_theirs_the_templates_and_where_theirs_comes_from(
    petra: User, contoso: Tenant
) -> None:
    template = template_of(petra, **{f"product:{product().key}": "Disabled", "default": "Enabled"})
    bill = make_user(contoso, roles=("billing_admin",))
    category = operations.of_category("Power Platform", "OnlyTrialsWithoutPaymentMethod")
    change_policies(actor=actor_of(bill, at=now()), changes=[category], at=now())

    page = text(client_of(petra).get(at("fleet-customer", template.key, relationship_of(contoso, petra))))

    assert "1 value differs from the template Careful start (version 1)." in page
    assert "Power BI Pro Allow for trials only Do not allow Category Power Platform Differs" in page
    assert "Every product Allow Allow \u2013 As the template" in page
    assert "Products that the template leaves to the customer" in page


# --- Applying ---------------------------------------------------------------------------------------------


def dry_run(client: Client, template: PolicyTemplate, *customers: Tenant) -> Any:
    return client.get(at("fleet-apply", template.key), {"customer": [each.pk for each in customers]})


def fields_of(answer: Any) -> dict[str, list[str]]:
    """What the form of the dry run would post."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(
        r'<input type="(?:hidden|checkbox)" name="([^"]*)" value="([^"]*)"', answer.text
    ):
        found.setdefault(name, []).append(html.unescape(value))
    return found


def test_the_dry_run_lists_exactly_what_changes_where(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    alike = serve(petra, "Alike")
    bill = make_user(alike, roles=("billing_admin",))
    same = [
        operations.default_for_all("Disabled"),
        operations.new_products("Ask"),
    ]
    change_policies(actor=actor_of(bill, at=now()), changes=same, at=now())
    licenses = serve(petra, "Licenses", roles=("license_admin",))

    page = text(dry_run(client_of(petra), template, contoso, alike, licenses))

    assert "Contoso 3 values" in page
    assert "Every product Allow Do not allow" in page
    assert "New products As every product Ask an admin each time" in page
    assert "Power BI Pro Allow Default for every product Do not allow" in page
    assert "Alike : It says so already." in page
    assert "Licenses : Your roles there do not include the purchase policy." in page
    assert "Apply to 1 customer" in page


def test_the_button_starts_a_job_that_the_person_can_watch(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    client = client_of(petra)

    answer = client.post(
        at("fleet-apply", template.key), fields_of(dry_run(client, template, contoso)) | {"why": "As agreed"}
    )

    with tenant_atomic(petra.tenant_id):
        job = Job.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, at("job", job.key))
    assert [each["name"] for each in job.parameters["customers"]] == ["Contoso"]
    assert set(job.parameters["said"]) == set(template.said)
    watched = text(client.get(at("job", job.key)))
    assert "Apply Careful start to 1 customer" in watched
    assert "Apply Careful start to 1 customer" in text(client.get("/admin/jobs/"))


def test_unticked_values_stay_as_they_are(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    client = client_of(petra)
    fields = fields_of(dry_run(client, template, contoso))

    client.post(at("fleet-apply", template.key), fields | {"line": ["default"]})

    with tenant_atomic(petra.tenant_id):
        assert Job.objects.get().parameters["said"] == {"default": "Disabled"}


@pytest.mark.parametrize(
    "changed",
    [
        {"line": []},
        {"customer": []},
        {"line": ["default", "cap"]},
        {"version": "one"},
        {"customer": ["x"]},
        {"why": "x" * 301},
    ],
)
def test_a_form_that_cannot_be_starts_nothing(petra: User, contoso: Tenant, changed: dict[str, Any]) -> None:
    template = template_of(petra)
    client = client_of(petra)
    fields = fields_of(dry_run(client, template, contoso))

    answer = client.post(at("fleet-apply", template.key), fields | changed)

    assert answer.status_code == 422
    with use_login("worker"):
        assert not Job.objects.exists()


@pytest.mark.parametrize("shown", ["", "[]", '{"default": 1}', "{", "[" * 10_000, '{"default": "\\ud800"}'])
def test_what_was_seen_is_what_such_a_page_says(petra: User, contoso: Tenant, shown: str) -> None:
    template = template_of(petra)
    client = client_of(petra)
    fields = fields_of(dry_run(client, template, contoso))

    answer = client.post(at("fleet-apply", template.key), fields | {f"seen:{contoso.pk}": shown})

    assert answer.status_code == 422


def test_a_customer_of_somebody_else_is_not_there(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    stranger = make_tenant(name="Stranger")
    client = client_of(petra)
    fields = fields_of(dry_run(client, template, contoso))

    shown = dry_run(client, template, stranger)
    posted = client.post(
        at("fleet-apply", template.key), fields | {"customer": [stranger.pk], f"seen:{stranger.pk}": "{}"}
    )

    assert "Stranger" not in shown.text
    assert "No customer was chosen." in shown.text
    assert posted.status_code == 404


def test_a_template_that_moved_is_looked_at_again(petra: User, contoso: Tenant) -> None:
    template = template_of(petra)
    client = client_of(petra)
    fields = fields_of(dry_run(client, template, contoso))
    post(petra, at("fleet-edit", template.key), version="1", name="Careful", default="Enabled")

    answer = client.post(at("fleet-apply", template.key), fields)

    assert answer.status_code == 409
    assert "Somebody has changed this template since." in text(answer)


# --- The file ---------------------------------------------------------------------------------------------


def test_the_file_has_every_customer_and_value(petra: User, contoso: Tenant) -> None:
    template = template_of(petra, default="Disabled")
    serve(petra, "=Fabrikam", roles=("license_admin",))

    lines = client_of(petra).get(at("fleet-export", template.key)).getvalue().decode("utf-8-sig").splitlines()

    assert list(csv.reader(lines)) == [
        ["customer", "value", "template", "theirs", "comes_from", "differs", "not_compared"],
        ["'=Fabrikam", *[""] * 5, "Your roles there do not include the purchase policy"],
        ["Contoso", "Every product", "Do not allow", "Allow", "", "yes", ""],
    ]
