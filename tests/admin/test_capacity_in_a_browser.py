"""Capacity in Chromium: axe, the policy for scripts and styles, light, dark, on a phone, for an admin and a purchaser."""

from typing import Any

import pytest

from config.kit.clock import now
from licensing.operations.capacity import Measured, report_consumption
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_the_page_is_accessible_and_keeps_to_its_policy(open_page: Any) -> None:
    at = now()
    contoso = make_tenant(name="Contoso")
    gina = make_user(contoso, name="Gina de Groot", roles=("global_admin",))
    pat = make_user(contoso, name="Pat Peters", email="pat@contoso.example", purchaser_since=at)
    make_subscription(contoso, plan=plan("power-apps-per-user"), quantity=4)
    make_subscription(contoso, owner=pat, plan=plan("power-apps-per-user"), quantity=3)
    figures = [
        Measured("CFQ7TTC0LH2H", kind, "Contoso (default)", used_mb, at)
        for kind, used_mb in (("database", 1_600), ("file", 3_000), ("log", 190))
    ]
    report_consumption(actor=actor_of(gina, at=at), measured=figures, at=at)
    problems = []

    for title, user in {"capacity of an admin": gina, "capacity of a purchaser": pat}.items():
        for look in LOOKS:
            page = open_page(user, "/admin/capacity/", look)
            problems += problems_of(page, title, look)
            page.close()

    assert problems == []
