"""The embedded servers (config/demo/servers.py)."""

import pytest
from django.db import connections


@pytest.mark.django_db(databases=["default", "owner", "worker"])
def test_each_alias_uses_its_own_login():
    found = {}
    for alias in ("default", "owner", "worker"):
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_user")
            found[alias] = cursor.fetchone()[0]

    assert found == {"default": "seatkeeper_app", "owner": "seatkeeper_owner", "worker": "seatkeeper_worker"}
