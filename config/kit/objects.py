"""JSON that somebody else wrote and that decides something: read in one way only (RFC 8259 §4, RFC 8725 §2.7)."""

import json
from typing import Any, NoReturn


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`: UTF-8, each name once, no NaN and no infinity.

    Where a name stands twice, one reader takes the first and another the last; here neither is taken.

    :raises ValueError: anything else.
    """
    value = _read(raw.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def read_json(text: str) -> Any:
    """Any JSON, each name once, no NaN and no infinity, and no half of a letter, which PostgreSQL refuses.

    :raises ValueError: anything else.
    """
    value = _read(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _read(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_named_once, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
