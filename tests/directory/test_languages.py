"""In which language somebody is answered: the own choice, the browser's, the organization's default (product §18)."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils.translation import get_language

from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.languages import UnknownLanguage, choose_language, language_of, set_default_language
from directory.operations.mail import QUEUE_SQL, queue_mail
from tests.factories import AT, actor_of, client_of, make_relationship, make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
DUTCH = {"HTTP_ACCEPT_LANGUAGE": "nl-NL,nl;q=0.9,en;q=0.8"}
ENGLISH = {"HTTP_ACCEPT_LANGUAGE": "en-US,en;q=0.9"}
CATALOGUE = "/products/"


def language(client: Client, address: str = CATALOGUE, **headers: str) -> str:
    """The language that a page says it is in, by its header and on its `html`."""
    response = client.get(address, **headers)
    said = response.headers["Content-Language"]
    assert f'lang="{said}"' in response.text
    return said


def reload(user: User) -> User:
    with tenant_atomic(user.tenant_id):
        found: User = User.objects.get(pk=user.pk)
    return found


def test_a_visitor_reads_what_the_browser_asks_for_and_english_where_it_asks_for_none():
    client = Client()

    assert language(client, **DUTCH) == "nl"
    assert language(client, **ENGLISH) == "en"
    assert language(client, HTTP_ACCEPT_LANGUAGE="fr, nl-BE;q=0.5") == "nl"
    assert language(client, HTTP_ACCEPT_LANGUAGE="fr, *;q=0.1") == "en"
    assert language(client) == "en"


def test_pages_differ_by_the_browsers_language_for_caches():
    response = Client().get(CATALOGUE)

    assert {"Accept-Language", "Cookie"} <= set(response.headers["Vary"].split(", "))


def test_a_visitor_switches_in_the_footer_and_comes_back_to_the_page():
    client = Client()

    answer = client.post(
        "/language/", {"language": "nl"}, headers={"Referer": f"{settings.PUBLIC_URL}{CATALOGUE}?q=bi"}
    )

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{CATALOGUE}?q=bi")
    assert language(client, **ENGLISH) == "nl"
    client.post("/language/", {"language": "en"})
    assert language(client, **DUTCH) == "en"


@pytest.mark.parametrize(
    "page",
    [
        "",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "http://[",
        "{ours}@evil.example/",
        "{ours}.evil.example/",
        "{ours}//evil.example/",
        "{ours}/\\evil.example",
        "http://testserver/products/",
    ],
)
def test_the_switch_leads_nowhere_else(page):
    answer = Client().post(
        "/language/", {"language": "nl"}, headers={"Referer": page.replace("{ours}", settings.PUBLIC_URL)}
    )

    assert answer.headers["Location"] == "/"


def test_what_is_no_language_is_refused():
    client = Client()

    assert client.post("/language/", {"language": "tlh"}).status_code == 422
    assert "language" not in client.cookies
    client.cookies["language"] = "tlh"
    assert language(client, **DUTCH) == "nl"


def test_the_own_choice_goes_before_the_browsers_and_that_before_the_organizations():
    tenant = make_tenant(language="nl")
    pat = make_user(tenant)
    client = client_of(pat)

    assert language(client) == "nl"
    assert language(client, **ENGLISH) == "en"
    assert language(client, HTTP_ACCEPT_LANGUAGE="fr") == "nl"
    client.post("/my/language/", {"language": "nl"})
    assert language(client, **ENGLISH) == "nl"
    assert reload(pat).chosen_language == "nl"
    # Wherever the person signs in, not in this browser alone.
    assert language(client_of(pat), **ENGLISH) == "nl"
    client.post("/my/language/", {"language": ""})
    assert language(client, **ENGLISH) == "en"
    assert reload(pat).chosen_language == ""


def test_the_footers_switch_is_the_choice_of_who_is_signed_in():
    pat = make_user(make_tenant())
    client = client_of(pat)

    client.post("/language/", {"language": "nl"})

    assert reload(pat).chosen_language == "nl"
    assert language(client_of(pat), **ENGLISH) == "nl"


def test_a_choice_goes_before_what_the_directory_says():
    pat = make_user(make_tenant(), language="nl")

    assert language(client_of(pat), **ENGLISH) == "nl"
    choose_language(actor=actor_of(pat), language="en", at=AT)
    assert language(client_of(pat), **DUTCH) == "en"


def test_who_acts_for_a_customer_chooses_for_the_own_account():
    contoso, northwind = make_tenant(), make_tenant()
    petra = make_user(northwind)
    make_relationship(contoso, northwind, users=(petra,))
    client = client_of(petra, contoso)

    client.post("/my/language/", {"language": "nl", "shown_for_tenant": contoso.pk})

    assert reload(petra).chosen_language == "nl"
    with tenant_atomic(northwind.pk):
        assert AuditEntry.objects.filter(code="directory.user.language_chosen").count() == 1
    with tenant_atomic(contoso.pk):
        assert not AuditEntry.objects.filter(code="directory.user.language_chosen").exists()


def test_a_choice_is_noted_once():
    pat = make_user(make_tenant())

    assert choose_language(actor=actor_of(pat), language="nl", at=AT) is True
    assert choose_language(actor=actor_of(pat), language="nl", at=AT) is False
    with pytest.raises(UnknownLanguage):
        choose_language(actor=actor_of(pat), language="de", at=AT)
    with tenant_atomic(pat.tenant_id):
        entries = AuditEntry.objects.filter(code="directory.user.language_chosen")
        assert [(entry.before, entry.after) for entry in entries] == [({"language": ""}, {"language": "nl"})]


def test_a_global_admin_sets_the_default_and_a_reader_does_not():
    tenant = make_tenant()
    gina, rhea = make_user(tenant, roles=("global_admin",)), make_user(tenant, roles=("global_reader",))
    address = reverse("portal:language")

    assert client_of(rhea).post(address, {"language": "nl"}).status_code == 403
    assert client_of(gina).post(address, {"language": "nl"}).status_code == 303
    assert client_of(gina).post(address, {"language": "de"}).status_code == 422
    with tenant_atomic(tenant.pk):
        assert Tenant.objects.get(pk=tenant.pk).language == "nl"
        assert AuditEntry.objects.filter(code="directory.tenant.language_changed").count() == 1
    assert set_default_language(actor=actor_of(gina), language="nl", at=AT) is False


def test_missing_and_foreign_pages_are_the_same_whatever_the_person_chose():
    pat = make_user(make_tenant(), chosen_language="nl")
    client = client_of(pat)

    missing, foreign = client.get("/no-such-page/"), client.get(reverse("portal:roles"))

    assert (missing.status_code, foreign.status_code) == (404, 404)
    assert missing.content == foreign.content
    assert missing.headers["Content-Language"] == foreign.headers["Content-Language"] == "en"


def test_a_program_is_answered_as_it_asks_whatever_the_person_chose():
    gina = make_user(make_tenant(), roles=("global_admin",), chosen_language="nl")
    caller = Client(HTTP_AUTHORIZATION=f"Bearer {token_of(gina, 'policies.read')}")
    caller.cookies["language"] = "nl"
    address = "/api/v1.0/policies/NoSuchPolicy"

    plain, dutch = caller.get(address), caller.get(address, **DUTCH)

    assert (plain.headers["Content-Language"], dutch.headers["Content-Language"]) == ("en", "nl")
    assert plain.json()["code"] == dutch.json()["code"]


def test_a_streamed_file_is_in_the_language_of_its_answer_and_the_thread_goes_on_in_its_own():
    gina = make_user(make_tenant(), roles=("global_admin",), chosen_language="nl")

    answer = client_of(gina).get(reverse("portal:policy-export"))

    assert get_language() == "en"
    assert "Toestaan" in b"".join(answer.streaming_content).decode()
    assert get_language() == "en"


def mail_languages(kind: str, tenant: Tenant) -> dict[str, str]:
    with tenant_atomic(tenant.pk):
        rows = list(OutgoingMail.objects.filter(kind=kind))
    return {row.to_address: language_of(row) for row in rows}


def test_a_mail_is_in_the_readers_language_else_in_the_organizations():
    tenant = make_tenant(language="nl")
    readers = [
        make_user(tenant, email="none@contoso.example"),
        make_user(tenant, email="chose@contoso.example", chosen_language="en"),
        make_user(tenant, email="directory@contoso.example", language="en"),
    ]
    with tenant_atomic(tenant.pk):
        queue_mail("license_given", event_key="1", to=readers, tenant_id=tenant.pk, context={}, at=AT)

    assert mail_languages("license_given", tenant) == {
        "none@contoso.example": "nl",
        "chose@contoso.example": "en",
        "directory@contoso.example": "en",
    }


def test_a_sweep_tells_in_the_same_languages():
    tenant = make_tenant(language="nl")
    chose = make_user(tenant, email="chose@contoso.example", language="nl", chosen_language="en")
    none = make_user(tenant, email="none@contoso.example")
    source = """WITH mail AS (SELECT u.tenant_id, 'expired' AS kind, u.id::text AS event_key, u.id AS owner_id,
                                 '{}'::jsonb AS context
                            FROM directory_user u WHERE u.id = ANY(%(ids)s))"""
    with use_login("worker"), tenant_atomic(tenant.pk), connection().cursor() as cursor:
        cursor.execute(source + QUEUE_SQL.format(source="mail"), {"at": AT, "ids": [chose.pk, none.pk]})

    assert mail_languages("expired", tenant) == {"chose@contoso.example": "en", "none@contoso.example": "nl"}
