"""Asking the European Union's public register whether a VAT number is in use (product §3.4).

`VAT_REGISTER_URL` is the address of its REST interface, https://ec.europa.eu/taxation_customs/vies/rest-api in
production; empty, nothing is asked. Source: its swagger_publicVAT.yaml.
"""

import logging
from urllib.parse import quote

from django.conf import settings

from commerce.vat import register_key
from config.kit.fetch import FetchFailed, fetch_json

logger = logging.getLogger(__name__)

# What the register says when it knows; anything else is that it, or the member state behind it, cannot say now.
_ANSWERS = {"VALID": True, "INVALID": False}


def ask(vat_number: str, *, country: str) -> bool | None:
    """Whether the register has the number, as `parse_vat_number` gives it; None where nobody can say.

    Not inside a transaction. Never raises: a register that is away stands in nobody's way.
    """
    key = register_key(vat_number, country=country)
    if not settings.VAT_REGISTER_URL or key is None:
        return None
    state, number = key
    url = f"{settings.VAT_REGISTER_URL}/ms/{quote(state)}/vat/{quote(number)}"
    try:
        answer = fetch_json(url, seconds=settings.VAT_REGISTER_SECONDS)
    except FetchFailed as failed:
        logger.warning("The VAT register does not answer: %s", failed)
        return None
    return _ANSWERS.get(str(answer.get("userError", "")))
