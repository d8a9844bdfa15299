"""Telling in time that a card ends before the next charge (product §5.6), once per card and expiry."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q

from commerce.operations.notices import payment_methods_link
from config.kit.money import tax_on
from config.kit.tenancy import atomic, connection, use_login
from directory.models import OutgoingMail, User
from directory.operations.mail import mails, queue_mails
from directory.permissions import Role

BATCH = 500
# Zones ahead of UTC are in the next month for some hours already.
_ZONES = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


class Due(NamedTuple):
    """One card that ends before the first charge that it is to pay, and that charge."""

    card_id: int
    tenant_id: int
    user_id: int | None
    brand: str
    last4: str
    ends_at: datetime
    subscriptions: int
    key: str
    charge_at: datetime
    net_minor: int
    tax_rate: Decimal
    currency: str
    time_zone: str
    product: str
    organization: str
    vendor: str


@dataclass(slots=True)
class _People:
    """The payers of a batch, and the global and billing admins of its tenants."""

    payers: dict[int, User]
    admins: dict[int, list[User]]


def notice_expiring_cards(*, at: datetime, limit: int = BATCH) -> int:
    """Announce every card that ends before the next charge and within `CARD_EXPIRY_NOTICE`; how many.

    To whom it belongs; what a person who left pays is announced to the billing admins, without the card. A card
    whose expiry changes is announced anew. In batches, under the worker's login; any number may run side by side.
    """
    noticed, last_id = 0, 0
    with use_login("worker"):
        while True:
            with atomic():
                last_id, due = _take(at, after_id=last_id, limit=limit)
                if due:
                    _queue(due, at)
            noticed += len(due)
            if not last_id:
                return noticed


def _take(at: datetime, *, after_id: int, limit: int) -> tuple[int, list[Due]]:
    """The next cards to be announced, marked; the place behind them is 0 when there are no more. One statement."""
    until = at + settings.CARD_EXPIRY_NOTICE + _ZONES
    with connection().cursor() as cursor:
        values: dict[str, Any] = {
            "at": at,
            "notice": settings.CARD_EXPIRY_NOTICE,
            "year": until.year,
            "month": until.month,
            "after": after_id,
            "limit": limit,
        }
        cursor.execute(_TAKE, values)
        rows = cursor.fetchall()
    looked_at, last_id = rows[0][0], rows[0][1]
    due = [Due(*row[2:]) for row in rows if row[2] is not None]
    return (last_id if looked_at == limit else 0), due


def _queue(due: Iterable[Due], at: datetime) -> None:
    people = _people_of(due)
    rows: list[OutgoingMail] = []
    for each in due:
        payer = people.payers.get(each.user_id) if each.user_id is not None else None
        is_here = payer is not None and payer.is_active
        rows += mails(
            "card_expiring",
            event_key=f"{each.card_id}:{each.ends_at:%Y-%m}",
            to=[payer] if payer is not None and is_here else people.admins[each.tenant_id],
            tenant_id=each.tenant_id,
            context=_context(each, payer, is_here=is_here),
            at=at,
        )
    queue_mails(rows)


def _context(due: Due, payer: User | None, *, is_here: bool) -> dict[str, Any]:
    sees_card = payer is None or is_here
    return {
        "card": {"brand": due.brand, "last4": due.last4} if sees_card else None,
        "payer": payer.name if payer is not None else "",
        "payer_left": payer is not None and not is_here,
        "product": due.product,
        "others": due.subscriptions - 1,
        "ends_last_at": (due.ends_at - _INSTANT).isoformat(),
        "next_charge_at": due.charge_at.isoformat(),
        "amount_minor": due.net_minor + tax_on(due.net_minor, due.tax_rate),
        "currency": due.currency,
        "time_zone": due.time_zone,
        "organization": due.organization,
        "vendor": due.vendor,
        "link": payment_methods_link() if sees_card else f"{settings.PUBLIC_URL}{_PURCHASE}{due.key}/",
    }


def _people_of(due: Iterable[Due]) -> _People:
    """Two queries."""
    payer_ids = {each.user_id for each in due if each.user_id is not None}
    payers = {user.pk: user for user in User.objects.filter(pk__in=payer_ids)}
    admins: dict[int, list[User]] = defaultdict(list)
    found = User.objects.active().filter(
        Q(role_assignments__role__in=[Role.GLOBAL_ADMIN, Role.BILLING_ADMIN]),
        tenant_id__in={each.tenant_id for each in due},
    )
    for user in found.order_by("id").distinct("id"):
        admins[user.tenant_id].append(user)
    return _People(payers, admins)


_PURCHASE = "/admin/billing/your-products/"
_ENDS = "((make_date(c.expires_year, c.expires_month, 1) + interval '1 month') AT TIME ZONE s.time_zone)"
# A card of the payer's that was chosen pays, else the payer's default: as `commerce.queries.cards` has it.
_TAKE = f"""
WITH looked_at AS MATERIALIZED (
    SELECT c.id, c.tenant_id, c.user_id, c.brand, c.last4, c.expires_year, c.expires_month, c.is_default
      FROM commerce_card c
     WHERE c.removed_at IS NULL AND c.expiry_noticed_at IS NULL
       AND (c.expires_year, c.expires_month) <= (%(year)s, %(month)s) AND c.id > %(after)s
     ORDER BY c.id LIMIT %(limit)s
     FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT c.id, c.tenant_id, c.user_id, c.brand, c.last4, charge.*
      FROM looked_at c
      CROSS JOIN LATERAL (
           SELECT {_ENDS} AS ends_at, count(*) OVER () AS subscriptions, s.key, s.due_at, s.period_price_minor,
                  s.tax_rate, s.currency, s.time_zone, s.product_id, s.vendor_entity_id
             FROM commerce_subscription s
            WHERE s.tenant_id = c.tenant_id AND s.state IN ('scheduled', 'active')
              AND (s.recurring_billing OR s.due_at < s.term_end)
              AND (s.owner_user_id = c.user_id
                   OR c.user_id IS NULL AND s.owner_kind = 'organization' AND s.agreement_id IS NULL)
              AND (s.card_id = c.id
                   OR c.is_default AND NOT EXISTS (
                      SELECT FROM commerce_card chosen
                       WHERE chosen.id = s.card_id AND chosen.removed_at IS NULL
                         AND chosen.user_id IS NOT DISTINCT FROM c.user_id))
              AND {_ENDS} <= s.due_at AND {_ENDS} <= %(at)s + %(notice)s
            ORDER BY s.due_at, s.id LIMIT 1
      ) charge
), noticed AS (
    UPDATE commerce_card c SET expiry_noticed_at = %(at)s FROM due WHERE c.id = due.id
), total AS (
    SELECT count(*) AS looked_at, max(id) AS last_id FROM looked_at
)
SELECT total.looked_at, total.last_id, due.id, due.tenant_id, due.user_id, due.brand, due.last4, due.ends_at,
       due.subscriptions, due.key, due.due_at, due.period_price_minor, due.tax_rate, due.currency, due.time_zone,
       product.name, tenant.name, entity.name
  FROM total
  LEFT JOIN due ON true
  LEFT JOIN commerce_product product ON product.id = due.product_id
  LEFT JOIN directory_tenant tenant ON tenant.id = due.tenant_id
  LEFT JOIN commerce_vendorentity entity ON entity.id = due.vendor_entity_id
"""  # noqa: S608
