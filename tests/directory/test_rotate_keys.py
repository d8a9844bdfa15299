"""Keys of encrypted secrets are exchanged without losing one (reliability §7, Secrets)."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from config.kit.clock import real_now
from config.kit.secrets import Undecipherable, decrypt, encrypt
from config.kit.tenancy import tenant_atomic, use_login
from directory import factors
from directory.models import IdentityProvider, User
from directory.operations import second_factor
from directory.operations.secret_keys import rotate_keys
from tests.factories import AT, make_staff, make_tenant, staff_actor_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def sven(settings: Any) -> User:
    """Of the vendor, with an app and recovery codes; two organizations' clients have a secret, one has none."""
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    for number in range(2):
        tenant = make_tenant()
        with tenant_atomic(tenant.pk):
            IdentityProvider.objects.filter(tenant=tenant).update(
                client_secret_encrypted=encrypt(f"secret-{number}")
            )
    made = make_staff(make_tenant(kind="vendor"), "staff_support")
    then = real_now() - timedelta(days=1)
    second_factor.set_up_app(
        actor=staff_actor_of(made),
        secret=SECRET,
        code=factors.code_at(SECRET, then),
        has_shown=False,
        at=AT,
        real_at=then,
    )
    return made


def clients() -> list[str]:
    with use_login("owner"):
        rows = IdentityProvider.objects.order_by("pk").values_list("client_secret_encrypted", flat=True)
        return [decrypt(stored) for stored in rows]


def test_after_rotating_the_old_key_can_go_and_everything_is_read(sven: User, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    said = StringIO()

    call_command("rotate_keys", stdout=said)
    call_command("rotate_keys", stdout=said)
    settings.FIELD_ENCRYPTION_KEYS = [NEW]

    assert said.getvalue() == "4 secrets are encrypted with the newest key.\n" * 2
    assert clients() == ["secret-0", "secret-1", ""]
    shown = second_factor.take_code(
        actor=staff_actor_of(sven), code=factors.code_at(SECRET, real_now()), at=AT, real_at=real_now()
    )
    assert shown
    with tenant_atomic(sven.tenant_id):
        (codes,) = Authenticator.objects.filter(type=factors.RECOVERY)
        assert factors.codes_left(codes) == 10


def test_without_rotating_the_old_key_may_not_go(sven: User, settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [NEW]

    with pytest.raises(Undecipherable):
        clients()
    with pytest.raises(CommandError, match="No key of FIELD_ENCRYPTION_KEYS opens the secret of"):
        call_command("rotate_keys")


def test_no_more_than_the_secrets_change(sven: User, settings: Any) -> None:
    with tenant_atomic(sven.tenant_id):
        before = {row.type: (dict(row.data), row.last_used_at) for row in Authenticator.objects.all()}

    rotate_keys()

    with tenant_atomic(sven.tenant_id):
        after = {row.type: (dict(row.data), row.last_used_at) for row in Authenticator.objects.all()}
    for kind, hidden in ((factors.APP, "secret"), (factors.RECOVERY, "seed")):
        assert before[kind][0].pop(hidden) != after[kind][0].pop(hidden)
    assert after == before
