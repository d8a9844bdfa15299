"""What kinds of jobs there are, and what a chunk of one says it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from config.kit.actors import Actor
from config.kit.errors import Text
from directory.models import Job


class UnknownKind(LookupError):
    """No app has registered this kind of job."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one row: `subject` for people, `code` stable, `message` a sentence. `number` counts from 1."""

    number: int
    subject: str
    code: str
    message: str = ""
    is_failed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one chunk did. `done` and `failed` are counted from `rows` unless given, for work without a row each.

    `cursor`, plain JSON, is where the next chunk begins; None: there is no next. `content` is added to the result
    file, which `file_name` and `file_type` name at the latest in the last chunk. `total` when it is known now.
    """

    cursor: Any
    rows: Sequence[Row] = ()
    done: int | None = None
    failed: int | None = None
    total: int | None = None
    content: bytes = b""
    file_name: str = ""
    file_type: str = ""


class Run(Protocol):
    """One chunk, inside its transaction. A second or two of work; no call over the network."""

    def __call__(self, *, actor: Actor, job: Job, at: datetime) -> Step: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job: what it is called, the capability that its actor needs all along, and how a chunk runs.

    Without a capability it is its starter's alone: every chunk asks where it acts what may be done there.
    """

    key: str
    label: Text
    capability: str
    run: Run


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """For higher apps, when they start."""
    KINDS[kind.key] = kind


def kind_of(key: str) -> Kind:
    """:raises UnknownKind: no app has registered it."""
    if key not in KINDS:
        raise UnknownKind(key)
    return KINDS[key]
