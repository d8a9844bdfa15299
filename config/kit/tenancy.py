"""The wall between tenants (architecture §4): logins, the tenant setting, constraint classes, introspection.

Three layers keep tenants apart, each without the others: `visible_to(actor)` querysets, composite foreign
keys (`SameTenant`), and forced row-level security (`TenantWall`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, override

from django.apps import apps
from django.conf import settings
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper

from config.kit.actors import Actor
from config.kit.postgresql.base import DatabaseWrapper

SETTING = "seatkeeper.tenant_id"
CURRENT_TENANT = f"nullif(current_setting('{SETTING}', true), '')::bigint"
# Sets the tenant and says which it was. Materialized: read before it is set.
_CHANGE = """
WITH enclosing AS MATERIALIZED (SELECT current_setting(%s, true) AS tenant)
SELECT tenant, set_config(%s, %s, true) FROM enclosing
"""

# Every look-up that crosses the wall: a SECURITY DEFINER function with a pinned search_path that returns ids
# and what the caller needs, nothing more. A function that is not listed here fails `check_walls`.
CROSSINGS = frozenset(
    {
        "tenant_of_domain",  # e-mail domain -> tenant and its identity provider, before sign-in
        "identity_provider_of_key",  # provider key in a login or callback address -> its tenant
        "accounts_of_subject",  # issuer + subject -> the person's account rows
        "tenant_of_payment_intent",  # processor's intent id -> tenant
        "search_users",  # trigram search inside the caller's own tenant (LIKE is not leakproof)
        "search_subscriptions",
        "tenant_of_bill_number",  # a bill's number, typed by a leaver -> its tenant and row
        "solutions_of_product",  # a product -> what partners show beside it, approved by the vendor, to everybody
        "forget_trail",  # an age -> entries of every trail that are older go; for the worker alone
        "tenant_of_token",  # a token's hash -> its tenant and row, while it is neither revoked nor expired
        # Lists of the vendor's staff over all organizations: empty unless the tenant that is set is the vendor's
        "staff_waiting_mails",
        "staff_stopped_jobs",
        "staff_parked_subscriptions",
        "staff_stuck_charges",
        "staff_stuck_refunds",
        "staff_refused_bills",
        "staff_processor_events",
        "staff_cases",
        "staff_solutions",
        "staff_agreements",
        "staff_tenant_of_domain",
        "staff_organizations",
        "staff_provider_changes",
    }
)

# Tables without a tenant_id whose rows are somebody's: each has a policy of its own.
WALLED_OTHERWISE = ("directory_tenant", "mfa_authenticator")

_login: ContextVar[str] = ContextVar("seatkeeper_login", default="default")


def login_alias() -> str:
    """The database alias whose login is in use: `default` (the app), `worker`, or `owner`."""
    return _login.get()


@contextmanager
def use_login(alias: str) -> Iterator[None]:
    """Send the ORM and `connection()` through another login for the length of the block."""
    token = _login.set(alias)
    try:
        yield
    finally:
        _login.reset(token)


def connection() -> BaseDatabaseWrapper:
    """The connection of the login in use."""
    return connections[login_alias()]


def binding_cursor() -> CursorWrapper:
    """A cursor of the login in use for a statement that must be quick; see `config.kit.postgresql`."""
    conn = connection()
    assert isinstance(conn, DatabaseWrapper)
    return conn.binding_cursor()


@contextmanager
def atomic() -> Iterator[None]:
    """`transaction.atomic` on the login in use."""
    with transaction.atomic(using=login_alias()):
        yield


class LoginRouter:
    """Routes every query to the login in use; only the owner migrates."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return login_alias()

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return login_alias()

    def allow_relation(self, obj1: models.Model, obj2: models.Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "owner"


@contextmanager
def tenant_atomic(tenant: Actor | int) -> Iterator[None]:
    """A transaction in which row-level security shows one tenant's rows.

    Nested blocks may change the tenant; leaving one restores the enclosing block's, because a setting made
    inside a savepoint survives its release.
    """
    tenant_id = tenant.tenant_id if isinstance(tenant, Actor) else tenant
    conn = connection()
    outer: str | None = None
    with transaction.atomic(using=conn.alias):
        with conn.cursor() as cursor:
            if len(conn.atomic_blocks) > 1:
                cursor.execute(_CHANGE, [SETTING, SETTING, str(tenant_id)])
                outer = cursor.fetchone()[0] or ""
            else:
                cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, str(tenant_id)])
        yield
        if outer not in (None, str(tenant_id)) and not conn.needs_rollback:
            with conn.cursor() as cursor:
                cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, outer])


