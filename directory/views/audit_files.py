"""The audit trail as a file: CSV that runs nothing in a spreadsheet, or JSON."""

import json
from collections.abc import Callable, Iterable, Iterator

from django.utils.translation import override

from config.kit.sheets import Cell, csv_lines
from directory import trail
from directory.models import AuditEntry, Tenant

COLUMNS = (
    *("id", "at", "what", "code", "who", "partner", "organization", "door"),
    *("target_type", "target_id", "target", "before", "after", "correlation_id"),
)
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
type Writer = Callable[[Iterable[AuditEntry], Tenant, str], Iterator[str]]


def as_csv(entries: Iterable[AuditEntry], tenant: Tenant, language: str) -> Iterator[str]:
    """One line an entry; what was before and after as JSON."""

    def rows() -> Iterator[list[Cell]]:
        for entry in entries:
            facts = _facts(entry, tenant, language)
            yield [
                entry.at if name == "at" else _compact(value) if name in ("before", "after") else value  # type: ignore[misc]
                for name, value in facts.items()
            ]

    return csv_lines(COLUMNS, rows())


def as_json(entries: Iterable[AuditEntry], tenant: Tenant, language: str) -> Iterator[str]:
    """One object with the list `entries`, an entry a line."""
    yield '{"entries": ['
    separator = "\n"
    for entry in entries:
        yield separator + json.dumps(_facts(entry, tenant, language), ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


WRITERS: dict[str, Writer] = {"csv": as_csv, "json": as_json}


def _facts(entry: AuditEntry, tenant: Tenant, language: str) -> dict[str, object]:
    with override(language):
        what = str(trail.title_of(entry.code))
    values = (
        *(entry.pk, entry.at.isoformat(), what, entry.code, entry.actor_label, entry.on_behalf_of),
        *(tenant.name, entry.door, entry.target_type, entry.target_id, entry.target_label),
        *(entry.before, entry.after, entry.correlation_id),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _compact(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
