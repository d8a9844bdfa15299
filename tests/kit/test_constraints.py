"""Which constraint refused a statement."""

import pytest
from django.db import IntegrityError

from config.kit.errors import constraint_of
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import Group
from tests.factories import AT, make_tenant

pytestmark = pytest.mark.django_db


def test_the_database_names_the_constraint() -> None:
    tenant = make_tenant()
    with tenant_atomic(tenant.pk):
        Group.objects.create(tenant=tenant, name="Sales", created_at=AT)
        with pytest.raises(IntegrityError) as refused, atomic():
            Group.objects.create(tenant=tenant, name="Sales", created_at=AT)

    assert constraint_of(refused.value) == "directory_group_name"


def test_a_refusal_that_names_none_is_none() -> None:
    assert constraint_of(IntegrityError()) == ""
