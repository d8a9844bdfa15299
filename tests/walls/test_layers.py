"""The three layers of the wall: each is taken away in turn, and the others still keep tenants apart."""

import contextlib

import pytest
from django.apps import apps
from django.db import connection, connections, transaction
from django.db.utils import DatabaseError, IntegrityError, ProgrammingError
from django.test import Client

from config.kit.tenancy import (
    SameTenant,
    ScopedQuerySet,
    TenantWall,
    check_walls,
    tenant_atomic,
)
from directory.models import AuditEntry, Group, GroupMembership, Tenant, User
from directory.operations.audit import record
from tests.factories import AT, actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def run(sql, *values, using="default"):
    with connections[using].cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


def refused(sql, *values, using="default", error=DatabaseError):
    with pytest.raises(error), transaction.atomic(using=using):
        run(sql, *values, using=using)


@contextlib.contextmanager
def without_row_security(*tables):
    """Row-level security off, as the owner, in a transaction that is rolled back: nothing stays."""
    with transaction.atomic(using="owner"):
        for table in tables:
            run(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY', using="owner")
        yield
        transaction.set_rollback(True, using="owner")


# --- I-21: by introspection ------------------------------------------------------------------------------


def test_the_wall_stands():
    assert check_walls() == []


def test_every_walled_model_declares_its_wall_and_its_queryset():
    for model in apps.get_models():
        if not _has_tenant(model):
            continue
        walls = [c for c in model._meta.constraints if isinstance(c, TenantWall)]
        assert len(walls) == 1, model
        assert isinstance(model._default_manager.all(), ScopedQuerySet), model


def test_every_key_between_walled_models_is_composite():
    walled_models = [model for model in apps.get_models() if _has_tenant(model)]
    for model in walled_models:
        composite = {c.field for c in model._meta.constraints if isinstance(c, SameTenant)}
        needed = {
            field.name
            for field in model._meta.fields
            if field.name != "tenant" and field.related_model in walled_models
        }
        assert needed <= composite, model


def _has_tenant(model):
    return any(field.name == "tenant" for field in model._meta.fields)


@pytest.mark.parametrize(
    ("hole", "expected"),
    [
        (
            "ALTER TABLE directory_group DISABLE ROW LEVEL SECURITY",
            "directory_group has no forced row-level security",
        ),
        (
            "ALTER TABLE directory_group NO FORCE ROW LEVEL SECURITY",
            "directory_group has no forced row-level security",
        ),
        (
            "DROP POLICY directory_group_wall ON directory_group",
            "directory_group has no policy on the tenant setting",
        ),
        (
            "ALTER TABLE directory_group ALTER tenant_id DROP NOT NULL",
            "directory_group.tenant_id may be null",
        ),
        (
            "ALTER TABLE directory_groupmembership ADD CONSTRAINT hole FOREIGN KEY (user_id)"
            " REFERENCES directory_user (id)",
            "directory_groupmembership: hole can point across tenants",
        ),
        (
            "CREATE FUNCTION hole() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "hole crosses the wall and is not listed in CROSSINGS",
        ),
        (
            "ALTER FUNCTION tenant_of_domain(text) RESET search_path",
            "tenant_of_domain does not pin its search_path, with pg_temp last",
        ),
        (
            "ALTER FUNCTION search_users SET search_path = pg_catalog, public",
            "search_users does not pin its search_path, with pg_temp last",
        ),
    ],
)
def test_a_hole_in_the_wall_is_found(hole, expected):
    with transaction.atomic(using="owner"):
        run(hole, using="owner")
        problems = check_walls("owner")
        transaction.set_rollback(True, using="owner")

    assert expected in problems


# --- The app's login -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["seatkeeper_owner", "seatkeeper_worker", "postgres"])
def test_the_app_does_not_become_another_login(role):
    refused(f'SET ROLE "{role}"')
    refused(f'SET SESSION AUTHORIZATION "{role}"')


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE directory_user DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE directory_user NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY directory_user_wall ON directory_user",
        "CREATE POLICY mine ON directory_user USING (true)",
        "TRUNCATE directory_user",
        "CREATE TABLE mine (id int)",
        "GRANT seatkeeper_worker TO seatkeeper_app",
        "ALTER ROLE seatkeeper_app BYPASSRLS",
        "COPY directory_user TO PROGRAM 'cat'",
    ],
)
def test_the_app_cannot_open_the_wall(statement):
    refused(statement, error=ProgrammingError)


