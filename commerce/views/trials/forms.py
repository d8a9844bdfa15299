"""What the pages of trials share: going on, and what was typed."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from commerce.models import Trial
from commerce.operations.checkouts import BillingDetails
from commerce.queries import checkouts
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row

SEE_OTHER = HTTPStatus.SEE_OTHER
NEW_CARD = "new"
WITH_CARD, WITHOUT_CARD = Trial.Kind.WITH_CARD, Trial.Kind.WITHOUT_CARD


def see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=SEE_OTHER)


def initial_of(request: HttpRequest, actor: Actor, at: datetime) -> dict[str, Any]:
    """What the person typed for the last purchase, else name and country alone."""
    with tenant_atomic(actor):
        saved = checkouts.last_bill_to(actor=actor, at=at)
        initial: dict[str, Any] = {
            "name": actor.label,
            "country": tenant_row(actor.tenant_id).country,
            "quantity": 1,
            "plan": "monthly",
            "intent": uuid.uuid4(),
        }
    if saved is not None:
        names = ("name", "street", "postal_code", "city", "country", "vat_number")
        initial |= {name: getattr(saved, name) for name in names}
    for name in ("plan", "quantity"):
        if request.GET.get(name):
            initial[name] = request.GET[name][:20]
    return initial


def billing_of(values: dict[str, Any]) -> BillingDetails:
    names = ("name", "street", "postal_code", "city", "country", "vat_number", "own_reference")
    return BillingDetails(**{name: values[name] for name in names})


def number(text: str) -> int:
    """Digits as a number; anything else is a number that nothing has."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1
