"""Pages of the vendor's site that are the directory's."""

from django.urls import URLPattern, path

from directory.views import operator_providers, operator_start, operator_work, second_factor, staff_sessions

urlpatterns: list[URLPattern] = [
    path("", operator_start.start, name="index"),
    path("work/mails/", operator_work.mails, name="work-mails"),
    path("work/jobs/", operator_work.jobs, name="work-jobs"),
    path("second-factor/", second_factor.show, name="second-factor"),
    path("second-factor/app/", second_factor.set_up_app, name="factor-app"),
    path("second-factor/passkey/", second_factor.set_up_passkey, name="factor-passkey"),
    path("second-factor/own/", second_factor.manage, name="factors"),
    path("sign-in-changes/", operator_providers.changes, name="sign-in-changes"),
    path("sessions/", staff_sessions.staff_sessions, name="sessions"),
    path("sessions/<uuid:key>/enter/", staff_sessions.staff_session_enter, name="session-enter"),
    path("sessions/<uuid:key>/end/", staff_sessions.staff_session_end, name="session-end"),
]
