"""All addresses as they are in demo mode: the tests' own settings are not in it."""

from django.urls import include, path

from config import urls
from config.demo import urls as demo_urls

urlpatterns = [*urls.urlpatterns, path("demo/", include(demo_urls))]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
