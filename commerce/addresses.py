"""Where a product runs: origins and paths as staff register them, and what leads there (docs/embed.md). Pure.

An address is compared as text with an origin in the one form that browsers send: no second reading of what the host
of an address is can differ from theirs.
"""

import re
from typing import Final

LONGEST_ORIGIN, LONGEST_PATH = 255, 200
# Quoted in the address of a sign-in it may be three times as long.
LONGEST_ADDRESS: Final = 500

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PORT = r"(?::(?P<port>[1-9][0-9]{0,4}))?"
_HTTPS = re.compile(rf"https://{_LABEL}(?:\.{_LABEL})*{_PORT}")
_LOOPBACK = re.compile(rf"http://(?:127\.0\.0\.1|localhost){_PORT}")
# What an address may be made of (RFC 3986): no blank, no control, no backslash, no quote.
_PLAIN = re.compile(r"[A-Za-z0-9:/?#@!$&'()*+,;=._~%\[\]-]+")
_PATH = re.compile(r"/[A-Za-z0-9/@!$&'()*+,;=:._~%-]*")


def is_origin(text: str, *, allows_loopback: bool) -> bool:
    """Whether `text` is an https origin as a browser writes it; with `allows_loopback` also http on this machine."""
    if len(text) > LONGEST_ORIGIN:
        return False
    if found := _HTTPS.fullmatch(text):
        return found["port"] is None or (int(found["port"]) < 65536 and found["port"] != "443")
    found = _LOOPBACK.fullmatch(text) if allows_loopback else None
    return bool(found and (found["port"] is None or (int(found["port"]) < 65536 and found["port"] != "80")))


def is_path(text: str) -> bool:
    """Whether `text` can be the beginning of a path that a browser leaves as it is."""
    return len(text) <= LONGEST_PATH and bool(_PATH.fullmatch(text)) and _is_settled(text)


def leads_into(address: str, *, origin: str, path: str) -> bool:
    """Whether a browser that is sent to `address` ends at `origin`, at `path` or below it."""
    if len(address) > LONGEST_ADDRESS or not _PLAIN.fullmatch(address):
        return False
    if not address.startswith(f"{origin}/"):
        return False
    way = re.split(r"[?#]", address[len(origin) :], maxsplit=1)[0]
    folder = path if path.endswith("/") else f"{path}/"
    return _is_settled(way) and (way == path or way.startswith(folder))


def _is_settled(path: str) -> bool:
    """Whether no part of a path moves it elsewhere, and no quoted slash may be read as a plain one."""
    folded = path.lower()
    parts = folded.replace("%2e", ".").split("/")
    return "." not in parts and ".." not in parts and "%2f" not in folded and "%5c" not in folded
