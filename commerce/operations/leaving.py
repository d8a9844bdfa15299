"""What somebody who leaves bought (product §11): who is told, and whose name it no longer carries."""

from django.conf import settings

from commerce.models import Subscription
from commerce.operations.mail_facts import billing_admins
from commerce.queries import details
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.hooks import Departure
from directory.models import Tenant
from directory.operations.mail import queue_mail

# So many purchases are named in the mail; the page behind its link lists all of them.
MOST_NAMED = 20


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


# The copies that lists sort and search by say what the person's row says.
_FORGET = """
UPDATE commerce_subscription s
   SET purchaser_name = u.name, purchaser_sort = u.sort_name, search_text = s.product_sort || ' ' || u.sort_name
  FROM directory_user u
 WHERE u.id = s.purchaser_id AND u.status = 'deleted' AND s.purchaser_name <> u.name
   AND (%(only)s::bigint IS NULL OR u.id = %(only)s AND u.tenant_id = %(tenant)s)
"""

# Who asked support, and who wrote what in a case.
_FORGET_IN_CASES = """
UPDATE {table} c SET {name} = u.name
  FROM directory_user u
 WHERE u.id = c.{name}_id AND u.tenant_id = c.tenant_id AND u.status = 'deleted' AND c.{name} <> u.name
   AND (%(only)s::bigint IS NULL OR u.id = %(only)s AND u.tenant_id = %(tenant)s)
"""
_FORGETTING = (
    _FORGET,
    _FORGET_IN_CASES.format(table="commerce_supportcase", name="asked_by"),
    _FORGET_IN_CASES.format(table="commerce_casemessage", name="author"),
)


def forget_name(departure: Departure) -> None:
    """Call a deleted purchaser *Former user* on what they bought, too; registered on `person_left`."""
    if not departure.is_deletion:
        return
    with tenant_atomic(departure.actor), connection().cursor() as cursor:
        for statement in _FORGETTING:
            cursor.execute(statement, {"only": departure.user.pk, "tenant": departure.actor.tenant_id})


def forget_names() -> int:
    """The sweep: what a process that died left to do; how many rows. Under the worker's login."""
    forgotten = 0
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        for statement in _FORGETTING:
            cursor.execute(statement, {"only": None, "tenant": None})
            forgotten += int(cursor.rowcount)
    return forgotten
