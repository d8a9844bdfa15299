"""The purchase policy's pages: what holds and why, whom changes affect before they are saved, undo (product §9)."""

from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client

from commerce.models import Product
from config.kit.tenancy import tenant_atomic
from directory.models import Group, GroupMembership, Tenant, User
from directory.permissions import Role
from policies.models import PolicyChange, TenantPolicy
from policies.operations import policies as operations
from policies.operations.policies import change_policies
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_checkout,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db

PAGE = "/admin/billing/policy/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=(Role.BILLING_ADMIN,))


@pytest.fixture
def browser(bill: User) -> Client:
    return client_of(bill)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def post(client: Client, tenant: Tenant, address: str, **values: str) -> Any:
    return client.post(address, {"shown_for_tenant": tenant.pk, **values})


def history(tenant: Tenant) -> list[tuple[str, str, Any, Any]]:
    with tenant_atomic(tenant.pk):
        rows = PolicyChange.objects.order_by("id")
        return [(row.target, row.target_key, row.before["value"], row.after["value"]) for row in rows]


def test_the_list_is_narrowed_by_name_and_by_where_a_value_comes_from(browser: Client, bill: User) -> None:
    own = operations.of_product([product("power-bi-pro").key], "Enabled", name="Power BI Pro")
    change_policies(actor=actor_of(bill), changes=[own], at=AT)

    here = text(browser.get(PAGE, {"origin": "product"}))
    named = text(browser.get(PAGE, {"q": "visio plan 2"}))
    none = text(browser.get(PAGE, {"q": "Visio", "origin": "product"}))

    assert "Self-service purchase of Power BI Pro" in here
    assert "Self-service purchase of Visio" not in here
    assert "Self-service purchase of Visio Plan 2" in named
    assert "Self-service purchase of Power BI" not in named
    assert "No product matches." in none


def test_saving_a_narrowed_list_leaves_the_others_as_they_are(browser: Client, contoso: Tenant) -> None:
    field = "product:" + product("visio-plan-2").key

    shown = post(browser, contoso, PAGE + "?q=visio", action="review", **{field: "Disabled"})
    post(browser, contoso, PAGE + "?q=visio", action="save", **{field: "Disabled", f"was:{field}": ""})

    assert "Save the policy" in text(shown)
    assert history(contoso) == [("product", product("visio-plan-2").key, None, "Disabled")]


def test_what_is_chosen_and_not_saved_yet_goes_along_with_every_filter(
    browser: Client, contoso: Tenant
) -> None:
    visio, power_bi = (f"product:{product(slug).key}" for slug in ("visio-plan-1", "power-bi-pro"))
    chosen = {visio: "Disabled", power_bi: "", "default": "OnlyTrialsWithoutPaymentMethod"}

    answer = post(browser, contoso, PAGE, action="narrow", q="power bi", origin="", person="", **chosen)
    narrowed = text(browser.get(answer["Location"]))
    cleared = post(
        browser, contoso, PAGE, action="clear", q="power bi", **{visio: "Disabled", power_bi: "Disabled"}
    )
    everything = text(browser.get(cleared["Location"]))

    assert answer.status_code == 303
    assert power_bi not in unquote(answer["Location"])
    assert "Self-service purchase of Visio Plan 1" not in narrowed
    assert f'<input type="hidden" name="{visio}" value="Disabled" data-stored="">' in narrowed
    assert '<option value="OnlyTrialsWithoutPaymentMethod" selected>' in narrowed.split('id="default"')[1]
    assert "Changes not saved yet: <strong data-count>2</strong>" in narrowed
    for name in (visio, power_bi):
        field = everything.split(f'name="{name}"')[1].split("</select>")[0]
        assert '<option value="Disabled" selected>' in field
    assert history_is_empty(contoso)


def test_a_person_is_checked_without_losing_what_is_chosen(browser: Client, contoso: Tenant) -> None:
    name = f"product:{product('visio-plan-1').key}"

    answer = post(
        browser,
        contoso,
        PAGE,
        action="check",
        person="bill@x.example",
        product="visio-plan-1",
        **{name: "Disabled"},
    )
    page = text(browser.get(answer["Location"]))

    assert answer["Location"].endswith("#try")
    assert "Nobody here has this address." in page
    assert "Changes not saved yet: <strong data-count>1</strong>" in page


