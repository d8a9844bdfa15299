"""The pages of relationships, on both sides (directory/views: customers, relationship, relationships)."""

from datetime import timedelta

import pytest
from django.urls import reverse

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Invitation, Relationship, RelationshipAssignment
from directory.operations.invitations import ask_for_relationship
from directory.operations.links import open_to
from directory.operations.people import create_group
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db

CUSTOMERS, PARTNERS, ASK = "/admin/customers/", "/admin/relationships/", "/admin/customers/ask/"


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def northwind():
    return make_tenant(name="Northwind")


@pytest.fixture
def gina(contoso):
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def petra(northwind):
    return make_user(northwind, name="Petra", roles=("global_admin",))


def page_of(thing):
    return reverse("portal:relationship", args=[thing.key])


def post(user, address, acting_for=None, **values):
    tenant = acting_for or user.tenant
    return client_of(user, acting_for).post(address, {"shown_for_tenant": tenant.pk, **values})


def made(tenant, model=Invitation):
    with tenant_atomic(tenant.pk):
        return model.objects.order_by("pk").last()


def ask(petra, **changed):
    facts = {"domain": "contoso.test", "name": "Contoso licensing", "days": 30, "message": "As <b>agreed</b>"}
    roles = ("billing_admin", "license_admin")
    facts = {"roles": roles, "extends": True, "at": now()} | facts | changed
    return ask_for_relationship(actor=actor_of(petra, at=now()), **facts)


def running(contoso, northwind, **fields):
    at = now()
    dates = {"starts_at": at - timedelta(days=1), "ends_at": at + timedelta(days=100)}
    return make_relationship(contoso, northwind, **(dates | fields))


# --- Asking -----------------------------------------------------------------------------------------------


def test_the_partner_asks_and_gets_the_link(petra, contoso, gina):
    answer = post(
        petra,
        ASK,
        domain="@Contoso.test",
        name="Contoso licensing",
        roles=["license_admin", "billing_admin"],
        days="30",
        message="As agreed.",
    )

    invitation = made(petra.tenant)
    assert (answer.status_code, answer["Location"]) == (303, page_of(invitation))
    assert (invitation.customer_domain, invitation.roles, invitation.extends) == (
        "contoso.test",
        ["billing_admin", "license_admin"],
        False,
    )
    text = client_of(petra).get(page_of(invitation)).text
    assert page_of(invitation) in text


@pytest.mark.parametrize("domain", ["contoso.test", "nobody.test"])
def test_the_partners_page_is_the_same_whether_there_is_such_a_customer_or_not(petra, contoso, gina, domain):
    text = client_of(petra).get(page_of(ask(petra, domain=domain))).text

    assert "Waiting for the customer" in text
    assert "Contoso</" not in text


def test_a_form_that_cannot_be_keeps_what_was_typed(petra):
    answer = post(petra, ASK, domain="nowhere", name="My customer", roles=["user_admin"], days="9999")

    assert answer.status_code == 422
    assert 'value="My customer"' in answer.text
    assert 'value="user_admin" checked' in answer.text
    assert 'value="9999"' in answer.text
    assert made(petra.tenant) is None


@pytest.mark.parametrize("roles", [(), ("billing_admin",), ("global_reader",)])
def test_who_may_not_ask_has_no_such_page(northwind, roles):
    assert client_of(make_user(northwind, roles=roles)).get(ASK).status_code == 404


# --- Answering --------------------------------------------------------------------------------------------


def test_the_customer_reads_who_asks_and_for_what_in_words(petra, gina):
    text = client_of(gina).get(page_of(ask(petra))).text

    for words in (
        "Northwind asks to act for you",
        "Petra of Northwind asks",
        "for 30 days",
        "buys on account under the organization&#x27;s agreement",
        "gives and takes back the licenses",
        "As &lt;b&gt;agreed&lt;/b&gt;",
        "It extends by 180 days",
    ):
        assert words in text
    assert "manages people and groups" not in text


def test_the_customer_strikes_a_role_and_approves(petra, gina, contoso):
    invitation = ask(petra)

    answer = post(gina, page_of(invitation), action="approve", roles=["license_admin"])

    assert answer.status_code == 303
    assert made(contoso, Relationship).roles == ["license_admin"]
    text = client_of(gina).get(page_of(invitation)).text
    assert "struck: billing admin" in text
    assert "so nobody acts for you" in text


def test_approving_without_a_role_says_so_and_leaves_it_open(petra, gina, contoso):
    invitation = ask(petra)

    answer = post(gina, page_of(invitation), action="approve")

    assert answer.status_code == 422
    assert "Leave at least one of the roles" in answer.text
    assert made(contoso, Relationship) is None


@pytest.mark.parametrize("action", ["approve", "assign"])
def test_roles_are_given_only_soon_after_a_sign_in(petra, gina, contoso, northwind, action, settings):
    settings.SIGN_IN_IS_FRESH = timedelta(0)
    user, thing = (gina, ask(petra)) if action == "approve" else (petra, running(contoso, northwind))

    answer = post(user, page_of(thing), action=action, person=petra.pk, roles=["license_admin"])

    assert answer.status_code == 403
    assert "you must have signed in within" in answer.text
    assert made(northwind, RelationshipAssignment) is None
    assert (made(contoso, Relationship) is None) == (action == "approve")


