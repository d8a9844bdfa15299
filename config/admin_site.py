"""The admin center at /admin/: Django's admin in unfold's skin, as limited and as full view (product §4, §8)."""

from unfold.sites import UnfoldAdminSite


class PortalSite(UnfoldAdminSite):
    """One site for purchasers, admins and partners; each page checks its own capability."""


portal = PortalSite(name="portal")