def test_what_is_refused_keeps_what_was_chosen(browser: Client, contoso: Tenant) -> None:
    name = f"product:{product('visio-plan-1').key}"

    answer = post(browser, contoso, PAGE, action="review", default="Perhaps", **{name: "Disabled"})

    assert answer.status_code == 422
    assert (
        '<option value="Disabled" selected>' in text(answer).split(f'name="{name}"')[1].split("</select>")[0]
    )


def test_the_file_says_what_holds_for_every_product_and_why(browser: Client, bill: User) -> None:
    change_policies(actor=actor_of(bill), changes=[operations.default_for_all("Disabled")], at=AT)

    answer = browser.get(PAGE + "export.csv")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert len(lines) == 1 + Product.objects.count()
    assert [line for line in lines if '"Visio Plan 2"' in line] == [
        f'"Visio Plan 2","{product("visio-plan-2").key}","{product("visio-plan-2").category}",'
        '"Do not allow","Default for every product","","0"'
    ]


def test_the_page_shows_every_product_with_its_value_and_where_it_comes_from(
    contoso: Tenant, bill: User, browser: Client
) -> None:
    visio = product("visio-plan-2")
    change_policies(
        actor=actor_of(bill),
        changes=[
            operations.of_product([visio.key], "Disabled", name=visio.name),
            operations.of_category("Power Platform", "Disabled"),
        ],
        at=AT,
    )

    page = text(browser.get(PAGE))

    assert "Visio Plan 2" in page
    assert "<strong>Set here</strong>" in page
    assert "Category Power Platform" in page
    assert "Default for every product" in page
    assert "Visio Plan 2: as inherited → Do not allow" in page


def test_trials_only_is_offered_where_the_product_has_such_a_trial(browser: Client) -> None:
    page = text(browser.get(PAGE))

    def options(slug: str) -> str:
        return page.split(f'name="product:{product(slug).key}"')[1].split("</select>")[0]

    assert "Allow for trials only" in options("project-plan-1")
    assert "Allow for trials only" not in options("power-bi-pro")


def test_several_changes_show_whom_they_affect_and_are_saved_at_once(
    contoso: Tenant, browser: Client
) -> None:
    pat = make_user(contoso, name="Pat")
    make_subscription(contoso, owner=pat, quantity=10, assigned=0)
    make_checkout(pat)
    power_bi = product()
    wanted = {f"product:{power_bi.key}": "Disabled", "default": "OnlyTrialsWithoutPaymentMethod"}

    shown = post(browser, contoso, PAGE, action="review", **wanted)

    page = text(shown)
    assert "Who is affected" in page
    assert "1 person, 10 licenses" in page
    assert "Save 2 changes" in page
    assert history(contoso) == []

    was = {f"was:product:{power_bi.key}": "", "was:default": "Enabled"}
    saved = post(browser, contoso, PAGE, action="save", why="The budget is spent.", **wanted, **was)

    assert saved.status_code == 303
    assert "2 changes hold from now on." in text(browser.get(PAGE))
    assert history(contoso) == [
        ("default", "", "Enabled", "OnlyTrialsWithoutPaymentMethod"),
        ("product", power_bi.key, None, "Disabled"),
    ]


def test_what_somebody_changed_meanwhile_is_not_overwritten(
    contoso: Tenant, bill: User, browser: Client
) -> None:
    change_policies(actor=actor_of(bill), changes=[operations.default_for_all("Disabled")], at=AT)

    answer = post(
        browser,
        contoso,
        PAGE,
        action="save",
        default="OnlyTrialsWithoutPaymentMethod",
        **{"was:default": "Enabled"},
    )

    assert answer.status_code == 409
    assert "Somebody has changed this since. Nothing was saved." in text(answer)
    assert len(history(contoso)) == 1


@pytest.mark.parametrize("values", [{}, {"default": "Enabled"}, {"default": "enabled"}, {"default": "Ask"}])
def test_nothing_to_save_and_what_is_no_value_is_said(
    contoso: Tenant, browser: Client, values: dict[str, str]
) -> None:
    answer = post(browser, contoso, PAGE, action="review", **values)

    assert answer.status_code == 422
    assert "Problem:" in text(answer)
    assert history(contoso) == []


