"""Pages of the admin center that licensing builds; `config.admin_site` puts them under /admin/."""

from django.urls import URLPattern, path

from licensing.views import subscription

urlpatterns: list[URLPattern] = [
    path("billing/your-products/<uuid:key>/", subscription.subscription, name="subscription"),
]
