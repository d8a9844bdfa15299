"""Encrypt every secret in the database with the newest key: `manage.py rotate_keys` (SECURITY.md)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from directory.operations.secret_keys import CannotBeRead, rotate_keys


class Command(BaseCommand):
    help = (
        "Encrypts clients' secrets of identity providers and second factors anew with the first of FIELD_ENCRYPTION_KEYS. "
        "Put the new key first and restart everything before; drop the old one after."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = rotate_keys()
        except CannotBeRead as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} secrets are encrypted with the newest key.")
