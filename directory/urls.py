"""Sign-in, the account menu and what is under /my/. Of allauth's addresses only login and callback exist, under our own names."""

from django.urls import URLPattern, path

from directory.views import accounts, connect, inbox, languages, notifications, sessions, sign_in, tokens

app_name = "directory"
urlpatterns: list[URLPattern] = [
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-in/there/", sign_in.try_out, name="try-out"),
    path("sign-in/again/", sign_in.confirm, name="confirm"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("my/accounts/", accounts.accounts, name="accounts"),
    path("my/notices/", inbox.notices, name="notices"),
    path("my/notices/<int:notice_id>/", inbox.notice, name="notice"),
    path("my/notifications/", notifications.notifications, name="notifications"),
    path("my/notifications/off/<str:token>/", notifications.switch_off_by_link, name="switch-off"),
    path("my/language/", languages.my_language, name="language"),
    path("language/", languages.switch, name="switch-language"),
    path("my/sign-in/", connect.connect, name="connect"),
    path("my/sessions/", sessions.my_sessions, name="sessions"),
    path("my/tokens/", tokens.personal_tokens, name="tokens"),
    path("accounts/oidc/<str:key>/login/", sign_in.provider_login, name="provider-login"),
    path("accounts/oidc/<str:key>/login/callback/", sign_in.provider_callback, name="provider-callback"),
]
