"""Your products as a file that streams: of the page and of the API (product §8)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from django.conf import settings
from django.http import StreamingHttpResponse
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

from commerce.models import Product
from commerce.models.subscriptions import SubscriptionQuerySet
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.rate import Limit
from config.kit.sheets import Cell, csv_lines
from config.kit.tenancy import tenant_atomic
from config.kit.workbook import xlsx_chunks
from licensing.operations.exporting import CSV, MEDIA_TYPES, file_name
from licensing.queries import exporting

HOUR = timedelta(hours=1)


def count_export(actor: Actor) -> None:
    """:raises TooManyTries: the person has had as many within the hour as are allowed."""
    limit = Limit("export", tries=settings.EXPORTS_PER_HOUR, per=HOUR, fails_closed=False)
    limit.count(str(actor.user_id or f"{actor.tenant_id}:{actor.label}"))


def as_file(
    actor: Actor,
    rows: SubscriptionQuerySet,
    products: Mapping[int, Product],
    *,
    form: str,
    with_holders: bool,
) -> StreamingHttpResponse:
    """`rows` in the form "csv" or "xlsx", in the language of now."""
    language = get_language() or "en"

    def lines() -> Iterator[Sequence[Cell]]:
        """Read a chunk at a time, each in a short transaction: nobody's slow line holds one open."""
        after: int | None = 0
        while after is not None:
            with tenant_atomic(actor), override(language):
                chunk = exporting.next_chunk(rows, products, after=after, with_holders=with_holders)
            yield from chunk.lines
            after = chunk.after

    head = exporting.head_of(with_holders=with_holders)
    content: Iterator[str] | Iterator[bytes] = (
        csv_lines(head, lines()) if form == CSV else xlsx_chunks(_("Your products"), head, lines())
    )
    response = StreamingHttpResponse(content, content_type=MEDIA_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="{file_name(form, now())}"'
    return response
