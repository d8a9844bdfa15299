from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class ConfigConfig(AppConfig):
    name = "config"


class SeatkeeperAdminConfig(SimpleAdminConfig):
    """Django's admin without autodiscovery: `config.admin_site` says what is on it."""

    default_site = "config.admin_site.PortalSite"
