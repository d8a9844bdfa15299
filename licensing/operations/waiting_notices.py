"""The mail to who got a seat from the waiting list, queued in the transaction in which they did (product §15)."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from directory.actors import tenant_row
from directory.operations.mail import mails, queue_mails
from licensing.models import WaitingPlace


def queue_served(place_ids: Sequence[int], at: datetime) -> None:
    """To each person whose place in the line got a license: places of one tenant, inside its `tenant_atomic`."""
    if not place_ids:
        return
    rows = WaitingPlace.objects.filter(pk__in=place_ids).select_related("user", "subscription__product")
    places = list(rows.order_by("id"))
    organization = tenant_row(places[0].tenant_id).name
    queue_mails(
        mail
        for place in places
        for mail in mails(
            "seat_from_waiting_list",
            event_key=str(place.key),
            to=[place.user],
            tenant_id=place.tenant_id,
            context={
                "organization": organization,
                "time_zone": place.subscription.time_zone,
                "product": place.subscription.product.name,
                "since_at": place.added_at.isoformat(),
                "link": f"{settings.PUBLIC_URL}/my/licenses/",
            },
            at=at,
        )
    )
