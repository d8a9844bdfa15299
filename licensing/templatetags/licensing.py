"""Holders of a subscription on pages of lower apps: `{% load licensing %}{% license_holders subscription %}`."""

from typing import Any

from django import template

from commerce.models import Subscription
from licensing.views.licenses import holders_context

register = template.Library()


@register.inclusion_tag("licensing/_holders.html", takes_context=True)
def license_holders(context: dict[str, Any], subscription: Subscription) -> dict[str, Any]:
    """The card "Who has a license" with its search, pages and Unassign; one query, two when searched."""
    request = context["request"]
    shown = holders_context(request, request.actor, subscription)
    return shown | {"request": request, "actor": request.actor}
