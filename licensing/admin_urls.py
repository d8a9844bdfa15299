"""Pages of the admin center that licensing builds; `config.admin_site` puts them under /admin/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