# --- Constraint classes: one readable line each in a migration ------------------------------------------


class _SqlConstraint(models.BaseConstraint):
    """A constraint that is only SQL: nothing for a form to validate."""

    @override
    def validate(self, *args: Any, **kwargs: Any) -> None:
        """The database alone decides."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.deconstruct() == other.deconstruct()

    __hash__ = None  # type: ignore[assignment]


def _roles() -> tuple[str, str]:
    """The names of the owner's and the worker's logins."""
    return str(settings.DATABASES["owner"]["USER"]), str(settings.DATABASES["worker"]["USER"])


class _Wall(_SqlConstraint):
    """Row-level security of one table, put up by one statement once the table is there."""

    def _statement(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> str:
        raise NotImplementedError

    @override
    def constraint_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> None:  # type: ignore[override]
        schema_editor.deferred_sql.append(self._statement(model, schema_editor))

    @override
    def create_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        return self._statement(model, schema_editor)


class TenantWall(_Wall):
    """Row-level security, enabled and forced. `also` names a second column that may hold the tenant."""

    def __init__(self, *, name: str, column: str = "tenant_id", also: str = "") -> None:
        super().__init__(name=name)
        self.column = column
        self.also = also

    @override
    def _statement(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> str:
        q = editor.quote_name
        table, name = q(model._meta.db_table), q(self.name)
        operations = q(f"{self.name}_operations")
        rule = f"{q(self.column)} = {CURRENT_TENANT}"
        if self.also:
            rule = f"({rule} OR {q(self.also)} = {CURRENT_TENANT})"
        owner, worker = (q(role) for role in _roles())
        return (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
            f"CREATE POLICY {name} ON {table} USING ({rule}) WITH CHECK ({rule});"
            f"CREATE POLICY {operations} ON {table} TO {owner}, {worker} USING (true) WITH CHECK (true)"
        )

    @override
    def remove_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        q = schema_editor.quote_name
        table = q(model._meta.db_table)
        return (
            f"DROP POLICY {q(f'{self.name}_operations')} ON {table}; DROP POLICY {q(self.name)} ON {table};"
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
        )

    @override
    def deconstruct(self) -> tuple[str, tuple[()], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        if self.column != "tenant_id":
            kwargs["column"] = self.column
        if self.also:
            kwargs["also"] = self.also
        return path, args, kwargs  # type: ignore[return-value]


class VendorWall(_Wall):
    """Row-level security of a table that is the vendor's: everybody reads it, the app's login writes it only while the
    tenant that is set is of kind vendor. `changes` narrows the rows that may be made, changed and deleted there.
    """

    def __init__(self, *, name: str, changes: str = "") -> None:
        super().__init__(name=name)
        self.changes = changes

    @override
    def _statement(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> str:
        q = editor.quote_name
        table = q(model._meta.db_table)
        rule = f"EXISTS (SELECT FROM directory_tenant v WHERE v.id = {CURRENT_TENANT} AND v.kind = 'vendor')"
        if self.changes:
            rule = f"{rule} AND ({self.changes})"
        owner, worker = (q(role) for role in _roles())

        def policy(kind: str, rest: str) -> str:
            return f"CREATE POLICY {q(f'{self.name}_{kind}')} ON {table} {rest};"

        return (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
            + policy("read", "FOR SELECT USING (true)")
            + policy("insert", f"FOR INSERT WITH CHECK ({rule})")
            + policy("update", f"FOR UPDATE USING ({rule}) WITH CHECK ({rule})")
            + policy("delete", f"FOR DELETE USING ({rule})")
            + policy("operations", f"TO {owner}, {worker} USING (true) WITH CHECK (true)")
        )

    @override
    def remove_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        q = schema_editor.quote_name
        table = q(model._meta.db_table)
        kinds = ("read", "insert", "update", "delete", "operations")
        dropped = ";".join(f"DROP POLICY {q(f'{self.name}_{kind}')} ON {table}" for kind in kinds)
        return (
            f"{dropped};"
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
        )

    @override
    def deconstruct(self) -> tuple[str, tuple[()], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        if self.changes:
            kwargs["changes"] = self.changes
        return path, args, kwargs  # type: ignore[return-value]


class PairKey(_SqlConstraint):
    """UNIQUE (id, tenant_id): what `SameTenant` keys of other tables point at."""

    def _statement(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> str:
        q = editor.quote_name
        return f"ALTER TABLE {q(model._meta.db_table)} ADD CONSTRAINT {q(self.name)} UNIQUE (id, tenant_id)"

    @override
    def constraint_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> None:  # type: ignore[override]
        # Before every deferred statement, since keys of the same migration point here.
        schema_editor.deferred_sql.insert(0, self._statement(model, schema_editor))

    @override
    def create_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        return self._statement(model, schema_editor)

    @override
    def remove_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        q = schema_editor.quote_name
        return f"ALTER TABLE {q(model._meta.db_table)} DROP CONSTRAINT {q(self.name)} CASCADE"


class SameTenant(_SqlConstraint):
    """A composite foreign key (field, tenant_id) -> (id, tenant_id).

    The field itself is a ForeignKey with `db_constraint=False`. Immediate, so that the error comes at the
    statement and an operation can translate it by name.
    """

    def __init__(self, *, field: str, name: str) -> None:
        super().__init__(name=name)
        self.field = field

    def _statement(self, model: type[models.Model], editor: BaseDatabaseSchemaEditor) -> str:
        q = editor.quote_name
        field = model._meta.get_field(self.field)
        target = field.related_model._meta.db_table  # type: ignore[union-attr]
        return (
            f"ALTER TABLE {q(model._meta.db_table)} ADD CONSTRAINT {q(self.name)} "
            f"FOREIGN KEY ({q(str(field.column))}, tenant_id) REFERENCES {q(target)} (id, tenant_id)"  # type: ignore[union-attr]
        )

    @override
    def constraint_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> None:  # type: ignore[override]
        schema_editor.deferred_sql.append(self._statement(model, schema_editor))

    @override
    def create_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> None:  # type: ignore[override]
        # The target's pair key may come later in the same migration.
        schema_editor.deferred_sql.append(self._statement(model, schema_editor))

    @override
    def remove_sql(self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor) -> str:  # type: ignore[override]
        q = schema_editor.quote_name
        return f"ALTER TABLE {q(model._meta.db_table)} DROP CONSTRAINT {q(self.name)}"

    @override
    def deconstruct(self) -> tuple[str, tuple[()], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        kwargs["field"] = self.field
        return path, args, kwargs  # type: ignore[return-value]


class ScopedQuerySet(models.QuerySet[Any]):
    """Base of every walled model's queryset. Subclasses narrow `visible_to` to what the roles show."""

    def visible_to(self, actor: Actor) -> Self:
        """The rows of the acting tenant: the first of the three layers."""
        return self.filter(tenant_id=actor.tenant_id)


