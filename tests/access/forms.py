"""The forms of a page, as a browser would send them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urljoin

import lxml.html

from config.kit.clock import now

BOUNDARY = b"a-line-between-fields"
FILE = b"pat@contoso.example\n"

type Pair = tuple[str, bytes]


@dataclass
class Form:
    """Where it goes, what it would send without being touched, and what it has to press."""

    method: str
    address: str
    is_multipart: bool = False
    given: list[Pair] = field(default_factory=list)
    buttons: list[Pair] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _value in (*self.given, *self.buttons)))

    def pairs(self, *, but: str = "", button: int = 0) -> list[Pair]:
        """What is sent without the field that is named, by one of its buttons if that is none."""
        pairs = [pair for pair in self.given if pair[0] != but]
        if self.buttons and but not in dict(self.buttons):
            pairs.append(self.buttons[button % len(self.buttons)])
        return pairs

    def body(self, pairs: Iterable[Pair]) -> tuple[bytes, str]:
        """What is sent, and its type."""
        if not self.is_multipart:
            return urlencoded(pairs), "application/x-www-form-urlencoded"
        parts = b"".join(self._parts(pairs))
        return parts + b"--" + BOUNDARY + b"--\r\n", f"multipart/form-data; boundary={BOUNDARY.decode()}"

    def _parts(self, pairs: Iterable[Pair]) -> Iterator[bytes]:
        for name, value in pairs:
            head = b'--%s\r\nContent-Disposition: form-data; name="%s"' % (BOUNDARY, _quoted(name.encode()))
            if name in self.files:
                # The file's own name is as hostile as what is in it.
                head += b'; filename="%s"\r\nContent-Type: text/csv' % _quoted(value[:300])
            yield head + b"\r\n\r\n" + value + b"\r\n"


def urlencoded(pairs: Iterable[Pair]) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def _quoted(text: bytes) -> bytes:
    """As browsers write names in a multipart body."""
    return text.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")


def forms_of(html: str, address: str) -> list[Form]:
    """Every form of the page at `address`, with what is outside of it and names it."""
    page = lxml.html.document_fromstring(html)
    found = []
    for element in page.forms:
        form = Form(
            method=element.method.upper(),
            address=urljoin(address, element.action or ""),
            is_multipart="multipart" in element.get("enctype", ""),
        )
        for part in page.iter("input", "select", "textarea", "button"):
            if part.get("name") and part.get("disabled") is None and _form_of(part, page) is element:
                _take(part, form)
        found.append(form)
    return found


def _form_of(part: Any, page: Any) -> Any:
    if part.get("form"):
        return page.get_element_by_id(part.get("form"), None)
    return next(part.iterancestors("form"), None)


def _take(part: Any, form: Form) -> None:
    name, kind = part.get("name"), part.get("type", "text").lower()
    if part.tag == "button" or (part.tag == "input" and kind in ("submit", "image")):
        form.buttons.append((name, part.get("value", "").encode()))
    elif part.tag == "select":
        options = [option.get("value", option.text or "") for option in part.iter("option")]
        chosen = part.value if isinstance(part.value, str) else ""
        form.given.append((name, (chosen or next(filter(None, options), "")).encode()))
    elif part.tag == "textarea":
        form.given.append((name, (part.text or "Words").encode()))
    elif kind == "radio":
        if part.get("checked") is not None or name not in form.names:
            form.given = [pair for pair in form.given if pair[0] != name]
            form.given.append((name, part.get("value", "on").encode()))
    elif kind == "checkbox":
        form.given.append((name, part.get("value", "on").encode()))
    elif kind == "file":
        form.files.add(name)
        form.given.append((name, FILE))
    else:
        form.given.append((name, (part.get("value") or sensible(kind, part)).encode()))


def sensible(kind: str, part: Any) -> str:
    """What somebody might write where the page gives nothing."""
    by_kind = {
        "email": "person@contoso.example",
        "url": "https://contoso.example/",
        "number": part.get("min", "1"),
        "date": f"{now() + timedelta(days=30):%Y-%m-%d}",
        "search": "a",
    }
    return by_kind.get(kind) or BY_NAME.get(part.get("name"), "Words")


# Fields of text whose words have a form.
BY_NAME = {
    "amount": "10.00",
    "client_id": "client",
    "domain": "contoso.example",
    "issuer": "https://contoso.example",
    "incidents": "5",
    "origin": "https://contoso.example",
    "path": "/",
    "postal_code": "1011 AB",
    "price": "10.00",
}
