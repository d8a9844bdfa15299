"""The mail about a run: its users were moved, its money was, or it was undone (product §15)."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Sum

from directory.models import User
from directory.operations.mail import queue_mail
from directory.permissions import Role
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase


def queue_run(run: Centralization, *, stage: str, at: datetime) -> None:
    """To the global and billing admins: `stage` is `moved`, `done` or `undone`. Once for each stage and moment.

    The path of the page, not its name, as in commerce's mails.
    """
    purchases = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    people = CentralizedPerson.objects.filter(tenant_id=run.tenant_id, purchase__in=purchases)
    sums = purchases.aggregate(planned=Sum("refund_minor"), refunded=Sum("refunded_minor"))
    target = run.target
    context: dict[str, Any] = {
        "stage": stage,
        "organization": target.tenant.name,
        "vendor": target.vendor_entity.name,
        "product": target.product.name,
        "by": run.started_by,
        "ending": run.ending,
        "purchase_count": purchases.count(),
        "blocked": purchases.filter(state=CentralizedPurchase.State.BLOCKED).count(),
        "moved": people.filter(outcome=CentralizedPerson.Outcome.MOVED).count(),
        "held": people.filter(outcome=CentralizedPerson.Outcome.HELD).count(),
        "taken_back": people.filter(outcome=CentralizedPerson.Outcome.UNDONE).count(),
        "currency": target.currency,
        "refund_minor": sums["refunded"] or 0 if stage == "done" else sums["planned"] or 0,
        "undo_until_at": run.undo_until.isoformat() if run.undo_until else "",
        "time_zone": target.time_zone,
        "link": f"{settings.PUBLIC_URL}/admin/billing/centralize/{run.key}/",
    }
    admins = (
        User.objects.active()
        .filter(tenant_id=run.tenant_id, role_assignments__role__in=[Role.GLOBAL_ADMIN, Role.BILLING_ADMIN])
        .order_by("id")
        .distinct("id")
    )
    queue_mail(
        "centralization",
        event_key=f"{run.pk}:{stage}:{int(at.timestamp())}",
        to=admins,
        tenant_id=run.tenant_id,
        context=context,
        at=at,
    )
