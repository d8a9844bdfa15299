"""Secrets in the database under the newest key (reliability §7): what an installation does before it drops an old one."""

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator

from config.kit.secrets import Undecipherable, rotate
from config.kit.tenancy import atomic, use_login
from directory.factors import APP, RECOVERY
from directory.models import IdentityProvider, WebhookEndpoint

AT_ONCE = 500
# Which of a factor's data is encrypted.
_OF_A_FACTOR = {APP: "secret", RECOVERY: "seed"}


class CannotBeRead(Exception):
    """A secret that no configured key opens; the message says whose."""


def rotate_keys() -> int:
    """Encrypt every secret anew with the first of `FIELD_ENCRYPTION_KEYS`; how many there are. Again is harmless.

    By the owner's login, over all organizations; rows are locked 500 at a time. Nothing else of them changes, so nothing is in a
    trail.

    :raises CannotBeRead: a key is missing; what came before it is done.
    """
    with use_login("owner"):
        return (
            _each(IdentityProvider, _rotate_client)
            + _each(Authenticator, _rotate_factor)
            + _each(WebhookEndpoint, _rotate_webhook)
        )


def _each(model: Any, rotate_row: Callable[[Any], bool]) -> int:
    count, last = 0, 0
    while True:
        with atomic():
            rows = list(model.objects.select_for_update().filter(pk__gt=last).order_by("pk")[:AT_ONCE])
            count += sum(rotate_row(row) for row in rows)
        if not rows:
            return count
        last = rows[-1].pk


def _rotate_client(row: IdentityProvider) -> bool:
    if not row.client_secret_encrypted:
        return False
    row.client_secret_encrypted = _rotated(row.client_secret_encrypted, f"identity provider {row.key}")
    row.save(update_fields=["client_secret_encrypted"])
    return True


def _rotate_factor(row: Authenticator) -> bool:
    name = _OF_A_FACTOR.get(row.type)
    if name is None:
        return False
    row.data[name] = _rotated(row.data[name], f"second factor {row.pk}")
    row.save(update_fields=["data"])
    return True


def _rotate_webhook(row: WebhookEndpoint) -> bool:
    whose = f"webhook {row.key}"
    row.secret_encrypted = _rotated(row.secret_encrypted, whose)
    row.former_secret_encrypted = _rotated(row.former_secret_encrypted, whose)
    row.save(update_fields=["secret_encrypted", "former_secret_encrypted"])
    return True


def _rotated(stored: str, whose: str) -> str:
    try:
        return rotate(stored)
    except Undecipherable as error:
        raise CannotBeRead(f"No key of FIELD_ENCRYPTION_KEYS opens the secret of {whose}.") from error
