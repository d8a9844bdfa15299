"""Pages of the vendor's site that commerce builds; `config.operator_site` puts them under /operator/."""

from django.urls import URLPattern, path

from commerce.views import (
    operator_agreements,
    operator_billing,
    operator_cases,
    operator_catalogue,
    operator_import,
    operator_organizations,
    operator_prices,
    operator_solutions,
    operator_work,
)

urlpatterns: list[URLPattern] = [
    path("organizations/", operator_organizations.organizations, name="organizations"),
    path("organizations/new/", operator_organizations.new, name="organization-new"),
    path("organizations/<int:tenant_id>/", operator_organizations.one, name="organization"),
    path("organizations/<int:tenant_id>/change/", operator_organizations.change, name="organization-change"),
    path("catalogue/", operator_catalogue.catalogue, name="catalogue"),
    path("catalogue/new/", operator_catalogue.new, name="product-new"),
    path("catalogue/import/", operator_import.catalogue_import, name="catalogue-import"),
    path("catalogue/products/<slug:slug>/", operator_catalogue.product, name="product"),
    path("catalogue/products/<slug:slug>/links/", operator_catalogue.links, name="product-links"),
    path("catalogue/products/<slug:slug>/prices/", operator_prices.prices, name="prices"),
    path("catalogue/prices/<int:price_id>/", operator_prices.price, name="price"),
    path("billing/", operator_billing.billing, name="billing"),
    path("work/purchases/", operator_work.purchases, name="work-purchases"),
    path("work/charges/", operator_work.charges, name="work-charges"),
    path("work/bills/", operator_work.bills, name="work-bills"),
    path("work/refunds/", operator_work.refunds, name="work-refunds"),
    path("work/events/", operator_work.events, name="work-events"),
    path("cases/", operator_cases.cases, name="cases"),
    path("cases/<int:case_id>/", operator_cases.case, name="case"),
    path("cases/<int:case_id>/files/<uuid:file>/", operator_cases.case_file, name="case-file"),
    path("solutions/", operator_solutions.solutions, name="solutions"),
    path("agreements/", operator_agreements.agreements, name="agreements"),
    path("agreements/new/", operator_agreements.new, name="agreement-new"),
    path("agreements/<int:agreement_id>/", operator_agreements.agreement, name="agreement"),
]
