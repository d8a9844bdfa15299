"""The start page, everyone's own licenses, and the products behind the license check (product §16)."""

from django.urls import URLPattern, path

from licensing.views import apps, embed, my_data, requests, workspaces

app_name = "licensing"
urlpatterns: list[URLPattern] = [
    path("", apps.home, name="home"),
    path("my/", apps.my, name="my"),
    path("my/licenses/", apps.my_licenses, name="my-licenses"),
    path("my/licenses/<uuid:key>/give-back/", apps.give_back, name="give-back"),
    path("my/data/", my_data.my_data, name="my-data"),
    path("my/requests/", requests.own_requests, name="requests"),
    path("my/requests/ask/<slug:slug>/", requests.ask, name="request"),
    path("my/requests/<uuid:key>/withdraw/", requests.withdraw, name="request-withdraw"),
    path("requests/decide/<str:token>/", requests.decide_by_link, name="request-decide"),
    path("apps/<slug:slug>/", apps.app, name="app"),
    path("embed/prompt", embed.prompt, name="embed-prompt"),
    path("embed/launcher", embed.launcher, name="embed-launcher"),
    path("apps/<slug:slug>/workspaces/", workspaces.make, name="workspace-make"),
    path("apps/<slug:slug>/workspaces/<uuid:key>/sharing/", workspaces.share, name="workspace-share"),
]
