"""A leaver stops further charges, without signing in: they know a bill and the card it was paid with (product §11)."""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils.translation import gettext_lazy as _

from commerce.models import Bill, Subscription
from commerce.operations.mail_facts import billing_admins, purchase_link
from commerce.operations.recurring import SWITCHABLE, set_recurring_billing
from commerce.queries import details
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError
from config.kit.tenancy import connection, tenant_atomic
from directory.models import User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.permissions import OWN, Capability

NUMBER_LENGTH = 30
_NOBODY = 0
# Longer than what is compared with it.
_NO_DIGITS = "no digits"
TRIES = 3


class NotStopped(DomainError):
    """Bill and card do not fit together, or the person has not left: one answer, whatever was wrong."""

    code = "not_stopped"
    status = 422
    message = _(
        "We cannot stop charges with these details. Nothing was changed. Look at the bill: the number is at its top,"
        " and the card's last four digits are beside Paid. This works only once your account is disabled or deleted."
    )


@dataclass(frozen=True, slots=True)
class Stopped:
    """What holds now. `still_minor` is charged until `ends_at`, month by month; nothing after that."""

    product: str
    ends_at: datetime | None
    time_zone: str
    still_minor: int
    currency: str


def stop_charges(*, number: str, last4: str, at: datetime) -> Stopped:
    """Switch recurring billing off for the subscription of a card bill, asked by who left and paid it.

    Whoever asks proves nothing but that they hold the bill and know the card: it stops charges, and nothing else.
    Wrong numbers, wrong digits, and people who are still here take the same steps and get the same answer. Again is
    no change. The global and billing admins are told. Not inside a transaction.

    :raises NotStopped: whatever was wrong.
    """
    number = number.strip().upper()
    tenant_id, payer_id, key = _look(number, last4.strip()[:8])
    with tenant_atomic(tenant_id):
        payer: User = User.objects.get(pk=payer_id)
    for left in reversed(range(TRIES)):
        try:
            return _stop(payer, key, number, at)
        except Conflict:
            # Somebody changed it at that moment.
            if not left:
                raise NotStopped from None
    raise NotStopped


def _look(number: str, last4: str) -> tuple[int, int, uuid.UUID]:
    """Tenant, payer and subscription. Two queries and one comparison, whether or not there is such a bill.

    :raises NotStopped: bill, card and person do not fit together.
    """
    given = last4.encode("utf-8", "surrogatepass")
    with connection().cursor() as cursor:
        cursor.execute("SELECT tenant_id, bill_id FROM tenant_of_bill_number(%s)", [_clean(number)])
        tenant_id, bill_id = cursor.fetchone() or (_NOBODY, _NOBODY)
    with tenant_atomic(tenant_id):
        rows = list(
            Bill.objects.filter(pk=bill_id, collection=Bill.Collection.CARD, payer__isnull=False)
            .exclude(payer__status=User.Status.ACTIVE)
            .filter(subscription__owner_user=F("payer"))
            .values_list(
                "payer_id", "subscription__key", "payments__card__last4", "subscription__card__last4"
            )
        )
    fits = False
    for _payer_id, _key, paid_with, pays_with in rows or [(_NOBODY, None, None, None)]:
        # A bill that nobody paid yet: the card that is to pay it.
        fits |= secrets.compare_digest((paid_with or pays_with or _NO_DIGITS).encode(), given)
    if not rows or not fits:
        raise NotStopped
    payer_id, key, *_cards = rows[0]
    return tenant_id, payer_id, key


def _clean(number: str) -> str:
    """What can be asked of the database; anything else is nobody's."""
    return number if number.isascii() and number.isprintable() and len(number) <= NUMBER_LENGTH else ""


def _stop(payer: User, key: uuid.UUID, number: str, at: datetime) -> Stopped:
    actor = _actor(payer)
    with tenant_atomic(actor):
        before: Subscription = Subscription.objects.select_related("product").get(key=key)
        if before.state not in SWITCHABLE or not before.recurring_billing:
            return _stopped(before)
        after = set_recurring_billing(actor=actor, key=key, on=False, version=before.version, at=at)
        audit.record(
            actor,
            "commerce.recurring_billing.stopped_by_leaver",
            at=at,
            target_type="subscription",
            target_id=after.key,
            target_label=str(after),
            after={"bill": number},
        )
        _tell(after, payer, number, at)
        return _stopped(after)


def _actor(payer: User) -> Actor:
    """The leaver, with the right to switch off what is theirs, and no other."""
    return Actor(
        user_id=payer.pk,
        tenant_id=payer.tenant_id,
        home_tenant_id=payer.tenant_id,
        label=f"{payer.name} (form)"[:200],
        grants={Capability.SEE_PURCHASES: OWN, Capability.MANAGE_PURCHASES: OWN},
        correlation_id=uuid.uuid4().hex,
    )


def _stopped(subscription: Subscription) -> Stopped:
    is_running = subscription.state in SWITCHABLE
    return Stopped(
        product=subscription.product.name,
        ends_at=subscription.term_end if is_running else None,
        time_zone=subscription.time_zone,
        still_minor=details.still_to_be_charged(subscription) if is_running else 0,
        currency=subscription.currency,
    )


def _tell(subscription: Subscription, payer: User, number: str, at: datetime) -> None:
    context: dict[str, Any] = {
        "organization": subscription.tenant.name,
        "vendor": subscription.vendor_entity.name,
        "product": subscription.product.name,
        "name": payer.name,
        "bill_number": number,
        "quantity": subscription.quantity,
        "assigned": subscription.assigned,
        "ends_at": subscription.term_end.isoformat(),
        "time_zone": subscription.time_zone,
        "link": purchase_link(subscription),
    }
    queue_mail(
        "charges_stopped",
        event_key=f"{subscription.key}:{subscription.version}",
        to=billing_admins(subscription.tenant_id),
        tenant_id=subscription.tenant_id,
        context=context,
        at=at,
    )
