"""What a log must never hold, masked in whatever is about to be written: card numbers and secrets (I-27).

And nothing that is sent to us begins a line of its own: controls are written as escapes, what follows a line is indented.
"""

import logging
import re
from typing import override

from stdnum import luhn

_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_SECRETS = re.compile(
    r"\b(?:sk|rk)_(?:test|live)_\w+"
    r"|\bwhsec_\w+"
    r"|\bseatkeeper_(?:pat|svc)_\w+"
    r"|\b(?:pi|seti)_[A-Za-z0-9]+_secret_\w+"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?i:\b(?:bearer|basic) )[\w.~+/=-]{16,}"
    # Links that are good without a session, the code with which a sign-in comes back, and addresses with a password.
    r"|(?<=/requests/decide/)[^/\s\"?]+"
    r"|(?<=/my/notifications/off/)[^/\s\"?]+"
    r"|(?<=[?&]code=)[^&\s\"]+"
    r"|(?<=://)[^/\s:@\"]*:[^/\s@\"]+(?=@)"
    r"|(?<=otpauth://)\S+"
)
# C0, C1, what breaks a line or turns its direction, and what cannot be written.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def mask(text: str) -> str:
    """The text without card numbers, keys, tokens and passwords; what merely looks like one goes, too."""
    return _DIGITS.sub(_card_number, _SECRETS.sub("[secret]", text))


def one_line(text: str) -> str:
    """The text with every control written as an escape, so that it stays on its line and moves no cursor."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _card_number(match: re.Match[str]) -> str:
    return "[card number]" if luhn.is_valid(re.sub(r"[ -]", "", match.group())) else match.group()


class MaskingFormatter(logging.Formatter):
    """Masks a finished line with its traceback, whoever wrote it. Only the first line of a record begins at the margin."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [one_line(self.formatMessage(record))]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        elif record.exc_text:
            lines += record.exc_text.split("\n")
        if record.stack_info:
            lines += self.formatStack(record.stack_info).split("\n")
        return mask("\n  ".join([lines[0], *map(one_line, lines[1:])]))
