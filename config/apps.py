from typing import override

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class ConfigConfig(AppConfig):
    name = "config"

    @override
    def ready(self) -> None:
        """Make the Celery application the one that tasks are rung by, in every process, and let its beat ring the sweeps,
        which all apps have registered by now; register the checks."""
        from config import celery, deployment
        from config.kit import sweeps

        celery.app.conf.beat_schedule = sweeps.schedule()
        deployment.register_all()


class SeatkeeperAdminConfig(SimpleAdminConfig):
    """Django's admin without autodiscovery: `config.admin_site` says what is on it."""

    default_site = "config.admin_site.PortalSite"
