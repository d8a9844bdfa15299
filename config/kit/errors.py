"""Errors that people are meant to read (style §4).

A subclass is named for what failed, carries the facts, and makes its own sentence. One translator per
interface turns it into a page, a form error, problem details, or a message.
"""

from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

type Text = str | Promise


class DomainError(Exception):
    """Something that a person or a client asked for and that cannot be done.

    `code` is stable and public, `status` the HTTP status that says the same: 404 not visible,
    403 visible but not allowed, 409 state conflict, 402 payment, 422 malformed, 503 the vendor's peer is away.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 409
    message: Text = _("This cannot be done.")

    def __init__(self, message: Text | None = None, **facts: Any) -> None:
        if message is not None:
            self.message = message
        self.facts = facts
        super().__init__(self.code, facts)

    def __str__(self) -> str:
        return str(self.message)


class NotVisible(DomainError):
    """What was asked for does not exist for this person."""

    code = "not_found"
    status = 404
    message = _("Not found.")


class NotAllowed(DomainError):
    """The person sees it and may not change it."""

    code = "not_allowed"
    status = 403
    message = _("You may see this, but not change it.")


class Conflict(DomainError):
    """The state has moved on since the page was shown."""

    code = "conflict"
    status = 409
    message = _("This has changed since you opened the page. Nothing was saved.")


class Malformed(DomainError):
    """A value that cannot be used; `field` names it."""

    code = "malformed"
    status = 422

    def __init__(self, message: Text, *, field: str = "", **facts: Any) -> None:
        self.field = field
        super().__init__(message, field=field, **facts)


class PeerUnavailable(DomainError):
    """The card processor or another peer does not answer; trying again later may help."""

    code = "unavailable"
    status = 503
    message = _("The payment service does not answer. Nothing was charged. Try again in a few minutes.")


def constraint_of(error: Exception) -> str:
    """The name of the constraint or trigger that refused a statement, for an `IntegrityError`; empty where none is named."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""
