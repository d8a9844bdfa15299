"""Functions that cross the wall (architecture §4), also as somebody who means harm calls them."""

import pytest
from django.db import connection, connections, transaction
from django.db.utils import ProgrammingError

from config.kit.tenancy import CROSSINGS, tenant_atomic
from directory.models import IdentityProvider
from directory.queries import accounts_of, door_of_address, provider_of_key, search_users
from tests.factories import make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def rows(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def found(query, **kwargs):
    return [user.name for user in search_users(query, **kwargs)]


# --- tenant_of_domain ------------------------------------------------------------------------------------


def test_a_verified_domain_of_a_managed_tenant_leads_to_its_provider():
    tenant = make_tenant(domain="zenith.example")

    assert door_of_address("Anybody@Zenith.Example.") == (tenant.pk, f"idp-{tenant.pk}")


def test_an_unmanaged_tenant_an_unproved_domain_and_no_provider_lead_nowhere(at):
    make_tenant(domain="unmanaged.example", is_managed=False)
    make_tenant(domain="no-provider.example", issuer=None)
    tenant = make_tenant(domain="proved.example")
    with tenant_atomic(tenant.pk):
        rows("UPDATE directory_domain SET verified_at = NULL WHERE name = 'proved.example' RETURNING 1")

    names = ("unmanaged.example", "no-provider.example", "proved.example", "nobody.example")
    assert [door_of_address(f"a@{name}") for name in names] == [None] * 4


@pytest.mark.parametrize("text", ["%", "_", "%.example", "' OR true --", "*", ""])
def test_a_domain_is_compared_as_a_whole(text):
    make_tenant(domain="zenith.example")

    assert rows("SELECT * FROM tenant_of_domain(%s)", text) == []


# --- identity_provider_of_key ----------------------------------------------------------------------------


def test_the_provider_of_an_address_comes_with_its_tenant():
    tenant = make_tenant()

    provider = provider_of_key(f"idp-{tenant.pk}")

    assert (provider.tenant_id, provider.issuer) == (tenant.pk, f"https://issuer-{tenant.pk}.example")


def test_a_provider_that_was_replaced_is_not_there():
    tenant = make_tenant()
    with tenant_atomic(tenant.pk):
        IdentityProvider.objects.update(is_active=False)

    assert provider_of_key(f"idp-{tenant.pk}") is None
    assert provider_of_key("idp-%") is None
    assert provider_of_key("a\0b") is None


def test_the_function_gives_ids_alone_never_the_secret():
    tenant = make_tenant()

    assert len(rows("SELECT * FROM identity_provider_of_key(%s)", f"idp-{tenant.pk}")[0]) == 2


# --- accounts_of_subject ---------------------------------------------------------------------------------


def test_the_accounts_of_one_person_in_all_tenants_by_name():
    home, host, other = make_tenant(name="B"), make_tenant(name="A"), make_tenant(name="C")
    me = make_user(home)
    guest = make_user(host, kind="guest", issuer=me.issuer, subject=me.subject)
    make_user(other, kind="guest", issuer=me.issuer, subject=me.subject, status="disabled")
    make_user(other, issuer=me.issuer, subject="somebody else")
    make_user(other, issuer="https://evil.example", subject=me.subject)

    assert accounts_of(me.issuer, me.subject) == [
        (host.pk, guest.pk, "A", "guest"),
        (home.pk, me.pk, "B", "member"),
    ]


def test_accounts_without_a_subject_belong_to_nobody_together():
    make_user(make_tenant(), issuer="https://i.example", subject="")

    assert accounts_of("https://i.example", "") == []
    assert rows("SELECT * FROM accounts_of_subject('https://i.example', '')") == []


# --- search_users ----------------------------------------------------------------------------------------


def test_search_finds_every_word_in_name_or_address_whatever_the_accents():
    tenant = make_tenant()
    make_user(tenant, name="Zoë Müller", email="zm@contoso.example")
    make_user(tenant, name="Zoltan Berg", email="muller@contoso.example")
    make_user(tenant, name="Pat Mulder", email="pat@contoso.example")

    with tenant_atomic(tenant.pk):
        assert found("MULLER zo") == ["Zoë Müller", "Zoltan Berg"]
        assert found("zoë") == ["Zoë Müller"]
        assert found("contoso pat") == ["Pat Mulder"]
        assert found("pat zoe") == []
        assert found("z", limit=1) == ["Zoë Müller"]


@pytest.mark.parametrize("query", ["", "   ", "%", "_", "\\", "%%%", "pat%", "\x00", "'; DROP TABLE x; --"])
def test_a_search_for_signs_finds_no_more_than_those_signs(query):
    tenant = make_tenant()
    make_user(tenant, name="Pat Mulder")

    with tenant_atomic(tenant.pk):
        assert found(query) == []


def test_search_stays_in_the_tenant_of_the_setting():
    mine, other = make_tenant(), make_tenant()
    make_user(mine, name="Zara Mine")
    make_user(other, name="Zara Other")

    with tenant_atomic(mine.pk):
        assert found("zara") == ["Zara Mine"]
    with tenant_atomic(other.pk):
        assert found("zara") == ["Zara Other"]


def test_search_without_a_tenant_finds_nothing():
    make_user(make_tenant(), name="Zara Mine")

    assert rows("SELECT * FROM search_users(ARRAY['zara'], 10)") == []


@pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (3, 3), (2**31 - 1, 5)])
def test_the_limit_of_a_search_is_bounded(limit, count):
    tenant = make_tenant()
    for _ in range(5):
        make_user(tenant, name="Zara")

    with tenant_atomic(tenant.pk):
        assert len(rows("SELECT * FROM search_users(ARRAY['zara'], %s)", limit)) == count


