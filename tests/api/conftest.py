"""Whose calls most of them are."""

import pytest

from directory.models import Tenant, User
from tests.factories import AT, make_tenant, make_user


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat", purchaser_since=AT)
