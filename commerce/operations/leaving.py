"""What somebody who leaves bought (product §11): who is told, and for how long bills name them (docs/adr/0052)."""

from datetime import datetime

from django.conf import settings

from commerce.models import Subscription
from commerce.operations.mail_facts import billing_admins
from commerce.queries import details
from config.kit.tenancy import atomic, connection, use_login
from directory.hooks import Departure
from directory.models import Tenant
from directory.operations.mail import queue_mail

# So many purchases are named in the mail; the page behind its link lists all of them.
MOST_NAMED = 20
AT_ONCE = 5000


def tell_of_purchaser_left(departure: Departure) -> None:
    """Tell the billing and global admins what somebody who left still owns; registered on `person_leaving`.

    Nobody is told of a person who owns nothing that lives.
    """
    user, tenant_id = departure.user, departure.actor.tenant_id
    rows = (
        Subscription.objects.not_deleted()
        .filter(tenant_id=tenant_id, owner_kind=Subscription.Owner.PERSON, owner_user=user)
        .select_related("product", "vendor_entity")
        .order_by("product_sort", "id")
    )
    purchases = list(rows[: MOST_NAMED + 1])
    if not purchases:
        return
    queue_mail(
        "purchaser_left",
        event_key=f"{user.key}:{departure.at.isoformat()}",
        to=billing_admins(tenant_id),
        tenant_id=tenant_id,
        context={
            "organization": Tenant.objects.values_list("name", flat=True).get(pk=tenant_id),
            "vendor": purchases[0].vendor_entity.name,
            "name": user.name,
            "is_deletion": departure.is_deletion,
            "by": departure.actor.label,
            "purchases": [_facts(row) for row in purchases[:MOST_NAMED]],
            "has_more": len(purchases) > MOST_NAMED,
            "link": f"{settings.PUBLIC_URL}/admin/billing/your-products/?purchaser={user.key}",
        },
        at=departure.at,
    )


def _facts(subscription: Subscription) -> dict[str, object]:
    next_charge_at = details.next_charge_at(subscription)
    return {
        "product": subscription.product.name,
        "quantity": subscription.quantity,
        "assigned": subscription.assigned,
        "currency": subscription.currency,
        "total_minor": details.charge_with_tax(subscription) if next_charge_at else None,
        "next_charge_at": next_charge_at.isoformat() if next_charge_at else "",
        "time_zone": subscription.time_zone,
    }


# What stands on a person's bills goes when the last of them is as old, and nothing is to be billed to it any more.
_EMPTY = """
UPDATE commerce_billto t
   SET name = '', street = '', postal_code = '', city = '', vat_number = '', own_reference = '', email = ''
 WHERE t.id IN (
    SELECT b.id FROM commerce_billto b
     WHERE b.id > %(last)s AND (b.name, b.street, b.city, b.email) <> ('', '', '', '')
       AND NOT EXISTS (SELECT FROM commerce_bill x WHERE x.bill_to_id = b.id
                       AND (x.issued_at >= %(bills)s OR x.payer_id IS NULL OR x.status IN ('open', 'past_due')))
       AND NOT EXISTS (SELECT FROM commerce_subscription s WHERE s.bill_to_id = b.id AND s.state <> 'deleted')
       AND NOT EXISTS (SELECT FROM commerce_checkout c WHERE c.bill_to_id = b.id AND c.created_at >= %(checkouts)s)
     ORDER BY b.id LIMIT %(most)s)
RETURNING t.id
"""


def forget_payers(*, at: datetime) -> int:
    """Empty name and address of people on bills older than BILLS_KEPT, and of orders that were never billed, as old as
    AUDIT_KEPT; how many. Number, dates, country and amounts stay for the books. Worker's login, in batches.
    """
    bills, checkouts = at - settings.BILLS_KEPT, at - settings.AUDIT_KEPT
    emptied, ids = 0, [0] * AT_ONCE
    with use_login("worker"):
        while len(ids) == AT_ONCE:
            with atomic(), connection().cursor() as cursor:
                cursor.execute(
                    _EMPTY, {"bills": bills, "checkouts": checkouts, "most": AT_ONCE, "last": max(ids)}
                )
                ids = [row[0] for row in cursor.fetchall()]
            emptied += len(ids)
    return emptied
