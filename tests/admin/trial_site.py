"""An admin site over two related walled models, for the tests of `ScopedModelAdmin` alone."""

from django.http import HttpRequest
from django.urls import include, path

from config.admin_site import PortalSite
from config.kit.admin import ScopedInline, ScopedModelAdmin
from directory.models import Group, GroupMembership, User
from directory.permissions import Capability

recorded: list[tuple[str, str]] = []


class Recording(ScopedModelAdmin):
    view_capability = Capability.SEE_PEOPLE
    change_capability = Capability.MANAGE_ADMINS

    def record_change(self, request: HttpRequest, obj: object, what: str) -> None:
        recorded.append((what, str(obj)))


class MembershipInline(ScopedInline):
    model = GroupMembership
    fields = ("user",)
    view_capability = Capability.SEE_PEOPLE
    change_capability = Capability.MANAGE_ADMINS


class GroupAdmin(Recording):
    fields = ("name",)
    list_display = ("name",)
    search_fields = ("name",)
    inlines = (MembershipInline,)


class MembershipAdmin(Recording):
    fields = ("group", "user")
    list_display = ("group", "user")
    list_filter = ("group",)
    autocomplete_fields = ("user",)


class UserAdmin(Recording):
    fields = ("name", "email")
    search_fields = ("name",)
    ordering = ("sort_name",)


site = PortalSite(name="trial")
site.register(Group, GroupAdmin)
site.register(GroupMembership, MembershipAdmin)
site.register(User, UserAdmin)


urlpatterns = [path("trial/", site.urls), path("", include("config.urls"))]
