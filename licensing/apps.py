from django.apps import AppConfig


class LicensingConfig(AppConfig):
    name = "licensing"

    def ready(self) -> None:
        from commerce import hooks
        from commerce.queries.standing import licenses_told_by
        from directory.hooks import group_renamed, membership_changed, person_left
        from directory.names import add_places
        from directory.operations import jobs
        from directory.operations.links import leads_to
        from directory.trail import add_words
        from licensing import tasks  # noqa: F401
        from licensing.names import PLACES
        from licensing.operations import (
            assignments,
            bulk,
            centralizing,
            exporting,
            groups,
            leaving,
        )
        from licensing.queries.centralizing import runs_seen
        from licensing.queries.requests import held_and_asked, requests_seen
        from licensing.views.audit_wording import AUDIT_WORDS

        add_places(PLACES)
        hooks.subscription_activated.register(assignments.give_first_license)
        hooks.subscriptions_deleted.register(assignments.end_assignments)
        person_left.register(leaving.free_licenses)
        membership_changed.register(groups.note_change)
        group_renamed.register(groups.follow_name)
        jobs.register(exporting.EXPORT)
        jobs.register(bulk.ASSIGN_MANY)
        jobs.register(bulk.UNASSIGN_MANY)
        jobs.register(centralizing.MOVE)
        jobs.register(centralizing.UNDO)
        add_words(AUDIT_WORDS)
        licenses_told_by(held_and_asked)
        leads_to("portal:request", visible=requests_seen)
        leads_to("portal:centralization", visible=runs_seen)
