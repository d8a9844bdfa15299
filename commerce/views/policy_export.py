"""The purchase policy as a file: every product with what holds for it and why (product §9)."""

from collections.abc import Iterator

from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from commerce.queries.policy import Table, table_of
from commerce.views.policy_wording import LABELS, is_without_self_service, label_of, origin_of
from config.kit import access
from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.sheets import Cell, csv_lines
from directory.permissions import Capability

COLUMNS = ("product", "product_id", "category", "self_service", "comes_from", "groups", "licenses_in_use")


@access.requires(sees=Capability.READ_POLICY)
@require_safe
def policy_export(request: HttpRequest) -> StreamingHttpResponse:
    """All products, whatever the page shows; safe to open in a spreadsheet."""
    if is_without_self_service(request):
        raise NotVisible
    table = table_of(request.actor)  # type: ignore[attr-defined]
    response = StreamingHttpResponse(csv_lines(COLUMNS, _rows(table)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="purchase-policy-{now():%Y-%m-%d}.csv"'
    return response


def _rows(table: Table) -> Iterator[list[Cell]]:
    for row in table.rows:
        groups = "; ".join(f"{each.group.name}: {LABELS[each.value]}" for each in row.groups)
        yield [
            row.product.name,
            row.product.key,
            row.product.category,
            label_of(row.effective),
            origin_of(row),
            groups,
            row.seats,
        ]
