"""Pages of the admin center that licensing builds; `config.admin_site` puts them under /admin/."""

from django.urls import URLPattern, path

from licensing.views import (
    assigning,
    centralization,
    centralizing,
    dry_run,
    exporting,
    licenses,
    overviews,
    people,
    queue,
    subscription,
    taking_back,
)

urlpatterns: list[URLPattern] = [
    path("billing/your-products/export/", exporting.export, name="your-products-export"),
    path("billing/your-products/<uuid:key>/", subscription.subscription, name="subscription"),
    path("billing/your-products/<uuid:key>/assign/", assigning.assign, name="assign"),
    path("billing/your-products/<uuid:key>/unassign/", assigning.unassign, name="unassign"),
    path("billing/your-products/<uuid:key>/unassign/list/", taking_back.unassign_list, name="unassign-list"),
    path("billing/centralize/", centralizing.choose, name="centralize"),
    path("billing/centralize/target/", centralizing.target, name="centralize-target"),
    path("billing/centralize/check/", dry_run.check, name="centralize-check"),
    path("billing/centralize/people.csv", dry_run.people, name="centralize-people"),
    path("billing/centralize/<uuid:key>/", centralization.centralization, name="centralization"),
    path("billing/centralize/<uuid:key>/undo/", centralization.undo, name="centralization-undo"),
    path("billing/centralize/<uuid:key>/again/", centralization.again, name="centralization-again"),
    path("requests/", queue.requests, name="requests"),
    path("requests/waiting/", queue.waiting, name="requests-waiting"),
    path("requests/decide/", queue.decide_several, name="requests-decide"),
    path("requests/settings/", queue.settings_page, name="requests-settings"),
    path("requests/<uuid:key>/", queue.request_page, name="request"),
    path("people/<uuid:key>/", people.person, name="person"),
    path("people/<uuid:key>/disable/", people.disable, name="person-disable"),
    path("people/<uuid:key>/enable/", people.enable, name="person-enable"),
    path("people/<uuid:key>/delete/", people.delete, name="person-delete"),
    path("licenses/", licenses.licenses, name="licenses"),
    path("licenses/by-product/", overviews.licenses_by_product, name="licenses-by-product"),
    path("licenses/by-purchaser/", overviews.licenses_by_purchaser, name="licenses-by-purchaser"),
    path("licenses/by-purchaser/<uuid:key>/", overviews.purchaser_users, name="purchaser-users"),
    path("licenses/<uuid:key>/", licenses.license_subscription, name="license-subscription"),
    path("licenses/<uuid:key>/assign/", assigning.license_assign, name="license-assign"),
    path("licenses/<uuid:key>/unassign/", assigning.license_unassign, name="license-unassign"),
    path(
        "licenses/<uuid:key>/unassign/list/",
        taking_back.license_unassign_list,
        name="license-unassign-list",
    ),
]
