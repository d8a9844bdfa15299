"""Pages of the admin center that are the directory's."""

from django.urls import URLPattern, path

from directory.views import (
    audit,
    customers,
    domains,
    groups,
    jobs,
    people,
    provisioning,
    relationship,
    relationships,
    roles,
    sessions,
    tokens,
)

urlpatterns: list[URLPattern] = [
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<uuid:key>/", jobs.job, name="job"),
    path("jobs/<uuid:key>/progress/", jobs.job_progress, name="job-progress"),
    path("jobs/<uuid:key>/result.csv", jobs.job_rows, name="job-rows"),
    path("jobs/<uuid:key>/file/", jobs.job_file, name="job-file"),
    path("jobs/<uuid:key>/cancel/", jobs.cancel, name="job-cancel"),
    path("jobs/<uuid:key>/pause/", jobs.interrupt, name="job-pause"),
    path("jobs/<uuid:key>/resume/", jobs.resume, name="job-resume"),
    path("people/", people.people, name="people"),
    path("people/settings/", people.settings_page, name="people-settings"),
    path("groups/", groups.groups, name="groups"),
    path("groups/<uuid:key>/", groups.group, name="group"),
    path("people/<uuid:key>/roles/", roles.person_roles, name="person-roles"),
    path("people/<uuid:key>/sessions/", sessions.person_sessions, name="person-sessions"),
    path("roles/", roles.roles, name="roles"),
    path("domains/", domains.domains, name="domains"),
    path("domains/<int:domain_id>/", domains.domain, name="domain"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("audit/<int:entry_id>/", audit.audit_entry, name="audit-entry"),
    path("customers/", customers.customers, name="customers"),
    path("customers/ask/", relationships.ask, name="relationship-ask"),
    path("customers/act-for/", customers.act_for, name="act-for"),
    path("customers/stop/", customers.stop_acting, name="stop-acting"),
    path("relationships/", relationships.relationships, name="relationships"),
    path("relationships/<uuid:key>/", relationship.relationship, name="relationship"),
    path("provisioning/", provisioning.provisioning, name="provisioning"),
    path("tokens/", tokens.organization_tokens, name="tokens"),
]
