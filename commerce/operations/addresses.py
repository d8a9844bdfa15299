"""Addresses of pages elsewhere that people type and others follow."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from config.kit.errors import Malformed
from directory.domains import fold_domain

LONGEST_URL = 500
_is_address = URLValidator(schemes=["https"])


def host_of_page(url: str, refused: Malformed) -> str:
    """The folded host of an https address without a name, password or port in it.

    :raises Malformed: `refused`, of any other text.
    """
    try:
        _is_address(url)
        parts = urlsplit(url)
        host = fold_domain(parts.hostname or "")
        is_plain = parts.port in (None, 443) and not parts.username and not parts.password
    except (ValidationError, ValueError, Malformed) as error:
        raise refused from error
    if len(url) > LONGEST_URL or not is_plain:
        raise refused
    return host
