"""People of the vendor's staff, as they are once the second factor was shown."""

from dataclasses import replace

import pytest

from config.kit.actors import Actor
from directory.models import Tenant
from directory.staff import staff_grants
from tests.factories import actor_of, make_tenant, make_user


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor")


@pytest.fixture
def sven(vendor: Tenant) -> Actor:
    """Works in support."""
    return replace(actor_of(make_user(vendor, name="Sven Larsen")), grants=staff_grants({"staff_support"}))


@pytest.fixture
def olga(vendor: Tenant) -> Actor:
    """Works at the catalogue."""
    return replace(actor_of(make_user(vendor, name="Olga Kuiper")), grants=staff_grants({"staff_catalogue"}))
