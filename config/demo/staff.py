"""The second factors of the demo's staff: each secret follows from the installation's key, so that nothing need keep it."""

import base64
import hashlib
import hmac


def app_secret(mail: str, *, key: str) -> str:
    """What an authenticator app is given for an account of the demo; `key` is the installation's `SECRET_KEY`."""
    digest = hmac.digest(key.encode(), f"config.demo.staff {mail}".encode(), hashlib.sha256)
    return base64.b32encode(digest[:20]).decode()
