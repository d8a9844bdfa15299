"""Addresses under `/scim/v2/` (RFC 7644 §3.2)."""

from django.urls import URLPattern, path

from directory.scim import views

app_name = "scim"
urlpatterns: list[URLPattern] = [
    path("", views.found, name="root"),
    path(".search", views.searched, name="root-search"),
    path("ServiceProviderConfig", views.described, name="service-provider-config"),
    path("ResourceTypes", views.described, name="resource-types"),
    path("ResourceTypes/<str:name>", views.described, name="resource-type"),
    path("Schemas", views.described, name="schemas"),
    path("Schemas/<str:name>", views.described, name="schema"),
    path("Bulk", views.bulk, name="bulk"),
    path("Me", views.me, name="me"),
    path("Users", views.listed, name="users"),
    path("Users/.search", views.searched, name="users-search"),
    path("Users/<str:key>", views.one, name="user"),
    path("Groups", views.listed, name="groups"),
    path("Groups/.search", views.searched, name="groups-search"),
    path("Groups/<str:key>", views.one, name="group"),
]