def test_a_save_that_does_not_say_what_it_saw_is_refused(contoso: Tenant, browser: Client) -> None:
    assert post(browser, contoso, PAGE, action="save", default="Disabled").status_code == 422
    assert history(contoso) == []


def test_a_reader_sees_it_and_changes_nothing(contoso: Tenant) -> None:
    rhea = client_of(make_user(contoso, roles=(Role.GLOBAL_READER,)))

    page = text(rhea.get(PAGE))

    assert "Power BI Pro" in page
    assert "Save changes" not in page
    assert 'name="default"' not in page
    assert post(rhea, contoso, PAGE, action="save", default="Disabled").status_code == 403
    assert history(contoso) == []


def test_a_delegated_billing_admin_changes_it_but_not_the_contact(contoso: Tenant) -> None:
    petra = make_user(make_tenant(name="Northwind"), name="Petra")
    make_relationship(
        contoso, Tenant(pk=petra.tenant_id, name="Northwind"), users=(petra,), roles=("billing_admin",)
    )
    client = client_of(petra, contoso)

    assert "Save changes" in text(client.get(PAGE))
    assert client.get(f"{PAGE}contact/").status_code == 404


@pytest.mark.parametrize("kind", [Tenant.Kind.GOVERNMENT, Tenant.Kind.EDUCATION])
def test_where_there_is_no_self_service_the_page_says_so_alone(kind: str) -> None:
    tenant = make_tenant(name="City of Metropolis", kind=kind)
    client = client_of(make_user(tenant, roles=(Role.GLOBAL_ADMIN,)))

    page = text(client.get(PAGE))

    assert "so you need do nothing" in page
    assert "<select" not in page
    assert client.get(f"{PAGE}spending/").status_code == 404


def test_one_change_is_undone_after_a_look(contoso: Tenant, bill: User, browser: Client) -> None:
    done = change_policies(actor=actor_of(bill), changes=[operations.default_for_all("Disabled")], at=AT)
    address = f"{PAGE}history/{done[0].key}/undo/"

    assert "Undo, back to: Allow" in text(browser.get(address))
    assert post(browser, contoso, address).status_code == 303
    assert history(contoso)[-1] == ("default", "", "Disabled", "Enabled")
    again = post(browser, contoso, address)
    assert again.status_code == 409
    assert "undone before" in text(again)
    assert "Undoes an earlier change." in text(browser.get(f"{PAGE}history/"))


def test_the_limits_are_typed_in_the_tenants_currency(contoso: Tenant, browser: Client) -> None:
    values = {"cap": "49,90", "cap_basis": "person_month", "threshold": "30", "threshold_basis": "purchase"}

    assert post(browser, contoso, f"{PAGE}spending/", **values).status_code == 303

    with tenant_atomic(contoso.pk):
        row = TenantPolicy.objects.get()
    assert (row.cap_minor, row.cap_basis, row.limits_currency) == (4_990, "person_month", "EUR")
    assert (row.threshold_minor, row.threshold_basis) == (3_000, "purchase")
    assert "€49.90 a person and month" in text(browser.get(PAGE))


@pytest.mark.parametrize("typed", ["-1", "abc", "1.005", "NaN", "1e30", "Infinity"])
def test_what_is_no_amount_is_refused(contoso: Tenant, browser: Client, typed: str) -> None:
    answer = post(
        browser,
        contoso,
        f"{PAGE}spending/",
        cap=typed,
        cap_basis="purchase",
        threshold="",
        threshold_basis="purchase",
    )

    assert answer.status_code == 422
    assert "Enter an amount such as 50 or 49.90." in text(answer)
    assert history_is_empty(contoso)


