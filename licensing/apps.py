from django.apps import AppConfig


class LicensingConfig(AppConfig):
    name = "licensing"

    def ready(self) -> None:
        from commerce import hooks
        from directory.operations import jobs
        from licensing.operations import assignments, bulk, exporting

        hooks.subscription_activated.register(assignments.give_first_license)
        hooks.subscriptions_deleted.register(assignments.end_assignments)
        jobs.register(exporting.EXPORT)
        jobs.register(bulk.ASSIGN_MANY)
        jobs.register(bulk.UNASSIGN_MANY)
