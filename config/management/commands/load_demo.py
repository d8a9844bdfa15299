from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.kit.clock import now


class Command(BaseCommand):
    help = "Make the demo's organizations, people and purchases; demo mode only. Again: changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("Demo data is for demo mode; set DEMO=true.")
        from config.demo.data import load

        load(now())
