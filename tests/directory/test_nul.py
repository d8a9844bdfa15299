"""PostgreSQL takes no text that holds NUL: whoever sends one where no form says so has sent what cannot be read."""

from typing import Any

import pytest

from tests.factories import client_of, make_tenant, make_user

pytestmark = pytest.mark.django_db

REFUSED = "This request cannot be read."


@pytest.mark.parametrize(
    ("address", "parameters"),
    [("/admin/customers/", {"q": "a\0"}), ("/admin/billing/centralize/", {"product": "\0"})],
)
def test_a_parameter_that_holds_it_is_refused(address: str, parameters: dict[str, Any]) -> None:
    answer = client_of(make_user(make_tenant(), roles=("global_admin",))).get(address, parameters)

    assert (answer.status_code, REFUSED in answer.text) == (422, True)


def test_a_form_that_holds_it_is_refused() -> None:
    admin = client_of(make_user(make_tenant(), roles=("global_admin",)))
    fields = {"product": "a\0", "title": "How to", "url": "https://contoso.example/", "action": "add"}

    answer = admin.post("/admin/training/", fields)

    assert (answer.status_code, REFUSED in answer.text) == (422, True)
