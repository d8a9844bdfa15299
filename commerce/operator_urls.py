"""Pages of the vendor's site that commerce builds; `config.operator_site` puts them under /operator/."""

from django.urls import URLPattern, path

from commerce.views import operator_billing, operator_organizations, operator_work

urlpatterns: list[URLPattern] = [
    path("organizations/", operator_organizations.organizations, name="organizations"),
    path("organizations/new/", operator_organizations.new, name="organization-new"),
    path("organizations/<int:tenant_id>/", operator_organizations.one, name="organization"),
    path("organizations/<int:tenant_id>/change/", operator_organizations.change, name="organization-change"),
    path("billing/", operator_billing.billing, name="billing"),
    path("work/purchases/", operator_work.purchases, name="work-purchases"),
    path("work/charges/", operator_work.charges, name="work-charges"),
    path("work/refunds/", operator_work.refunds, name="work-refunds"),
    path("work/events/", operator_work.events, name="work-events"),
]
