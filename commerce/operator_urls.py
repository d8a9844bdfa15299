"""Pages of the vendor's site that commerce builds; `config.operator_site` puts them under /operator/."""

from django.urls import URLPattern, path

from commerce.views import operator_billing, operator_organizations

urlpatterns: list[URLPattern] = [
    path("organizations/", operator_organizations.organizations, name="organizations"),
    path("organizations/new/", operator_organizations.new, name="organization-new"),
    path("organizations/<int:tenant_id>/", operator_organizations.one, name="organization"),
    path("organizations/<int:tenant_id>/change/", operator_organizations.change, name="organization-change"),
    path("billing/", operator_billing.billing, name="billing"),
]
