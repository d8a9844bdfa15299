"""The admin center at /admin/: Django's admin in unfold's skin, as limited and as full view (product §4, §8).

Who may see which page is declared on each view and enforced by `directory.middleware.AccessMiddleware`;
signing in and out is `directory`'s, so Django's own pages for that are not routed.
"""

from collections.abc import Callable, Iterable
from functools import cached_property, wraps
from importlib.util import find_spec
from typing import Any, override

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.urls.conf import include
from unfold.sites import UnfoldAdminSite

from config import navigation
from config.kit import access
from config.kit.admin import use_frame
from config.kit.errors import NotVisible

# Pages of Django's admin that are not routed: other doors (sign-in), or holes (`r/`, reliability §1 fact 1).
UNROUTED = frozenset(
    {
        "index",
        "login",
        "logout",
        "password_change",
        "password_change_done",
        "view_on_site",
        "app_list",
        "search",
    }
)
# Pages that the pages of models need; `admin_view` and the models' own permissions guard them.
SHARED = frozenset({"autocomplete", "jsi18n"})
# Where each app declares its pages of the admin center, lower apps first.
PAGES = ("directory.admin_urls", "commerce.admin_urls", "licensing.admin_urls")


def pages_of(modules: Iterable[str]) -> list[URLPattern | URLResolver]:
    """The addresses that apps declare in these modules, of those that there are."""
    return [path("", include(name)) for name in modules if find_spec(name)]


class FramedSite(UnfoldAdminSite):  # type: ignore[misc]
    """unfold's frame around own pages: only menu, names and permission depend on the request."""

    final_catch_all_view = False

    def surroundings(self, request: HttpRequest) -> dict[str, Any]:
        """The menu, and the name under the brand."""
        raise NotImplementedError

    @override
    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What unfold's templates read."""
        request.current_app = self.name
        return self._constants | self.surroundings(request)

    @override
    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Nothing: the menu is ours."""
        return []

    @override
    def get_log_entries(self, request: HttpRequest) -> Any:
        """Nothing: the audit trail is `directory`'s."""
        return []

    @cached_property
    def _constants(self) -> dict[str, Any]:
        """unfold's settings as its templates want them, computed once: it costs more than a list's queries."""
        nobody = HttpRequest()
        nobody.META["SCRIPT_NAME"] = ""
        constants: dict[str, Any] = super().each_context(nobody)
        return constants | {"templates": {"navigation": "admin_center/_navigation.html"}}


class PortalSite(FramedSite):
    """One site for purchasers, admins and partners; each page checks its own capability."""

    @override
    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Own pages first: what comes after the models' patterns is swallowed by `<path:object_id>/`."""
        models = super().get_urls() if self._registry else []
        for url in models:
            if getattr(url, "name", None) in SHARED:
                access.signed_in(url.callback)
        return [
            path("", index, name="index"),
            *pages_of(PAGES),
            *(url for url in models if getattr(url, "name", None) not in UNROUTED),
        ]

    @override
    def has_permission(self, request: HttpRequest) -> bool:
        return navigation.is_open_to(getattr(request, "actor", None))

    @override
    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """Not visible to whom the admin center is closed, instead of Django's way to a sign-in page of its own."""
        guarded = super().admin_view(view, cacheable)

        @wraps(view)
        def only_if_open(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if not self.has_permission(request):
                raise NotVisible
            return guarded(request, *args, **kwargs)

        return only_if_open

    @override
    def surroundings(self, request: HttpRequest) -> dict[str, Any]:
        return {
            "site_address": reverse("portal:index"),
            "site_subheader": navigation.subheader(request),
            "sidebar_navigation": navigation.sidebar(request),
            "has_permission": self.has_permission(request),
        }


@access.signed_in
def index(request: HttpRequest) -> HttpResponse:
    """The first page that the person may see; nothing is here for those who see none."""
    address = navigation.first_page(request.actor)  # type: ignore[attr-defined]
    if not address:
        raise NotVisible
    return HttpResponseRedirect(address)


portal = PortalSite(name="portal")
use_frame(portal.each_context)
