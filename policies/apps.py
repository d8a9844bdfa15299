from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "policies"

    def ready(self) -> None:
        from directory.hooks import group_ending
        from directory.names import add_places
        from policies.names import PLACES
        from policies.operations import data, groups

        add_places(PLACES)
        group_ending.register(groups.end_exceptions)
        group_ending.register(data.end_data_exceptions)
