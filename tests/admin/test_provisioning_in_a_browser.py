"""The page *Provisioning* in Chromium, in every look, with axe."""

from typing import Any

import pytest

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken
from directory.operations.provisioning import create_account
from directory.operations.tokens import use_token
from directory.profiles import Profile
from tests.admin.browser import LOOKS, problems_of
from tests.factories import make_tenant, make_user, service_token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_the_page_stands_in_every_look_before_and_after_a_directory_is_connected(open_page: Any) -> None:
    contoso = make_tenant(name="Contoso")
    gina = make_user(contoso, name="Gina Gerritsen", roles=("global_admin",))
    wrong = []
    for state in ("empty", "connected"):
        if state == "connected":
            secret = service_token_of(gina, "scim")
            actor = use_token(secret=secret, at=now(), door="scim").actor
            create_account(
                actor=actor,
                profile=Profile(
                    *("adele@contoso.example", "0a21", "Adele Vance", "Adele", "Vance"),
                    *("adele@contoso.example", "", "cloud", True),
                ),
                at=now(),
            )
            with tenant_atomic(contoso.pk):
                assert ApiToken.objects.get().last_used_at is not None
        wrong += [
            problem
            for look in LOOKS
            for problem in problems_of(
                open_page(gina, "/admin/provisioning/", look), f"provisioning {state}", look
            )
        ]

    assert wrong == []
