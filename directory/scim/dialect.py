"""What directories send beside the standard, brought into its form before it is read. Pure.

Microsoft Entra and Okta: filtered paths as names in a value, one value wrapped in a list of objects, empty references,
the resource's own id among the values. Capitals of operations, text for booleans, values in a remove, and filters
that match nothing yet are understood as they are (`schemas.POLICY`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from scim2_models import InvalidPathException, InvalidSyntaxException, InvalidValueException, Path, Resource

MOST_OPERATIONS: Final = 1_000
# What the service alone says of a resource.
_OURS: Final = frozenset({"id", "meta", "schemas"})


def with_defaults(payload: Any, defaults: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    """The resource with the attributes that it leaves out or empty, and which those were; names in any case."""
    if not isinstance(payload, dict):
        return payload, frozenset()
    there = {key.casefold() for key, value in payload.items() if value not in (None, "", [])}
    absent = frozenset(name for name in defaults if name.casefold() not in there)
    kept = {
        key: value
        for key, value in payload.items()
        if key.casefold() not in {name.casefold() for name in absent}
    }
    return kept | {name: defaults[name] for name in absent}, absent


def standard_patch(payload: Any, model: type[Resource[Any]]) -> Any:
    """The PATCH in the standard's form.

    :raises SCIMException: it is no PATCH at all, or has too many operations.
    """
    if not isinstance(payload, dict):
        raise InvalidSyntaxException(detail="A PATCH is a JSON object.")
    key = next((name for name in payload if name.casefold() == "operations"), None)
    operations = payload[key] if key else None
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise InvalidSyntaxException(detail="Operations is a list of objects.")
    if len(operations) > MOST_OPERATIONS:
        raise InvalidValueException(detail=f"A PATCH has at most {MOST_OPERATIONS} operations.")
    return payload | {key: [new for old in operations for new in _operations(old, model)]}


def _operations(operation: dict[str, Any], model: type[Resource[Any]]) -> Iterator[dict[str, Any]]:
    found = {name.casefold(): value for name, value in operation.items()}
    op, path, value = str(found.get("op", "")).lower(), found.get("path"), found.get("value")
    if not path and isinstance(value, dict) and op in ("add", "replace"):
        plain = {name: _one(each, name, model) for name, each in value.items() if "[" not in name}
        plain = {name: each for name, each in plain.items() if name.casefold() not in _OURS}
        filtered = {name: each for name, each in value.items() if "[" in name}
        if plain or not filtered:
            yield {"op": op, "value": plain}
        for name, each in filtered.items():
            yield {"op": op, "path": name, "value": each}
        return
    changed = operation
    if "value" in found and isinstance(path, str):
        if op == "remove":
            changed = found | {"value": _without_nulls(value)}
        else:
            changed = found | {"value": _one(value, path, model)}
    yield changed


def _one(value: Any, path: str, model: type[Resource[Any]]) -> Any:
    """The value out of the list of one object in which it came, for an attribute that holds one."""
    if not (isinstance(value, list) and len(value) == 1):
        return value
    try:
        binding = Path[model](path).resolve()  # type: ignore[valid-type]
    except InvalidPathException:
        return value
    if binding is None or binding.target_is_multivalued:
        return value
    (inner,) = value
    return inner.get("value", inner) if isinstance(inner, dict) else inner


def _without_nulls(value: Any) -> Any:
    """The entries to remove by what they say; an empty reference says nothing."""
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if each is not None}
    return value