def test_turning_row_security_off_in_the_session_gives_errors_not_rows():
    make_user(make_tenant())

    with transaction.atomic():
        run("SET LOCAL row_security = off")
        refused("SELECT * FROM directory_user", error=ProgrammingError)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE directory_auditentry SET actor_label = 'somebody else'",
        "DELETE FROM directory_auditentry",
        "TRUNCATE directory_auditentry",
        "ALTER TABLE directory_auditentry DISABLE TRIGGER ALL",
    ],
)
@pytest.mark.parametrize("login", ["default", "worker"])
def test_the_audit_trail_is_append_only(login, statement):
    tenant = make_tenant()
    actor = actor_of(make_user(tenant))
    with tenant_atomic(actor):
        record(actor, "directory.test.happened", at=AT, target_type="test", target_id=1)
        refused(statement, using=login, error=ProgrammingError)
        assert AuditEntry.objects.get().actor_label == actor.label


def test_not_even_the_owner_changes_the_audit_trail():
    tenant = run("SELECT nextval(pg_get_serial_sequence('directory_tenant', 'id'))", using="owner")[0][0]
    with transaction.atomic(using="owner"):
        run(
            "INSERT INTO directory_tenant (id, key, name, kind, standing, is_managed, creates_members, country,"
            " time_zone, currency, language, created_at) VALUES (%s, gen_random_uuid(), 'x', 'commercial', 'good',"
            " true, true, 'NL', 'UTC', 'EUR', 'en', now())",
            tenant,
            using="owner",
        )
        run(
            "INSERT INTO directory_auditentry (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door,"
            " correlation_id, target_type, target_id, target_label) VALUES (%s, now(), 'x', %s, 'x', '', 'job', '',"
            " 'x', '1', '')",
            tenant,
            tenant,
            using="owner",
        )
        refused("UPDATE directory_auditentry SET code = 'y'", using="owner")
        refused("DELETE FROM directory_auditentry", using="owner")
        transaction.set_rollback(True, using="owner")


def test_djangos_admin_log_is_closed_to_the_app():
    """It has no tenant; the audit trail is ours."""
    refused("SELECT * FROM django_admin_log", error=ProgrammingError)


# --- I-22: without a tenant nothing ----------------------------------------------------------------------


def walled():
    return sorted(
        {m for m in apps.get_models() if any(isinstance(c, TenantWall) for c in m._meta.constraints)},
        key=lambda m: m._meta.label,
    )


@pytest.mark.parametrize("model", walled(), ids=lambda m: m._meta.label)
def test_without_a_tenant_there_are_no_rows(model):
    tenant = make_tenant()
    make_user(tenant, roles=("global_admin",))
    make_relationship(tenant, make_tenant())

    assert not model._base_manager.exists()


def test_an_empty_setting_is_no_tenant():
    make_user(make_tenant())

    with transaction.atomic():
        run("SELECT set_config('seatkeeper.tenant_id', '', true)")
        assert User.objects.count() == 0


def test_without_a_tenant_nothing_is_written():
    tenant = make_tenant()

    with pytest.raises(ProgrammingError), transaction.atomic():
        Group.objects.create(tenant_id=tenant.pk, name="x")


def test_leaving_a_nested_block_restores_the_tenant_of_the_outer_one():
    a, b = make_tenant(), make_tenant()
    make_user(a, name="In A")
    make_user(b, name="In B")

    def names():
        return list(User.objects.values_list("name", flat=True))

    with tenant_atomic(a.pk):
        with tenant_atomic(b.pk):
            assert names() == ["In B"]
            with tenant_atomic(a.pk):
                assert names() == ["In A"]
            assert names() == ["In B"]
        assert names() == ["In A"]
        with pytest.raises(RuntimeError), tenant_atomic(b.pk):
            raise RuntimeError
        assert names() == ["In A"]
    assert names() == []


# --- Layer by layer --------------------------------------------------------------------------------------


def test_row_security_alone_keeps_tenants_apart():
    """An unscoped query, as if `visible_to` were forgotten, on a table without composite keys in between."""
    a, b = make_tenant(), make_tenant()
    foreign = make_user(b, name="In B")

    with tenant_atomic(a.pk):
        assert list(User.objects.all()) == []
        assert User.objects.filter(pk=foreign.pk).update(name="Taken") == 0
        assert User.objects.filter(pk=foreign.pk).delete()[0] == 0
        with pytest.raises(ProgrammingError), transaction.atomic():
            Group.objects.create(tenant_id=b.pk, name="Planted")
        with pytest.raises(ProgrammingError), transaction.atomic():
            run("UPDATE directory_tenant SET id = %s WHERE id = %s", b.pk + 1000, a.pk)


