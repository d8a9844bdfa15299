"""All addresses (product §16). What an address asks of its caller is declared on its view."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from config import health, security_txt
from config.admin_site import portal
from config.operator_site import operator

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path(".well-known/security.txt", security_txt.security_txt, name="security-txt"),
    path("", include("config.api")),
    path("admin/", portal.urls),
    path("operator/", operator.urls),
    path("scim/v2/", include("directory.scim.urls")),
    path("", include("directory.urls")),
    path("", include("commerce.urls")),
    path("", include("licensing.urls")),
]

if settings.DEMO:
    urlpatterns.append(path("demo/", include("config.demo.urls")))

handler400 = "config.errors.bad_request"
handler403 = "config.errors.forbidden"
handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"
