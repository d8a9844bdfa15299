"""Pages of the admin center that are the directory's."""

from django.urls import URLPattern, path

from directory.views import customers

urlpatterns: list[URLPattern] = [
    path("customers/", customers.customers, name="customers"),
    path("customers/act-for/", customers.act_for, name="act-for"),
    path("customers/stop/", customers.stop_acting, name="stop-acting"),
]
