from typing import override

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class ConfigConfig(AppConfig):
    name = "config"

    @override
    def ready(self) -> None:
        """Make the Celery application the one that tasks are rung by, in every process; register the checks."""
        import config.celery  # noqa: F401
        from config import deployment

        deployment.register_all()


class SeatkeeperAdminConfig(SimpleAdminConfig):
    """Django's admin without autodiscovery: `config.admin_site` says what is on it."""

    default_site = "config.admin_site.PortalSite"