class TenantModel(models.Model):
    """A row of one tenant. A child's Meta must repeat `*TenantModel.Meta.constraints`; `check_walls` looks."""

    tenant = models.ForeignKey("directory.Tenant", on_delete=models.PROTECT, db_index=False, related_name="+")

    objects = ScopedQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints: list[models.BaseConstraint] = [
            TenantWall(name="%(app_label)s_%(class)s_wall"),
            PairKey(name="%(app_label)s_%(class)s_pair"),
        ]


# --- Introspection (I-21) --------------------------------------------------------------------------------


def _tables_of_the_vendor() -> list[str]:
    """Tables that everybody reads and the vendor's staff write."""
    return [
        model._meta.db_table
        for model in apps.get_models()
        if any(isinstance(constraint, VendorWall) for constraint in model._meta.constraints)
    ]


def check_walls(using: str = "default") -> list[str]:
    """What is wrong with the wall, read from the database's own catalogues; empty when it stands.

    Looks at every table with a tenant_id (NOT NULL, row-level security enabled and forced, a policy that names
    the setting), every foreign key between two such tables (composite), the logins (no superuser, no
    BYPASSRLS, no membership, the app owns nothing), every table of the vendor's that staff write, and every SECURITY DEFINER function (listed, pinned).
    """
    problems: list[str] = []
    app = str(settings.DATABASES["default"]["USER"])
    logins = [app, *_roles()]
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, a.attnotnull, c.relrowsecurity, c.relforcerowsecurity,
                   EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid
                           AND pg_get_expr(p.polqual, c.oid) LIKE %s
                           AND pg_get_expr(p.polwithcheck, c.oid) LIKE %s)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND (a.attname IS NOT NULL OR c.relname = ANY(%s))
            """,
            [f"%{SETTING}%", f"%{SETTING}%", list(WALLED_OTHERWISE)],
        )
        for table, not_null, enabled, forced, has_policy in cursor.fetchall():
            if table not in WALLED_OTHERWISE and not not_null:
                problems.append(f"{table}.tenant_id may be null")
            if not (enabled and forced):
                problems.append(f"{table} has no forced row-level security")
            if not has_policy:
                problems.append(f"{table} has no policy on the tenant setting")
        cursor.execute(
            """
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
                   EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polroles = '{0}' AND p.polcmd <> 'r'
                           AND coalesce(pg_get_expr(p.polwithcheck, c.oid), pg_get_expr(p.polqual, c.oid))
                               NOT LIKE %s)
            FROM pg_class c WHERE c.oid = ANY (%s::regclass[])
            """,
            ["%'vendor'%", _tables_of_the_vendor()],
        )
        for table, is_forced, is_open in cursor.fetchall():
            if not is_forced:
                problems.append(f"{table} has no forced row-level security")
            if is_open:
                problems.append(f"{table} can be written without the vendor's tenant set")
        cursor.execute(
            """
            WITH walled AS (SELECT attrelid FROM pg_attribute WHERE attname = 'tenant_id' AND NOT attisdropped)
            SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint k
            WHERE k.contype = 'f' AND k.conrelid IN (TABLE walled) AND k.confrelid IN (TABLE walled)
              AND cardinality(k.conkey) = 1
            """
        )
        problems += [f"{table}: {name} can point across tenants" for table, name in cursor.fetchall()]
        cursor.execute(
            """
            SELECT r.rolname, r.rolsuper, r.rolbypassrls,
                   EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)
            FROM pg_roles r WHERE r.rolname = ANY(%s)
            """,
            [logins],
        )
        rows = cursor.fetchall()
        if len(rows) != 3:
            problems.append("app, owner and worker must be three different logins")
        for role, is_super, bypasses, is_member in rows:
            if is_super or bypasses or is_member:
                problems.append(
                    f"login {role} is superuser, bypasses row security, or is a member of another"
                )
        cursor.execute("SELECT relname FROM pg_class WHERE relowner = %s::regrole", [app])
        problems += [f"the app's login owns {name}" for (name,) in cursor.fetchall()]
        cursor.execute(
            """
            SELECT p.proname, p.proconfig FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE p.prosecdef AND n.nspname = 'public'
            """
        )
        for name, config in cursor.fetchall():
            if name not in CROSSINGS:
                problems.append(f"{name} crosses the wall and is not listed in CROSSINGS")
            # An unnamed pg_temp is searched first: the caller's temporary view would run as the owner.
            paths = [str(item) for item in config or [] if str(item).startswith("search_path=")]
            if not paths or not paths[0].endswith(", pg_temp"):
                problems.append(f"{name} does not pin its search_path, with pg_temp last")
    return problems
