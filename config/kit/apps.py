"""The kit: what every app builds on. It imports none of them."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class KitConfig(AppConfig):
    name = "config.kit"
    label = "kit"

    def ready(self) -> None:
        from config.kit import checks, grants

        checks.register_all()
        post_migrate.connect(grants.apply_after_migrate, sender=self)
