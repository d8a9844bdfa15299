"""What every call of the API is declared with: its answers, its errors, and what comes in (architecture §3)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Schema
from ninja.security import HttpBearer
from pydantic import (
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from config.kit.actors import Actor


class In(Schema):
    """What a call takes: named fields of their own types, nothing that converts by chance."""

    model_config = ConfigDict(strict=True, str_max_length=1_000, extra="ignore")

    @model_validator(mode="wrap")
    @classmethod
    def _run_root_validator(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """In place of ninja's, which reads the attributes of whatever comes: a number passed where no field is needed."""
        if not isinstance(values, dict):
            raise PydanticKnownError("dict_type")
        return handler(values)


def _in_full(value: Any, parse: ValidatorFunctionWrapHandler) -> datetime:
    """Pydantic would take a number, too, for seconds since 1970, and an instant without a zone."""
    try:
        at: datetime | None = parse(value) if ":" in str(value) else None
        # In UTC: PostgreSQL takes no offset of 16 hours or more.
        at = at.astimezone(UTC) if at is not None and at.tzinfo else None
    except (ValidationError, OverflowError):
        at = None
    if at is None:
        reason = _("Write the instant with its zone, like 2026-03-10T09:30:00Z.")
        raise PydanticCustomError("instant", "{reason}", {"reason": reason})
    return at


# An instant with its zone, written out (RFC 3339).
Instant = Annotated[datetime, WrapValidator(_in_full)]


def one_of(values: Iterable[str], *, or_empty: bool = False) -> dict[str, Any]:
    """What the document says of a text that is one of a few; the call itself refuses any other, in words."""
    return {"enum": [*([""] if or_empty else []), *map(str, values)]}


class Problem(Schema):
    """Why a call was refused (RFC 9457)."""

    type: str = Field(description="An identifier of the kind of problem.")
    title: str
    status: int
    code: str = Field(description="Stable, for programs.")
    detail: str = Field(description="For people, in the language asked for.")
    field: str | None = Field(None, description="Which value it is about, if one.")


class Bearer(HttpBearer):
    """Describes the token in the document; the gate has judged it before any call runs."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor | None:
        return getattr(request, "actor", None)


def answers(good: Any, *more: int, status: int = 200) -> dict[int, Any]:
    """The good answer, none where it is a file alone, the errors of every call, and those of this one."""
    return {status: good} | dict.fromkeys((401, 403, 405, 429, 503, *more), Problem)


def files(*media: str) -> dict[str, Any]:
    """For `openapi_extra`: as what files the good answer comes, besides what `answers` says of it."""
    kinds = [each.partition(";")[0] for each in media]
    shapes = {kind: {"schema": {"type": "string"} if kind.startswith("text/") else {}} for kind in kinds}
    return {"responses": {200: {"content": shapes}}}


def begin_transaction(request: HttpRequest) -> None:
    """Make what the call does from here on one transaction, with its answer under an Idempotency-Key in it.

    For a call that owns its transactions, once it has asked the processor what it has to ask.
    """
    request.begin_transaction()  # type: ignore[attr-defined]


def actor_of(request: HttpRequest) -> Actor:
    """Who calls, as the gate found it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