def test_a_second_answer_is_409_and_changes_nothing(petra, gina, contoso):
    invitation = ask(petra)
    post(gina, page_of(invitation), action="decline")

    answer = post(gina, page_of(invitation), action="approve", roles=["license_admin"])

    assert answer.status_code == 409
    assert "can no longer be answered" in answer.text
    assert made(contoso, Relationship) is None


def test_a_billing_admin_and_a_reader_see_it_without_buttons(petra, gina, contoso):
    invitation = ask(petra)
    for role in ("billing_admin", "global_reader"):
        user = make_user(contoso, roles=(role,))

        text = client_of(user).get(page_of(invitation)).text

        assert 'value="approve"' not in text
        assert "A global admin of your organization approves" in text
        assert post(user, page_of(invitation), action="approve", roles=["license_admin"]).status_code == 403


def test_the_link_of_somebody_else_and_no_link_get_one_clear_refusal(petra, gina, contoso, northwind):
    fiona = make_user(make_tenant(), roles=("global_admin",))
    invitation = ask(petra)
    for user in (fiona, make_user(contoso), make_user(northwind), make_user(contoso, roles=("user_admin",))):
        for action in ("", "approve", "decline", "withdraw"):
            answer = (
                post(user, page_of(invitation), action=action, roles=["license_admin"])
                if action
                else client_of(user).get(page_of(invitation))
            )
            assert answer.status_code == 403
            assert "This link does not open for you" in answer.text
    assert made(petra.tenant).state == "waiting"


def test_who_is_not_signed_in_signs_in_first_and_comes_back(client, petra, gina):
    invitation = ask(petra)

    answer = client.get(page_of(invitation))

    assert answer.status_code == 302
    assert str(invitation.key) in answer["Location"]


def test_the_notice_leads_to_the_page_of_whoever_may_open_it(petra, gina, contoso):
    address = page_of(ask(petra))
    admin, member = actor_of(gina, at=now()), actor_of(make_user(contoso), at=now())

    with tenant_atomic(contoso.pk):
        assert open_to(admin, [address]) == {address: address}
        assert open_to(member, [address]) == {}


def test_partners_lists_what_waits_what_runs_and_what_has_ended(petra, gina, contoso, northwind):
    running(contoso, northwind, name="Running one")
    running(contoso, northwind, name="Ended one", status="ended")
    ask(petra, name="Waiting one")

    text = client_of(gina).get(PARTNERS).text

    order = [text.index(name) for name in ("Waiting one", "Running one", "Ended one")]
    assert order == sorted(order)


def test_an_organization_without_partners_reads_what_comes_here(gina):
    assert "No partner acts for you." in client_of(gina).get(PARTNERS).text


# --- The partner's side -----------------------------------------------------------------------------------


def test_customers_lists_finds_and_filters(petra, contoso, northwind):
    running(contoso, northwind, users=(petra,))
    running(make_tenant(name="Adatum"), northwind, status="ended")
    client = client_of(petra)

    everything, active = client.get(CUSTOMERS).text, client.get(f"{CUSTOMERS}?show=active").text
    found = client.get(f"{CUSTOMERS}?q=adat").text

    assert ("Adatum" in everything, "Contoso" in everything) == (True, True)
    assert ("Adatum" in active, "Contoso" in active) == (False, True)
    assert ("Adatum" in found, "Contoso" in found) == (True, False)
    assert "Act for Contoso" in everything
    assert client.get(f"{CUSTOMERS}?show=odd").status_code == 422


def test_a_member_sees_the_own_customers_alone(contoso, northwind, petra):
    nils = make_user(northwind)
    running(contoso, northwind, users=(nils,))
    running(make_tenant(name="Adatum"), northwind, users=(petra,))

    text = client_of(nils).get(CUSTOMERS).text

    assert ("Act for Contoso" in text, "Adatum" in text) == (True, False)


def test_who_is_given_nothing_has_no_customers(contoso, northwind, petra):
    running(contoso, northwind, users=(petra,))
    nils = make_user(northwind)

    assert client_of(nils).get(CUSTOMERS).status_code == 404
    assert CUSTOMERS not in client_of(nils).get("/").text


def test_a_hundred_relationships_take_as_many_queries_as_one(
    contoso, northwind, petra, django_assert_max_num_queries
):
    client = client_of(petra)
    for number in range(60):
        running(make_tenant(name=f"Customer {number:03}"), northwind, users=(petra,))
    client.get(CUSTOMERS)

    with django_assert_max_num_queries(25):
        first = client.get(f"{CUSTOMERS}?show=active").text

    assert "Customer 049" in first
    assert 'rel="next"' in first


