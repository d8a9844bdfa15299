"""Card numbers and secrets are masked in every line of the log (I-27)."""

import logging

import pytest
from django.conf import settings

from config.kit.logs import MaskingFormatter, mask


@pytest.mark.parametrize("number", ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005"])
def test_a_card_number_is_masked(number: str) -> None:
    assert mask(f"card {number}, declined") == "card [card number], declined"


@pytest.mark.parametrize(
    "secret",
    [
        "sk_test_51Habcdefghijk",
        "rk_live_51Habcdefghijk",
        "whsec_c2VjcmV0IG9mIGEgaG9vaw",
        "pi_3MtwBw_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "seti_1Mm8s8_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwYXQifQ.c2lnbmF0dXJl",
        "Bearer c2VjcmV0IG9mIGEgdG9rZW4",
    ],
)
def test_a_secret_is_masked(secret: str) -> None:
    assert mask(f"sent {secret} on") == "sent [secret] on"


@pytest.mark.parametrize(
    "line",
    [
        "4242424242424243 is no card",
        "Bill SK-NL-2026-000123 of pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "2026-11-26 13:09:34,617 INFO 4d2e7a10-4242-4242-8242-424242424242",
    ],
)
def test_anything_else_stays(line: str) -> None:
    assert mask(line) == line


def test_a_traceback_is_masked_too() -> None:
    try:
        raise ValueError("4242424242424242")
    except ValueError as error:
        record = logging.LogRecord(
            "any",
            logging.ERROR,
            __file__,
            1,
            "broken %s",
            ("sk_test_51Habcdefg",),
            (type(error), error, None),
        )

    line = MaskingFormatter("{message}", style="{").format(record)

    assert line == "broken [secret]\nValueError: [card number]"


def test_every_handler_of_the_installation_masks() -> None:
    handlers = settings.LOGGING["handlers"].values()
    formatters = {settings.LOGGING["formatters"][each["formatter"]]["()"] for each in handlers}

    assert formatters == {"config.kit.logs.MaskingFormatter"}
