"""What a row of the outbox says, in words: as the parts of a mail and as a notice of the portal."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.template import TemplateDoesNotExist, TemplateSyntaxError, VariableDoesNotExist
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from config.kit.money import tax_label
from directory.models import OutgoingMail

# What a mail program needs and the portal's policy forbids. A quote in a value is escaped, so none of these is content.
_MAIL_ONLY = re.compile(r' (?:style|align)="[^"]*"(?=[^<]*>)')
# What a row raises that does not render: of a kind, or with content, that an earlier version wrote.
DOES_NOT_RENDER = (
    *(TemplateDoesNotExist, TemplateSyntaxError, VariableDoesNotExist),
    *(KeyError, TypeError, ValueError, AttributeError),
)
_LINE, _BODY = "directory/_notice_line.html", "directory/_notice_body.html"


def context_of(mail: OutgoingMail) -> dict[str, Any]:
    """What the templates of its kind read, with its instants, whose names end in `_at`, read from their text; those in
    lists of rows too."""
    return {
        **_with_instants(mail.context),
        "public_url": settings.PUBLIC_URL,
        "notice_link": notice_link(mail.pk),
    }


def notice_link(notice_id: int) -> str:
    """The page of a notice, which only its reader can open."""
    return f"{settings.PUBLIC_URL}/my/notices/{notice_id}/"


def subject_of(mail: OutgoingMail) -> str:
    """One line, as text."""
    text = render_to_string(f"mail/{mail.kind}.subject.txt", context_of(mail))
    return " ".join(text.split())


def line_of(mail: OutgoingMail) -> str:
    """The line that stands under the subject, as HTML."""
    return _in_frame(mail, _LINE, {})


def body_of(mail: OutgoingMail, *, address: str) -> SafeString:
    """The mail's content as a part of a page, with its link where there is an `address`."""
    return _in_frame(mail, _BODY, {"notice_address": address})


def _in_frame(mail: OutgoingMail, frame: str, more: Mapping[str, Any]) -> SafeString:
    """The blocks of the mail's template in another frame than a mail's."""
    context = {**context_of(mail), "subject": subject_of(mail), "frame": frame, "in_portal": True, **more}
    return mark_safe(_MAIL_ONLY.sub("", render_to_string(f"mail/{mail.kind}.html", context)).strip())  # noqa: S308


def _with_instants(context: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read(name, value) for name, value in context.items()}


def _read(name: str, value: Any) -> Any:
    if name.endswith("_at") and value:
        return datetime.fromisoformat(value)
    if name == "tax_name" and isinstance(value, str):
        return tax_label(value)
    if isinstance(value, list):
        return [_with_instants(each) if isinstance(each, dict) else each for each in value]
    return value