@pytest.mark.parametrize(
    ("cap_basis", "basis"),
    [("purchase", "purchase"), ("person_month", "person_month"), ("person_month", "purchase")],
)
@pytest.mark.parametrize("threshold", ["100", "500"])
def test_a_threshold_that_the_cap_never_lets_anybody_reach_is_refused(
    contoso: Tenant, browser: Client, cap_basis: str, basis: str, threshold: str
) -> None:
    values = {"cap": "100", "cap_basis": cap_basis, "threshold": threshold, "threshold_basis": basis}

    answer = post(browser, contoso, f"{PAGE}spending/", **values)

    assert answer.status_code == 422
    told = "Nobody would ever be asked: what is above this is refused already. Enter less than the most that may be spent."
    assert told in text(answer)
    assert (
        f'id="threshold" name="threshold" inputmode="decimal" autocomplete="off" value="{threshold}"'
        in text(answer)
    )
    assert history_is_empty(contoso)


def test_a_months_threshold_above_what_one_purchase_may_cost_is_taken(
    contoso: Tenant, browser: Client
) -> None:
    values = {"cap": "100", "cap_basis": "purchase", "threshold": "500", "threshold_basis": "person_month"}

    assert post(browser, contoso, f"{PAGE}spending/", **values).status_code == 303


def history_is_empty(tenant: Tenant) -> bool:
    with tenant_atomic(tenant.pk):
        return not PolicyChange.objects.exists()


def test_a_person_is_checked_as_the_persons_own_page_decides(
    contoso: Tenant, bill: User, browser: Client
) -> None:
    mike = make_user(contoso, name="Mike Mulder", email="mike@contoso.example")
    with tenant_atomic(contoso.pk):
        makers = Group.objects.create(tenant=contoso, name="Makers")
        GroupMembership.objects.create(tenant=contoso, group=makers, user=mike)
    power_bi = product()
    ask = f"{PAGE}?person=mike@contoso.example&product=power-bi-pro"
    change_policies(actor=actor_of(bill), changes=[operations.of_product([power_bi.key], "Disabled")], at=AT)

    refused = text(browser.get(ask))
    assert "Mike Mulder may not buy Power BI Pro" in refused
    assert "Contoso does not allow buying Power BI Pro" in refused

    change_policies(
        actor=actor_of(bill),
        changes=[operations.of_group(makers.pk, "Enabled", level="product", keys=[power_bi.key])],
        at=AT,
    )
    allowed = text(browser.get(ask))
    assert "Mike Mulder sees Buy for Power BI Pro" in allowed
    assert "Set here (Makers): Allow." in allowed


def test_nobody_of_another_organization_can_be_checked(browser: Client) -> None:
    stranger = make_user(make_tenant(), email="stranger@fabrikam.example")

    page = text(browser.get(f"{PAGE}?person={stranger.email}&product=power-bi-pro"))

    assert "Nobody here has this address." in page


def test_a_group_gets_a_rule_and_loses_it(contoso: Tenant, browser: Client) -> None:
    with tenant_atomic(contoso.pk):
        makers = Group.objects.create(tenant=contoso, name="Makers")
    address = f"{PAGE}products/power-bi-pro/"

    made = post(browser, contoso, address, group=str(makers.pk), level="product", value="Disabled")
    assert made.status_code == 303
    assert "Makers: Do not allow" in text(browser.get(PAGE))
    assert "End the rule" in text(browser.get(address))

    post(browser, contoso, address, group=str(makers.pk), level="product", value="")
    assert "No group has a rule of its own here." in text(browser.get(address))
    for wrong in ({"group": "x"}, {"group": "0"}, {"group": str(makers.pk), "level": "y"}):
        assert post(browser, contoso, address, **wrong).status_code == 422


def test_the_contact_is_written(contoso: Tenant, browser: Client) -> None:
    wrong = post(browser, contoso, f"{PAGE}contact/", text="Ask", url="javascript:alert(1)")
    assert wrong.status_code == 422
    assert "That is no web address." in text(wrong)

    saved = post(browser, contoso, f"{PAGE}contact/", text="Ask the desk.", url="https://it.contoso.example/")

    assert saved.status_code == 303
    assert "Ask the desk." in text(browser.get(PAGE))


def test_the_page_asks_the_database_as_often_for_any_number_of_changes(
    bill: User, browser: Client, django_assert_max_num_queries: Any
) -> None:
    change_policies(
        actor=actor_of(bill),
        changes=[operations.of_product([f"P{n}"], "Disabled") for n in range(40)],
        at=AT,
    )

    with django_assert_max_num_queries(30):
        browser.get(PAGE)
