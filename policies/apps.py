from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "policies"

    def ready(self) -> None:
        from directory.hooks import group_ending
        from policies.operations import data, groups

        group_ending.register(groups.end_exceptions)
        group_ending.register(data.end_data_exceptions)
