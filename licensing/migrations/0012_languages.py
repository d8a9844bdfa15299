"""Holders are told in the language that they chose, else as the directory says, else in the organization's."""

from importlib import import_module

from django.db import migrations

before = import_module("licensing.migrations.0011_longer_lists")

TELL = before.TELL.replace("coalesce(nullif(u.language, ''), 'en')", "coalesce(nullif(u.chosen_language, ''), u.language)")


class Migration(migrations.Migration):
    dependencies = [("licensing", "0011_longer_lists"), ("directory", "0021_languages")]

    operations = [migrations.RunSQL(TELL, before.TELL)]
