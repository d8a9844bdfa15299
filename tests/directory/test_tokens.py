"""Tokens: made once, stored as a hash, never wider than the rights at each request (product §16, I-24, I-25)."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from hypothesis import given
from hypothesis import strategies as st

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory import tokens
from directory.models import ApiToken, AuditEntry, RoleAssignment, Tenant, User
from directory.operations.roles import revoke_role
from directory.operations.tokens import (
    MOST_LIVE,
    Issued,
    NotAuthenticated,
    TooManyTokens,
    issue_personal_token,
    issue_service_token,
    revoke_token,
    use_token,
)
from directory.permissions import TABLE, Capability
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def real_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", roles=("billing_admin",))


def personal(user: User, *scopes: str, days: int = 30, name: str = "Script") -> Issued:
    return issue_personal_token(
        actor=actor_of(user), name=name, scopes=scopes or ("full",), days=days, at=AT, real_at=real_now()
    )


def service(user: User, *scopes: str) -> Issued:
    return issue_service_token(
        actor=actor_of(user), name="Job", scopes=scopes, days=30, at=AT, real_at=real_now()
    )


def grants(secret: str):
    return use_token(secret=secret, at=AT).actor.grants


def token_row(issued: Issued) -> ApiToken:
    with tenant_atomic(issued.token.tenant_id):
        return ApiToken.objects.get(pk=issued.token.pk)


# --- What it looks like -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "prefix"), [("personal", "seatkeeper_pat_"), ("service", "seatkeeper_svc_")]
)
def test_a_token_has_a_prefix_256_random_bits_and_a_checksum(kind: str, prefix: str) -> None:
    secrets = {tokens.new_secret(kind) for _ in range(200)}

    assert len(secrets) == 200
    for secret in secrets:
        assert re.fullmatch(prefix + r"[0-9A-Za-z]{49}", secret)
        assert tokens.is_well_formed(secret)


@given(place=st.integers(0, 63), sign=st.sampled_from("0123456789ABCXYZabcxyz_- "))
def test_one_wrong_sign_is_seen_without_a_look_up(place: int, sign: str) -> None:
    secret = "seatkeeper_pat_" + "A" * 43 + tokens._checksum("seatkeeper_pat_" + "A" * 43)
    altered = secret[:place] + sign + secret[place + 1 :]

    assert tokens.is_well_formed(altered) == (altered == secret)


@pytest.mark.parametrize("text", ["", "x", "seatkeeper_pat_", "Bearer", "\0", "seatkeeper_pat_" + "é" * 49])
def test_other_text_is_no_token(text: str) -> None:
    assert not tokens.is_well_formed(text)


def test_every_scope_lets_through_rows_of_the_table_and_full_all_of_them() -> None:
    for scope, capabilities in tokens.SCOPES.items():
        assert capabilities <= set(TABLE), scope
    assert tokens.SCOPES["full"] == set(TABLE)


# --- Making -----------------------------------------------------------------------------------------------


def test_only_a_hash_is_kept_and_the_trail_tells_who_made_what(gina: User) -> None:
    issued = personal(gina, "policies.read", "bills.read")

    row = token_row(issued)
    assert bytes(row.digest) == tokens.digest_of(issued.secret)
    assert (row.scopes, row.ending) == (["policies.read", "bills.read"], issued.secret[-4:])
    with connection.cursor() as cursor, tenant_atomic(gina.tenant_id):
        cursor.execute(
            "SELECT t::text FROM directory_apitoken t UNION ALL SELECT a::text FROM directory_auditentry a"
        )
        assert all(issued.secret not in line for (line,) in cursor.fetchall())
        (entry,) = AuditEntry.objects.filter(code="directory.token.issued")
    assert (entry.target_id, entry.after["scopes"]) == (str(row.key), ["policies.read", "bills.read"])
    assert issued.secret not in repr(issued)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("policies.delete",)}, "scopes"),
        ({"scopes": ("scim",)}, "scopes"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"days": 0}, "days"),
        ({"days": 367}, "days"),
    ],
)
def test_refuses_what_is_no_token_and_makes_nothing(gina: User, change: dict, field: str) -> None:
    wanted = {"name": "Script", "scopes": ("full",), "days": 30} | change

    with pytest.raises(Malformed) as refused:
        issue_personal_token(actor=actor_of(gina), at=AT, real_at=real_now(), **wanted)

    assert refused.value.field == field
    with tenant_atomic(gina.tenant_id):
        assert not ApiToken.objects.exists()


def test_a_member_a_guest_and_a_partner_make_none(contoso: Tenant) -> None:
    partner = make_tenant()
    petra = make_user(partner, roles=("global_admin",))
    make_relationship(contoso, partner, roles=("global_admin",), users=(petra,))
    people = [
        actor_of(make_user(contoso)),
        actor_of(make_user(contoso, kind="guest")),
        actor_of(petra, contoso),
    ]

    for actor in people:
        with pytest.raises(NotVisible):
            issue_personal_token(actor=actor, name="x", scopes=["full"], days=1, at=AT, real_at=real_now())
        with pytest.raises(NotVisible):
            issue_service_token(
                actor=actor, name="x", scopes=["policies.read"], days=1, at=AT, real_at=real_now()
            )


def test_a_billing_admin_makes_service_tokens_for_billing_alone(bill: User) -> None:
    issued = service(bill, "policies.write", "purchases.write", "bills.read")

    assert token_row(issued).ceiling == "billing_admin"
    for scope in ("licenses.write", "scim", "full", "audit.read"):
        with pytest.raises(NotAllowed):
            service(bill, scope)


def test_a_reader_sees_service_tokens_and_makes_none(contoso: Tenant, gina: User) -> None:
    rhea = make_user(contoso, roles=("global_reader",))
    issued = service(gina, "policies.read")

    with pytest.raises(NotAllowed):
        service(rhea, "policies.read")
    with pytest.raises(NotAllowed):
        revoke_token(actor=actor_of(rhea), key=issued.token.key, at=AT, real_at=real_now())

    with tenant_atomic(contoso.pk):
        assert ApiToken.objects.visible_to(actor_of(rhea)).count() == 1
        assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 1


def test_the_fifty_first_live_token_is_refused(gina: User) -> None:
    with tenant_atomic(gina.tenant_id):
        ApiToken.objects.bulk_create(
            ApiToken(
                tenant_id=gina.tenant_id,
                kind="personal",
                user=gina,
                name="x",
                digest=bytes([number]) * 32,
                ending="xxxx",
                scopes=["full"],
                created_at=AT,
                expires_at=AT + timedelta(days=366),
                issued_by="test",
            )
            for number in range(MOST_LIVE)
        )

    with pytest.raises(TooManyTokens):
        issue_personal_token(actor=actor_of(gina), name="x", scopes=["full"], days=1, at=AT, real_at=AT)


@pytest.mark.parametrize("days", [-1, 0, 367])
def test_the_database_lets_no_token_live_longer_than_a_year(gina: User, days: int) -> None:
    issued = personal(gina)

    with pytest.raises(IntegrityError, match="directory_apitoken_one_year"), tenant_atomic(gina.tenant_id):
        ApiToken.objects.filter(pk=issued.token.pk).update(
            expires_at=issued.token.created_at + timedelta(days=days)
        )


# --- Using ------------------------------------------------------------------------------------------------


def test_a_personal_token_has_the_persons_rights_within_its_scopes(gina: User) -> None:
    caller = use_token(secret=personal(gina, "policies.read").secret, at=AT, correlation_id="c-1")

    assert (caller.actor.user_id, caller.actor.door) == (gina.pk, "api")
    assert (caller.actor.correlation_id, caller.tenant.pk) == ("c-1", gina.tenant_id)
    assert dict(caller.actor.grants) == {Capability.READ_POLICY: frozenset({"all"})}


def test_full_is_all_that_the_roles_allow(bill: User) -> None:
    assert grants(personal(bill, "full", "policies.read").secret) == actor_of(bill).grants


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(
    contoso: Tenant, gina: User, bill: User
) -> None:
    secret = personal(bill, "policies.write").secret
    before = grants(secret)

    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.filter(user=bill).delete()

    assert Capability.CHANGE_POLICY in before
    assert grants(secret) == {}


@pytest.mark.parametrize("scope", sorted(set(tokens.SCOPES) - {"scim"}))
def test_a_token_of_an_admin_who_was_demoted_gives_nothing_of_it(
    contoso: Tenant, gina: User, scope: str
) -> None:
    greg = make_user(contoso, roles=("global_admin",))
    secret = personal(greg, scope).secret
    before = grants(secret)

    revoke_role(actor=actor_of(gina), user_id=greg.pk, role="global_admin", reason="Moves on.", at=AT)

    member = actor_of(make_user(contoso)).grants
    assert set(before) - set(member)
    assert grants(secret) == {name: member[name] for name in before if name in member}


@pytest.mark.parametrize("status", ["disabled", "deleted"])
def test_a_token_of_somebody_who_left_is_refused(gina: User, bill: User, status: str) -> None:
    secret = personal(bill).secret
    with tenant_atomic(bill.tenant_id):
        User.objects.filter(pk=bill.pk).update(status=status)

    with pytest.raises(NotAuthenticated):
        use_token(secret=secret, at=AT)


def test_a_service_token_goes_on_when_its_issuer_has_left(gina: User, bill: User) -> None:
    secret = service(bill, "policies.write", "purchases.read").secret
    with tenant_atomic(bill.tenant_id):
        RoleAssignment.objects.filter(user=bill).delete()
        User.objects.filter(pk=bill.pk).update(status="disabled")

    actor = use_token(secret=secret, at=AT).actor

    assert (actor.user_id, actor.is_system, actor.label) == (None, False, f"Job (…{secret[-4:]})")
    assert dict(actor.grants) == {
        Capability.READ_POLICY: {"all"},
        Capability.CHANGE_POLICY: {"all"},
        Capability.SEE_PURCHASES: {"all"},
        Capability.SEE_BILL_AMOUNTS: {"all"},
    }


def test_a_service_token_owns_nothing(gina: User) -> None:
    reach = grants(service(gina, "full").secret)

    assert all("own" not in scopes for scopes in reach.values())
    assert Capability.BUY not in reach


def test_a_suspended_organizations_token_is_narrowed_too(contoso: Tenant, gina: User) -> None:
    secret = personal(gina, "policies.write").secret
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")

    assert set(grants(secret)) == {Capability.READ_POLICY}


def test_revoked_it_is_refused_at_once_and_twice_is_once(gina: User) -> None:
    issued, other = personal(gina), personal(gina)

    for _ in range(2):
        revoke_token(actor=actor_of(gina), key=issued.token.key, at=AT, real_at=real_now())

    with pytest.raises(NotAuthenticated):
        use_token(secret=issued.secret, at=AT)
    assert use_token(secret=other.secret, at=AT).actor.user_id == gina.pk
    with tenant_atomic(gina.tenant_id):
        assert AuditEntry.objects.filter(code="directory.token.revoked").count() == 1


def test_a_colleagues_and_a_foreign_token_are_not_there(gina: User, bill: User) -> None:
    other = make_user(make_tenant(), roles=("global_admin",))
    issued = personal(bill)

    for person in (gina, other):
        with pytest.raises(NotVisible):
            revoke_token(actor=actor_of(person), key=issued.token.key, at=AT, real_at=real_now())
    assert token_row(issued).revoked_at is None


def test_it_works_to_its_last_second_and_not_after(gina: User) -> None:
    issued = personal(gina)
    last = {"created_at": real_now() - timedelta(days=1)}
    with tenant_atomic(gina.tenant_id):
        rows = ApiToken.objects.filter(pk=issued.token.pk)
        rows.update(expires_at=real_now() + timedelta(seconds=5), **last)
        used = use_token(secret=issued.secret, at=AT)
        rows.update(expires_at=real_now() - timedelta(seconds=1), **last)

    assert used.actor.user_id == gina.pk
    with pytest.raises(NotAuthenticated):
        use_token(secret=issued.secret, at=AT)


def test_the_demos_clock_neither_ends_nor_prolongs_it(gina: User) -> None:
    secret = personal(gina, days=1).secret

    assert use_token(secret=secret, at=AT + timedelta(days=4000)).actor.user_id == gina.pk


def test_last_use_is_written_at_most_once_a_minute(gina: User) -> None:
    issued = personal(gina)

    use_token(secret=issued.secret, at=AT)
    first = token_row(issued).last_used_at
    use_token(secret=issued.secret, at=AT)
    second = token_row(issued).last_used_at
    with tenant_atomic(gina.tenant_id):
        ApiToken.objects.filter(pk=issued.token.pk).update(last_used_at=first - timedelta(seconds=61))
    use_token(secret=issued.secret, at=AT)

    assert first is not None
    assert second == first
    assert token_row(issued).last_used_at > first - timedelta(seconds=61)


def test_a_well_formed_token_that_was_never_made_is_refused(gina: User) -> None:
    for kind in ("personal", "service"):
        with pytest.raises(NotAuthenticated):
            use_token(secret=tokens.new_secret(kind), at=AT)


# --- The crossing (architecture §4) -----------------------------------------------------------------------


def crossing(secret: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenant_of_token(%s)", [tokens.digest_of(secret)])
        return cursor.fetchall()


def test_a_tokens_hash_leads_to_its_tenant_and_row_and_nothing_else(gina: User) -> None:
    issued = personal(gina)

    assert crossing(issued.secret) == [(gina.tenant_id, issued.token.pk)]
    assert crossing(issued.secret[:-1]) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenant_of_token(NULL)")
        assert cursor.fetchall() == []
        cursor.execute("SELECT count(*) FROM directory_apitoken")
        assert cursor.fetchone() == (0,)


def test_the_crossing_knows_neither_revoked_nor_expired_tokens(gina: User) -> None:
    revoked, expired = personal(gina), personal(gina)
    with tenant_atomic(gina.tenant_id):
        ApiToken.objects.filter(pk=revoked.token.pk).update(revoked_at=AT)
        ApiToken.objects.filter(pk=expired.token.pk).update(
            created_at=real_now() - timedelta(days=3), expires_at=real_now() - timedelta(seconds=1)
        )

    assert crossing(revoked.secret) == crossing(expired.secret) == []


# --- The operator's command -------------------------------------------------------------------------------


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
class TestCommand:
    def create(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("create_token", *arguments, stdout=out)
        return out.getvalue()

    def test_prints_the_token_alone_on_one_line(self) -> None:
        tenant = make_tenant(domain="contoso.example")
        gina = make_user(tenant, email="gina@contoso.example", roles=("global_admin",))

        printed = self.create("--user", "Gina@contoso.example", "--scope", "policies.read,bills.read")

        assert re.fullmatch(r"seatkeeper_pat_[0-9A-Za-z]{49}\n", printed)
        caller = use_token(secret=printed.strip(), at=AT)
        assert (caller.actor.user_id, caller.scopes) == (gina.pk, {"policies.read", "bills.read"})

    def test_takes_the_account_of_the_addresss_own_organization(self) -> None:
        home, host = make_tenant(domain="fabrikam.example"), make_tenant()
        frank = make_user(home, email="frank@fabrikam.example")
        make_user(host, email="frank@fabrikam.example", kind="guest")

        printed = self.create("--user", "frank@fabrikam.example", "--scope", "full")

        assert use_token(secret=printed.strip(), at=AT).actor.user_id == frank.pk

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--user", "nobody@contoso.example", "--scope", "full"), "no active account"),
            (("--user", "dora@contoso.example", "--scope", "full"), "no active account"),
            (("--user", "gina@contoso.example", "--scope", "everything"), "no such scope"),
            (("--user", "gina@contoso.example", "--scope", "full", "--days", "400"), "366 days"),
        ],
    )
    def test_says_why_not(self, arguments: tuple[str, ...], said: str) -> None:
        tenant = make_tenant(domain="contoso.example")
        make_user(tenant, email="gina@contoso.example")
        make_user(tenant, email="dora@contoso.example", status="disabled")

        with pytest.raises(CommandError, match=said):
            self.create(*arguments)

        with tenant_atomic(tenant.pk):
            assert not ApiToken.objects.exists()
