"""What the page of a notice adds for its kind, said by the app that tells it: the choices that it offers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.kit.actors import Actor
from directory.models import OutgoingMail


@dataclass(frozen=True, slots=True)
class Part:
    """A template that is drawn below the notice, and what it reads."""

    template: str
    context: Mapping[str, Any]


type Make = Callable[[Actor, OutgoingMail, datetime], Part | None]

_makes: dict[str, Make] = {}


def add_to(kind: str, make: Make) -> None:
    """Register what makes the part of one kind of notice; None where there is nothing to choose. For higher apps, when
    they start."""
    _makes[kind] = make


def part_of(actor: Actor, notice: OutgoingMail, at: datetime) -> Part | None:
    make = _makes.get(notice.kind)
    return make(actor, notice, at) if make else None