def test_deleted_people_are_not_found():
    tenant = make_tenant()
    make_user(tenant, name="Zara", status="deleted")

    with tenant_atomic(tenant.pk):
        assert found("zara") == []


# --- All of them -----------------------------------------------------------------------------------------


def crossings():
    return rows(
        """
        SELECT p.oid::regprocedure::text, p.proname, p.proowner::regrole::text, p.proconfig, p.proacl::text[]
        FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace ORDER BY 1
        """
    )


def test_every_crossing_is_listed_pinned_owned_by_the_owner_and_closed_to_everybody_else():
    for signature, name, owner, config, rights in crossings():
        assert name in CROSSINGS, signature
        assert owner == "seatkeeper_owner", signature
        assert "search_path=pg_catalog, public, pg_temp" in config, signature
        granted = {entry.split("=")[0] for entry in rights}
        assert granted <= {"seatkeeper_owner", "seatkeeper_app", "seatkeeper_worker"}, signature


def test_every_listed_crossing_exists():
    assert {name for _signature, name, *_rest in crossings()} == CROSSINGS


def test_a_table_of_the_callers_making_does_not_take_the_place_of_ours():
    tenant = make_tenant(domain="zenith.example")
    make_user(tenant, name="Zara")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE directory_domain (name text, tenant_id bigint, verified_at timestamptz)"
        )
        cursor.execute("CREATE TEMP TABLE directory_user (LIKE public.directory_user)")
        cursor.execute("SET LOCAL search_path = pg_temp, public")

    assert rows("SELECT tenant_id FROM tenant_of_domain('zenith.example')") == [(tenant.pk,)]
    with tenant_atomic(tenant.pk):
        assert len(rows("SELECT * FROM search_users(ARRAY['zara'], 5)")) == 1


def test_a_view_of_the_callers_making_does_not_run_as_the_owner():
    """With `pg_temp` first, this view's function would run with the owner's rights."""
    tenant = make_tenant()
    make_subscription(tenant)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION pg_temp.who() RETURNS text LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$"
        )
        cursor.execute(
            "CREATE TEMP VIEW commerce_subscription AS"
            " SELECT 1::bigint AS id, 1::bigint AS tenant_id, pg_temp.who() AS search_text"
        )

    with tenant_atomic(tenant.pk):
        assert len(rows("SELECT * FROM search_subscriptions(ARRAY['power'], 5)")) == 1


def test_the_app_cannot_change_a_crossing():
    for statement in (
        "CREATE OR REPLACE FUNCTION tenant_of_domain(domain text) RETURNS TABLE (tenant_id bigint, provider_key text)"
        " LANGUAGE sql AS $$ SELECT 1, ''::text $$",
        "ALTER FUNCTION tenant_of_domain(text) SECURITY INVOKER",
        "DROP FUNCTION tenant_of_domain(text)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_trigram_index_answers_what_the_search_asks():
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM directory_user WHERE (sort_name || ' ' || lower(email)) LIKE '%zara%'"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "directory_user_search" in plan
