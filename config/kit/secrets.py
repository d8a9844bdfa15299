"""Secrets kept in the database, encrypted with keys that are not in it (reliability §7).

`settings.FIELD_ENCRYPTION_KEYS` lists Fernet keys, newest first: the first encrypts, all decrypt.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

# What every key begins with that was made for a demo or a test; by chance, one of 2**30 others does.
DEMO_MARK = "demo-"


class Undecipherable(Exception):
    """No configured key opens this value: it was altered, or its key is no longer configured."""


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])


def encrypt(secret: str) -> str:
    """The stored form of a secret; empty stays empty."""
    return _keys().encrypt(secret.encode()).decode() if secret else ""


def decrypt(stored: str) -> str:
    """The secret of a stored form.

    :raises Undecipherable: no configured key fits.
    """
    if not stored:
        return ""
    try:
        return _keys().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise Undecipherable from error


def rotate(stored: str) -> str:
    """The same secret under the newest key.

    :raises Undecipherable: no configured key fits.
    """
    if not stored:
        return ""
    try:
        return _keys().rotate(stored.encode()).decode()
    except InvalidToken as error:
        raise Undecipherable from error


def is_of_demo(key: str) -> bool:
    """Whether a key was made for a demo or a test, which no installation may use that faces people."""
    return key.startswith(DEMO_MARK)
