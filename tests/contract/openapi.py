"""Stripe's own description of its API, as a judge of requests and answers.

`openapi.json` is the needed part of Stripe's OpenAPI file (version in its `info`, licence beside it): every
parameter of the operations that the processor knows, and of each object the fields with their kinds.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

type Schema = dict[str, Any]

_FILE = Path(__file__).with_name("openapi.json")
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@cache
def specification() -> dict[str, Any]:
    """The whole file."""
    found: dict[str, Any] = json.loads(_FILE.read_text())
    return found


def validate_request(method: str, path: str, form_params: dict[str, Any]) -> list[str]:
    """What Stripe's description has against this request; empty when nothing.

    :param form_params: the parameters of the form (POST) or the query, nested as their brackets say, lists as
        lists, every leaf text as it was sent: `{"amount": "1000", "metadata": {"bill": "7"}}`.
    """
    operation = _operation(method, path)
    if operation is None:
        return [f"{method} {path}: no such operation"]
    if method == "POST":
        schema = operation.get("form", {"type": "object", "properties": {"expand": {"type": "array"}}})
    else:
        schema = {"type": "object", "properties": operation.get("query", {})}
    return [f"{method} {path}: {problem}" for problem in _problems(schema, form_params, "")]


def validate_object(body: dict[str, Any]) -> list[str]:
    """What Stripe's description has against an object of an answer; empty when nothing, or not described."""
    described = specification()["objects"].get(body.get("object", ""))
    if described is None or body.get("deleted"):
        return []
    missing = [f"{name}: missing" for name in described["required"] if name not in body]
    known = described["properties"]
    return missing + [
        f"{name}: {value!r} is no {' or '.join(known[name]['types'])}"
        for name, value in body.items()
        if name in known and not _is_described(value, known[name])
    ]


def _operation(method: str, path: str) -> Schema | None:
    paths = specification()["paths"]
    exact = paths.get(path, {}).get(method.lower())
    if exact is not None:
        return dict(exact)
    for pattern, operations in paths.items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", pattern), path) and method.lower() in operations:
            return dict(operations[method.lower()])
    return None


def _problems(schema: Schema, value: Any, name: str) -> Iterator[str]:
    if "anyOf" in schema:
        found = [list(_problems(option, value, name)) for option in schema["anyOf"]]
        if all(found):
            yield from min(found, key=len)
        return
    kind = schema.get("type")
    if kind == "object":
        yield from _object_problems(schema, value, name)
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{name}: not a list"
            return
        for index, item in enumerate(value):
            yield from _problems(schema.get("items", {}), item, f"{name}[{index}]")
    elif not isinstance(value, str):
        yield f"{name}: not a plain value"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{name}: {value!r} is none of {schema['enum']}"
    elif (kind == "integer" and not re.fullmatch(r"-?\d+", value)) or (
        kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", value)
    ):
        yield f"{name}: {value!r} is not a number"
    elif kind == "boolean" and value not in ("true", "false"):
        yield f"{name}: {value!r} is not true or false"
    elif len(value) > schema.get("maxLength", len(value)):
        yield f"{name}: longer than {schema['maxLength']} characters"


def _object_problems(schema: Schema, value: Any, name: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{name}: not an object"
        return
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for key in schema.get("required", []):
        if key not in value:
            yield f"{_inside(name, key)}: missing"
    for key, item in value.items():
        if key in known:
            yield from _problems(known[key], item, _inside(name, key))
        elif isinstance(others, dict):
            yield from _problems(others, item, _inside(name, key))
        else:
            yield f"{_inside(name, key)}: unknown"


def _inside(name: str, key: str) -> str:
    return f"{name}[{key}]" if name else key


def _is_described(value: Any, field: Schema) -> bool:
    if value is None:
        return bool(field.get("nullable"))
    if "enum" in field and value not in field["enum"]:
        return False
    if isinstance(value, bool):
        return "boolean" in field["types"]
    return any(isinstance(value, _KINDS[kind]) for kind in field["types"])
