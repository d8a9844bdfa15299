"""Your products as CSV or XLSX: at once while it is short, else as a job with the file to download (product §8)."""

from http import HTTPStatus
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from commerce.queries import subscriptions
from commerce.views.subscriptions import kept_filter, parse_filter
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.operations.exporting import MEDIA_TYPES, start_export
from licensing.queries import exporting
from licensing.views.export_files import as_file, count_export

# Longer ones are a job.
AT_ONCE = 5_000


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """The filtered list as a file, or the page of the job that writes it.

    :raises Malformed: another form than these two, or a filter that makes no sense.
    :raises TooManyTries: the person has had as many within the hour as are allowed.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    form, with_holders = request.POST.get("format", ""), request.POST.get("holders") == "1"
    if form not in MEDIA_TYPES:
        raise Malformed(_("Choose CSV or XLSX."), field="format")
    params = QueryDict(request.POST.get("query", "")[:2000])
    with tenant_atomic(actor):
        products = subscriptions.products_by_id()
        chosen = parse_filter(params, products, at=at)
    count_export(actor)
    with tenant_atomic(actor):
        rows = subscriptions.in_channels(subscriptions.rows_for(actor, chosen), chosen.channels)
        size = exporting.size_of(rows)
        if max(size.subscriptions, size.holders if with_holders else 0) > AT_ONCE:
            back = f"{reverse('portal:your-products')}?{urlencode(kept_filter(params))}"
            job = start_export(
                actor=actor,
                chosen=chosen,
                form=form,
                with_holders=with_holders,
                total=size.subscriptions,
                at=at,
                back=back if len(back) <= 200 else reverse("portal:your-products"),
            )
            return HttpResponseRedirect(reverse("portal:job", args=[job.key]), status=HTTPStatus.SEE_OTHER)
    return as_file(actor, rows, products, form=form, with_holders=with_holders)