def test_visible_to_alone_keeps_tenants_apart():
    """As the owner, whose policy shows all rows: row security is out of the way."""
    from config.kit.tenancy import use_login

    with use_login("owner"), transaction.atomic(using="owner"):
        a, b = make_tenant(), make_tenant()
        mine, foreign = make_user(a), make_user(b)
        actor = actor_of(mine)
        assert set(User.objects.filter(pk__in=[mine.pk, foreign.pk])) == {mine, foreign}
        assert list(User.objects.visible_to(actor)) == [mine]
        transaction.set_rollback(True, using="owner")


def test_composite_keys_alone_keep_tenants_apart():
    """As the owner, without scope: a row still cannot point across (I-03)."""
    from config.kit.tenancy import use_login

    with use_login("owner"), transaction.atomic(using="owner"):
        a, b = make_tenant(), make_tenant()
        foreign = make_user(b)
        group = Group.objects.create(tenant=a, name="Finance")
        with pytest.raises(IntegrityError) as error, transaction.atomic(using="owner"):
            GroupMembership.objects.create(tenant=a, group=group, user=foreign)
        transaction.set_rollback(True, using="owner")

    assert error.value.__cause__.diag.constraint_name == "directory_groupmembership_user"


def test_without_row_security_the_introspection_fails_and_the_other_two_hold():
    from config.kit.tenancy import use_login

    with without_row_security("directory_user", "directory_group", "directory_groupmembership"):
        assert "directory_user has no forced row-level security" in check_walls("owner")
        with use_login("owner"):
            a, b = make_tenant(), make_tenant()
            mine, foreign = make_user(a), make_user(b)
            assert foreign in list(User.objects.all())
            assert list(User.objects.visible_to(actor_of(mine))) == [mine]
            group = Group.objects.create(tenant=a, name="Finance")
            with pytest.raises(IntegrityError), transaction.atomic(using="owner"):
                GroupMembership.objects.create(tenant=a, group=group, user=foreign)


def test_without_visible_to_row_security_and_keys_hold(monkeypatch):
    monkeypatch.setattr(ScopedQuerySet, "visible_to", lambda self, actor: self)
    a, b = make_tenant(), make_tenant()
    mine, foreign = make_user(a), make_user(b)
    actor = actor_of(mine)

    with tenant_atomic(actor):
        assert list(User.objects.visible_to(actor)) == [mine]
        group = Group.objects.create(tenant=a, name="Finance")
        with pytest.raises(IntegrityError), transaction.atomic():
            GroupMembership.objects.create(tenant=a, group=group, user_id=foreign.pk)


def test_without_composite_keys_row_security_and_scope_hide_what_points_across():
    from config.kit.tenancy import use_login

    with transaction.atomic(using="owner"), use_login("owner"):
        run(
            "ALTER TABLE directory_groupmembership DROP CONSTRAINT directory_groupmembership_user",
            using="owner",
        )
        a, b = make_tenant(), make_tenant()
        mine, foreign = make_user(a), make_user(b)
        group = Group.objects.create(tenant=a, name="Finance")
        GroupMembership.objects.create(tenant=a, group=group, user=foreign)
        people = User.objects.visible_to(actor_of(mine)).filter(memberships__group=group)
        assert list(people) == []
        transaction.set_rollback(True, using="owner")


# --- I-03: raw SQL as the owner, every composite key -----------------------------------------------------


def composite_keys():
    return [
        (model, constraint)
        for model in apps.get_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, SameTenant)
    ]


@pytest.mark.parametrize(("model", "constraint"), composite_keys(), ids=lambda v: getattr(v, "name", ""))
def test_a_row_cannot_point_into_another_tenant(model, constraint):
    """Two bare rows of the target's table, copied column by column from nothing: only the key is checked.

    All other constraints of both tables are dropped first, inside a transaction that is rolled back, so that
    a row of the source needs no neighbours.
    """
    field = model._meta.get_field(constraint.field)
    target = field.related_model
    with transaction.atomic(using="owner"):
        for table in {model._meta.db_table, target._meta.db_table}:
            keep = [constraint.name]
            run(
                f"""
                DO $$ DECLARE c record; BEGIN
                  FOR c IN SELECT conname, contype FROM pg_constraint WHERE conrelid = '"{table}"'::regclass
                           AND contype IN ('f', 'c', 'x') AND conname <> '{keep[0]}' LOOP
                    EXECUTE format('ALTER TABLE "{table}" DROP CONSTRAINT %I', c.conname);
                  END LOOP;
                  FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = '"{table}"'::regclass AND attnum > 0
                           AND attnotnull AND NOT attisdropped AND attname NOT IN ('id', 'tenant_id')
                           AND attidentity = '' LOOP
                    BEGIN
                      EXECUTE format('ALTER TABLE "{table}" ALTER COLUMN %I DROP NOT NULL', c.attname);
                    EXCEPTION WHEN OTHERS THEN NULL;
                    END;
                  END LOOP;
                END $$
                """,
                using="owner",
            )
            run(f'ALTER TABLE "{table}" DISABLE TRIGGER USER', using="owner")
        run(
            f'INSERT INTO "{target._meta.db_table}" (id, tenant_id) OVERRIDING SYSTEM VALUE'
            " VALUES (-1, -10), (-4, -10)",
            using="owner",
        )
        insert = (
            f'INSERT INTO "{model._meta.db_table}" (id, tenant_id, "{field.column}") OVERRIDING SYSTEM VALUE'
        )
        run(f"{insert} VALUES (-2, -10, -1)", using="owner")
        with pytest.raises(IntegrityError) as error, transaction.atomic(using="owner"):
            run(f"{insert} VALUES (-3, -20, -4)", using="owner")
        transaction.set_rollback(True, using="owner")

    assert error.value.__cause__.diag.constraint_name == constraint.name


