"""What every call of the API is declared with: its answers, its errors, and what comes in (architecture §3)."""

from typing import Any

from django.http import HttpRequest
from ninja import Schema
from ninja.security import HttpBearer
from pydantic import ConfigDict, Field

from config.kit.actors import Actor


class In(Schema):
    """What a call takes: named fields of their own types, nothing that converts by chance."""

    model_config = ConfigDict(strict=True, str_max_length=1_000, extra="ignore")


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
    """The good answer, the errors of every call, and those of this one."""
    return {status: good} | dict.fromkeys((401, 403, 405, 429, 503, *more), Problem)


def actor_of(request: HttpRequest) -> Actor:
    """Who calls, as the gate found it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
