from django.apps import AppConfig


class DirectoryConfig(AppConfig):
    name = "directory"

    def ready(self) -> None:
        from directory.operations.jobs import jobs_seen
        from directory.operations.links import leads_to

        leads_to("portal:job", visible=jobs_seen)
