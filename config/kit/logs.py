"""What a log must never hold, masked in whatever is about to be written: card numbers and secrets (I-27)."""

import logging
import re

from stdnum import luhn

_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_SECRETS = re.compile(
    r"\b(?:sk|rk)_(?:test|live)_\w+"
    r"|\bwhsec_\w+"
    r"|\bseatkeeper_(?:pat|svc)_\w+"
    r"|\b(?:pi|seti)_[A-Za-z0-9]+_secret_\w+"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?i:\b(?:bearer|basic) )[\w.~+/=-]{16,}"
)


def mask(text: str) -> str:
    """The text without card numbers, keys, tokens and passwords; what merely looks like one goes, too."""
    return _DIGITS.sub(_card_number, _SECRETS.sub("[secret]", text))


def _card_number(match: re.Match[str]) -> str:
    return "[card number]" if luhn.is_valid(re.sub(r"[ -]", "", match.group())) else match.group()


class MaskingFormatter(logging.Formatter):
    """Masks the finished line with its traceback, whoever wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
