from django.apps import AppConfig


class DirectoryConfig(AppConfig):
    name = "directory"

    def ready(self) -> None:
        from config.kit.operator import add_looks
        from directory import tasks  # noqa: F401
        from directory.hooks import person_left
        from directory.names import OWN, add_places
        from directory.operations import names
        from directory.operations.jobs import jobs_seen
        from directory.operations.links import leads_to
        from directory.queries import groups_seen, people_seen
        from directory.queries.partners import relationships_seen
        from directory.staff import StaffCapability
        from directory.views import operator_providers, operator_work

        add_places(OWN)
        person_left.register(names.forget_name)
        leads_to("portal:job", visible=jobs_seen)
        leads_to("portal:person", visible=people_seen)
        leads_to("portal:group", visible=groups_seen)
        leads_to("portal:relationship", visible=relationships_seen)
        add_looks(StaffCapability.OPERATE_TENANTS, operator_providers.looks)
        add_looks(StaffCapability.OPERATE_WORK, operator_work.looks)
