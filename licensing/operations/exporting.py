"""The export of Your products as a job, where it is too long for a request (product §8; docs/jobs.md)."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.queries import subscriptions
from commerce.queries.subscriptions import Filter, filter_of
from config.kit.actors import Actor
from config.kit.sheets import Cell, csv_lines
from config.kit.workbook import MEDIA_TYPE, xlsx_chunks
from directory.models import Job
from directory.operations import jobs
from directory.permissions import Capability
from licensing.queries import exporting

KIND = "export_products"
CSV, XLSX = "csv", "xlsx"
MEDIA_TYPES = {CSV: "text/csv; charset=utf-8", XLSX: MEDIA_TYPE}


def start_export(
    *, actor: Actor, chosen: Filter, form: str, with_holders: bool, total: int, at: datetime, back: str
) -> Job:
    """Queue the export of a filtered list; `total` subscriptions, in the form `csv` or `xlsx`.

    :raises NotAllowed: the actor sees no purchases.
    :raises TooManyJobs: twenty of the organization wait already.
    """
    return jobs.start_job(
        actor=actor,
        kind=KIND,
        title=_("Your products as %(form)s") % {"form": form.upper()},
        parameters={"filter": chosen.facts(), "form": form, "with_holders": with_holders},
        at=at,
        total=total,
        back=back,
    )


def run_export(*, actor: Actor, job: Job, at: datetime) -> jobs.Step:
    """The next thousand subscriptions; after the last, the workbook is put together from the pieces.

    What has come since the start is counted, too: the list is read by id, as it is now.
    """
    form, with_holders = job.parameters["form"], job.parameters["with_holders"]
    head = exporting.head_of(with_holders=with_holders)
    name = file_name(form, job.created_at)
    cursor = job.cursor or {"after": 0}
    if cursor["after"] is None:
        pieces = xlsx_chunks(_("Your products"), head, _kept_lines(job))
        jobs.replace_content(job, pieces)
        return jobs.Step(cursor=None, done=0, file_name=name, file_type=MEDIA_TYPES[form])
    rows = subscriptions.rows_for(actor, filter_of(job.parameters["filter"]))
    rows = subscriptions.in_channels(rows, filter_of(job.parameters["filter"]).channels)
    chunk = exporting.next_chunk(
        rows, subscriptions.products_by_id(), after=cursor["after"], with_holders=with_holders
    )
    if form == CSV:
        lines = csv_lines(head, chunk.lines)
        text = "".join(line for number, line in enumerate(lines) if number or not cursor["after"])
    else:
        text = "".join(_kept(line) for line in chunk.lines)
    is_over = chunk.after is None and form == CSV
    return jobs.Step(
        cursor=None if is_over else {"after": chunk.after},
        done=chunk.subscriptions,
        total=max(job.total or 0, job.done + chunk.subscriptions)
        if chunk.after is not None
        else job.done + chunk.subscriptions,
        content=text.encode("utf-8", "surrogatepass"),
        file_name=name if is_over else "",
        file_type=MEDIA_TYPES[form] if is_over else "",
    )


def file_name(form: str, at: datetime) -> str:
    return f"your-products-{at:%Y-%m-%d}.{form}"


def _kept(cells: Sequence[Cell]) -> str:
    """A line as it waits for the workbook: JSON, days and instants and decimals marked as such."""
    return json.dumps([_plain(value) for value in cells], ensure_ascii=False) + "\n"


def _plain(value: Cell) -> Any:
    match value:
        case datetime():
            return {"instant": value.isoformat()}
        case date():
            return {"day": value.isoformat()}
        case Decimal():
            return {"number": str(value)}
        case _:
            return value


def _kept_lines(job: Job) -> Iterator[list[Cell]]:
    """The lines of all pieces written so far, one piece in memory at a time."""
    rest = b""
    for piece in jobs.content_of(job):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield [_cell(value) for value in json.loads(line.decode("utf-8", "surrogatepass"))]


def _cell(value: Any) -> Cell:
    match value:
        case {"instant": text}:
            return datetime.fromisoformat(text)
        case {"day": text}:
            return date.fromisoformat(text)
        case {"number": text}:
            return Decimal(text)
        case _:
            kept: Cell = value
            return kept


EXPORT = jobs.Kind(KIND, gettext_lazy("Export of Your products"), Capability.SEE_PURCHASES, run_export)