# --- Relationships: the one table that two tenants see ---------------------------------------------------


def test_a_partner_cannot_agree_in_the_customers_name():
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    with tenant_atomic(partner.pk):
        refused(
            "INSERT INTO directory_relationship (key, tenant_id, partner_tenant_id, customer_name, partner_name, name,"
            " roles, status, extends, requested_at) VALUES (gen_random_uuid(), %s, %s, 'c', 'p', 'n',"
            " '{global_admin}', 'active', false, now())",
            customer.pk,
            partner.pk,
            error=IntegrityError,
        )
    relationship = make_relationship(customer, partner, roles=("license_admin",), users=(petra,))
    with tenant_atomic(partner.pk):
        for change in (
            "roles = '{global_admin}'",
            "ends_at = ends_at + interval '1 day'",
            "ends_at = NULL",
            f"tenant_id = {partner.pk}",
        ):
            refused(f"UPDATE directory_relationship SET {change} WHERE id = %s", relationship.pk)
        run("UPDATE directory_relationship SET status = 'ended' WHERE id = %s", relationship.pk)
        refused("UPDATE directory_relationship SET status = 'active' WHERE id = %s", relationship.pk)


def test_a_third_tenant_sees_and_makes_no_relationship():
    customer, partner, third = make_tenant(), make_tenant(), make_tenant()
    make_relationship(customer, partner)

    with tenant_atomic(third.pk):
        assert run("SELECT * FROM directory_relationship") == []
        refused(
            "INSERT INTO directory_relationship (key, tenant_id, partner_tenant_id, customer_name, partner_name, name,"
            " roles, status, extends, requested_at) VALUES (gen_random_uuid(), %s, %s, 'c', 'p', 'n',"
            " '{global_admin}', 'requested', false, now())",
            customer.pk,
            partner.pk,
        )


def test_a_relationship_is_assigned_to_people_of_its_partner_only():
    customer, partner, third = make_tenant(), make_tenant(), make_tenant()
    relationship = make_relationship(customer, partner)
    stranger = make_user(third)

    insert = (
        "INSERT INTO directory_relationshipassignment (tenant_id, relationship_id, partner_tenant_id, user_id, roles)"
        " VALUES (%s, %s, %s, %s, '{license_admin}')"
    )
    with tenant_atomic(customer.pk):
        refused(insert, customer.pk, relationship.pk, partner.pk, stranger.pk, error=IntegrityError)
        refused(insert, customer.pk, relationship.pk, third.pk, stranger.pk, error=IntegrityError)


# --- One connection, two tenants in turn -----------------------------------------------------------------


@pytest.mark.long
@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_2000_alternating_requests_on_one_connection_do_not_bleed(settings):
    """I-22: two people of two tenants and nobody, in turn, through the whole middleware."""
    people = [make_user(make_tenant(name=f"ZQ-{letter}"), name=f"ZQ-{letter}-person") for letter in "AB"]
    clients = [client_of(user) for user in people]
    bled = []
    for number in range(2000):
        which = number % 3
        if which == 2:
            response = Client().get("/my/accounts/")
            assert response.status_code == 302
        else:
            response = clients[which].get("/my/accounts/")
            page = response.content.decode()
            mine, other = ("ZQ-A", "ZQ-B") if which == 0 else ("ZQ-B", "ZQ-A")
            if response.status_code != 200 or mine not in page or other in page:
                bled.append(number)
        if connection.in_atomic_block or run("SELECT current_setting('seatkeeper.tenant_id', true)")[0][0]:
            bled.append(number)

    assert bled == []
    assert Tenant.objects.count() == 0