def test_roles_are_given_and_taken_back_on_the_page(contoso, northwind, petra):
    nils = make_user(northwind, name="Nils Weber")
    relationship = running(contoso, northwind)
    client = client_of(petra)
    assert "Nils Weber" in client.get(page_of(relationship), {"q": "nils"}).text

    post(petra, page_of(relationship), action="assign", person=nils.pk, roles=["license_admin"])
    given = made(northwind, RelationshipAssignment)
    assert (given.user_id, given.roles) == (nils.pk, ["license_admin"])
    assert "Given to Nils Weber" in client.get(page_of(relationship)).text

    post(petra, page_of(relationship), action="unassign", assignment=given.pk)
    assert made(northwind, RelationshipAssignment) is None


def test_roles_are_given_to_a_group_on_the_page(contoso, northwind, petra):
    group = create_group(actor=actor_of(petra, at=now()), name="Delivery", at=now())
    relationship = running(contoso, northwind)
    assert "Delivery" in client_of(petra).get(page_of(relationship), {"q": "deli"}).text

    post(petra, page_of(relationship), action="assign", group=str(group.key), roles=["license_admin"])

    assert made(northwind, RelationshipAssignment).group_id == group.pk


@pytest.mark.parametrize(
    "values",
    [
        {"action": "assign"},
        {"action": "assign", "person": "x"},
        {"action": "assign", "person": "9" * 30},
        {"action": "assign", "group": "x"},
        {"action": "unassign", "assignment": "\u0661"},
        {"action": "approve"},
        {},
    ],
)
def test_a_post_that_names_nobody_is_refused_and_changes_nothing(contoso, northwind, petra, values):
    relationship = running(contoso, northwind)

    answer = post(petra, page_of(relationship), **values)

    assert answer.status_code == 422
    assert made(northwind, RelationshipAssignment) is None


def test_each_side_ends_it_on_a_page_that_says_before_what_happens(contoso, northwind, petra, gina):
    nils = make_user(northwind, name="Nils Weber")
    for user in (petra, gina):
        relationship = running(contoso, northwind, users=(nils,), roles=("billing_admin",))
        address = reverse("portal:relationship-end", args=[relationship.key])
        assert f'href="{address}"' in client_of(user).get(page_of(relationship)).text

        page = client_of(user).get(address).text
        assert made(contoso, Relationship).status == "active"
        for words in (
            *(
                "Nobody of Northwind can act for Contoso from their next click on.",
                "Nils Weber",
                "billing admin",
            ),
            *(
                "Everything that they did here",
                "The global admins of Contoso and of Northwind",
                "It would run until",
            ),
            "To act again Northwind must ask anew, and a global admin of Contoso approve.",
        ):
            assert words in page, words
        done = post(user, address)

        assert (done.status_code, done["Location"]) == (303, page_of(relationship))
        assert made(contoso, Relationship).status == "ended"
        assert "End it now" not in client_of(user).get(page_of(relationship)).text
        again, shown = post(user, address), client_of(user).get(address)
        assert (again.status_code, shown.status_code, shown["Location"]) == (303, 302, page_of(relationship))


def test_nothing_ends_without_that_page(contoso, northwind, gina):
    relationship = running(contoso, northwind)

    answer = post(gina, page_of(relationship), action="end")

    assert answer.status_code == 422
    assert made(contoso, Relationship).status == "active"


def test_who_may_not_end_it_has_no_such_page(contoso, northwind):
    relationship = running(contoso, northwind)
    address = reverse("portal:relationship-end", args=[relationship.key])
    others = (
        *(make_user(tenant, roles=(role,)) for tenant in (contoso, northwind) for role in ("billing_admin",)),
        *(make_user(contoso, roles=("global_reader",)), make_user(contoso)),
        make_user(make_tenant(), roles=("global_admin",)),
    )

    for user in others:
        assert (client_of(user).get(address).status_code, post(user, address).status_code) == (403, 403)
    assert made(contoso, Relationship).status == "active"


def test_the_customers_page_gives_nobody_a_role(contoso, northwind, petra, gina):
    relationship = running(contoso, northwind)

    answer = post(gina, page_of(relationship), action="assign", person=petra.pk, roles=["license_admin"])

    assert answer.status_code == 403
    assert "Give roles to somebody" not in client_of(gina).get(page_of(relationship)).text


def test_who_acts_for_a_customer_sees_the_own_relationship_and_no_other_partners(contoso, northwind, petra):
    relationship = running(contoso, northwind, roles=("billing_admin",), users=(petra,))
    rival = running(contoso, make_tenant(name="Rival"))
    client = client_of(petra, contoso)

    assert "Rival" not in client.get(PARTNERS).text
    assert client.get(page_of(relationship)).status_code == 200
    assert client.get(page_of(rival)).status_code == 403
    end = reverse("portal:relationship-end", args=[relationship.key])
    assert (client.get(end).status_code, post(petra, end, contoso).status_code) == (403, 403)


def test_the_menu_has_customers_for_partners_and_partners_for_customers(contoso, northwind, petra, gina):
    running(contoso, northwind)

    at_northwind, at_contoso = client_of(petra).get(PARTNERS).text, client_of(gina).get(PARTNERS).text

    assert f'href="{CUSTOMERS}"' in at_northwind
    assert "handshake" in at_northwind
    assert "handshake" not in at_contoso
