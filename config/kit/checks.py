"""System checks that keep the rules of the house (reliability §7)."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import OperationalError

from config.kit.tenancy import check_walls


def register_all() -> None:
    register(no_live_key_in_demo, Tags.security)
    register(walls_stand, Tags.database)


def no_live_key_in_demo(**_: Any) -> list[CheckMessage]:
    if settings.DEMO and settings.STRIPE_LIVEMODE:
        return [Error("Demo mode refuses to run beside a live card key.", id="kit.E001")]
    return []


def walls_stand(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """I-21, by introspection; runs with `check --database default`."""
    if "default" not in (databases or []):
        return []
    try:
        problems = check_walls()
    except OperationalError as error:
        return [Warning(f"The walls could not be checked: {error}", id="kit.W002")]
    return [Error(problem, id="kit.E002") for problem in problems]
