"""Bills over the wire: of the own and the organization's everything, of others' what they come to (product §2, §6)."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.queries import bills as queries
from commerce.queries.subscriptions import CHANNELS
from config.kit import access
from config.kit.actors import Actor
from config.kit.api import Instant, actor_of, answers, one_of
from config.kit.errors import Malformed
from directory.permissions import Capability

READ = access.token("bills.read", sees=Capability.SEE_BILLS)

router = Router(tags=["Bills"])


class BillOut(Schema):
    """One bill or credit note. Of a bill that is another person's only the amounts are told; the rest is null."""

    number: str | None
    issuedAt: datetime
    type: str
    status: str | None
    purchaseId: UUID
    productName: str
    payer: str = Field(description="organization, me or others")
    periodStart: datetime
    periodEnd: datetime
    currency: str
    subtotalMinor: int
    taxMinor: int
    totalMinor: int
    paidMinor: int | None
    dueAt: datetime | None


class Bills(Schema):
    items: list[BillOut]
    next: str | None = Field(description="The cursor of the next page.")


@router.get("", response=answers(Bills, 400), url_name="bills")
@READ
def list_bills(
    request: HttpRequest,
    status: str = Query("", max_length=20, **one_of(queries.STATUSES, or_empty=True)),
    channel: list[str] = Query([]),
    payer: str = Query("", max_length=20, **one_of(queries.PAYERS, or_empty=True)),
    since: Instant | None = None,
    until: Instant | None = None,
    cursor: str = Query("", max_length=1_000),
) -> Bills:
    """Bills and credit notes, latest first, 50 at a time; `since` and `until` bound the day of issue, half-open."""
    if status and status not in queries.STATUSES:
        raise Malformed(_("There is no such status."), field="status")
    if not set(channel) <= set(CHANNELS):
        raise Malformed(_("There is no such channel."), field="channel")
    if payer and payer not in queries.PAYERS:
        raise Malformed(_("There is no such payer."), field="payer")
    actor = actor_of(request)
    chosen = queries.Filter(
        status=status, channels=tuple(dict.fromkeys(channel)), payer=payer, since=since, until=until
    )
    page = queries.page_of(queries.rows_for(actor, chosen), cursor=cursor)
    return Bills(items=[_out(actor, row) for row in page.rows], next=page.next or None)


@router.get("/{number}", response=answers(BillOut, 404), url_name="bill")
@READ
def get_bill(request: HttpRequest, number: str) -> BillOut:
    """One bill that the token's person may open."""
    actor = actor_of(request)
    bill = queries.bill_of(actor, number.replace("\0", ""))
    rows = queries.rows_for(actor, queries.Filter()).filter(pk=bill.pk)
    return _out(actor, queries.page_of(rows, cursor="").rows[0])


def _out(actor: Actor, row: queries.Row) -> BillOut:
    is_open = queries.may_open(actor, row)
    mine = queries.ME if row.payer_id == actor.user_id else queries.OTHERS
    return BillOut(
        number=row.number if is_open else None,
        issuedAt=row.issued_at,
        type=row.type,
        status=row.status if is_open else None,
        purchaseId=row.subscription_key,
        productName=row.product_name,
        payer=queries.ORGANIZATION if row.payer_id is None else mine,
        periodStart=row.period_start,
        periodEnd=row.period_end,
        currency=row.currency,
        subtotalMinor=row.subtotal_minor,
        taxMinor=row.tax_minor,
        totalMinor=row.total_minor,
        paidMinor=row.paid_minor if is_open else None,
        dueAt=row.due_at if is_open else None,
    )
