"""Holders of a subscription on pages of lower apps: `{% load licensing %}{% license_holders subscription %}`."""

from typing import Any

from django import template

from commerce.models import Subscription

register = template.Library()


@register.inclusion_tag("licensing/_holders.html", takes_context=True)
def license_holders(context: dict[str, Any], subscription: Subscription) -> dict[str, Any]:
    """The card "Who has a license" with its search, pages and Unassign; one query, two when searched."""
    # Django reads tag libraries while other modules are half imported; views are whole by the first rendering.
    from licensing.views.licenses import holders_context

    request = context["request"]
    shown = holders_context(request, request.actor, subscription)
    return shown | {"request": request, "actor": request.actor}
