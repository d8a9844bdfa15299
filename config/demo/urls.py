"""The pages of the demo (product §16), included in demo mode only."""

from django.urls import URLPattern, path

from config.demo import views

app_name = "demo"
urlpatterns: list[URLPattern] = [
    path("", views.accounts, name="index"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("clock/", views.clock, name="clock"),
    path("mail/", views.mails, name="mails"),
    path("mail/<slug:key>/", views.mail, name="mail"),
    path("mail/<slug:key>/html/", views.mail_html, name="mail-html"),
    path("cards/", views.cards, name="cards"),
    path("names/", views.names, name="names"),
]
