"""The vendor's own site at /operator/ (product §2, §16): unfold's frame around pages that the apps declare.

Who may see which page is declared on each view and enforced by `directory.middleware.AccessMiddleware`: it is not
there for anybody but the vendor's staff, and for them once they have shown their second factor.
"""

from typing import Any, override

from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, reverse
from django.utils.translation import gettext_lazy as _

from config import operator_navigation as navigation
from config.admin_site import FramedSite, pages_of
from config.kit.operator import use_operator_frame

# Where each app declares its pages of the vendor's site, lower apps first.
PAGES = (
    "directory.operator_urls",
    "policies.operator_urls",
    "commerce.operator_urls",
    "licensing.operator_urls",
)


class OperatorSite(FramedSite):
    """One site for all of the vendor's staff; each page checks its own capability."""

    @override
    def get_urls(self) -> list[URLPattern | URLResolver]:
        return pages_of(PAGES)

    @override
    def has_permission(self, request: HttpRequest) -> bool:
        return navigation.is_open_to(getattr(request, "actor", None))

    @override
    def surroundings(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "site_address": reverse("operator:index"),
            "site_subheader": _("The vendor's staff"),
            "menu_label": _("Staff menu"),
            "sidebar_navigation": navigation.sidebar(request),
            "has_permission": self.has_permission(request),
        }


operator = OperatorSite(name="operator")
use_operator_frame(operator.each_context)
