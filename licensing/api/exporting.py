"""The purchases as one file (product §16)."""

from typing import Literal

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router
from ninja.params.functions import Query

from commerce.api.purchases import Narrowed, filter_of
from commerce.queries import subscriptions
from config.kit import access
from config.kit.api import actor_of, answers, files
from config.kit.tenancy import tenant_atomic
from directory.operations.tokens import ScopeTooLow
from directory.permissions import Capability
from licensing.operations.exporting import MEDIA_TYPES
from licensing.views.export_files import as_file, count_export

router = Router(tags=["Purchases"])


@router.get(
    "/export",
    response=answers(None, 400, 404),
    url_name="purchases-export",
    openapi_extra=files(*MEDIA_TYPES.values()),
)
@access.token("purchases.read", sees=Capability.SEE_PURCHASES, owns_transaction=True)
def export_purchases(
    request: HttpRequest,
    wanted: Narrowed = Query(...),
    format: Literal["csv", "xlsx"] = "csv",
    holders: bool = Query(
        False,
        description="With a line for each person who holds a license; the token needs `licenses.read`, too.",
    ),
) -> StreamingHttpResponse:
    """The filtered purchases as one file, CSV or XLSX, streamed; as many an hour as on the page."""
    actor = actor_of(request)
    # Whoever sees purchases sees who holds the licenses: it is the token that may not.
    if holders and not actor.may(Capability.SEE_LICENSES):
        raise ScopeTooLow
    with tenant_atomic(actor):
        chosen = filter_of(wanted)
        products = subscriptions.products_by_id()
        rows = subscriptions.in_channels(subscriptions.rows_for(actor, chosen), chosen.channels)
    count_export(actor)
    return as_file(actor, rows, products, form=format, with_holders=holders)
