from django.apps import AppConfig


class PoliciesConfig(AppConfig):
    name = "policies"

    def ready(self) -> None:
        from directory.hooks import group_ending
        from policies.operations import groups

        group_ending.register(groups.end_exceptions)
