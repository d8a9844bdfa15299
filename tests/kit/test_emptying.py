"""What a test has committed is gone before the next begins; what was there before is there as it was."""

import pytest
from django.db import models
from django.test import TransactionTestCase

from commerce.models import Price, Product
from config.kit.tenancy import atomic, use_login
from directory.models import AuditEntry, Tenant
from tests.factories import make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def rows(model: type[models.Model]) -> list[dict[str, object]]:
    with use_login("owner"), atomic():
        return list(model._base_manager.order_by("pk").values())


def leave_the_test() -> None:
    TransactionTestCase("run")._fixture_teardown()


def test_rows_that_nothing_may_delete_are_gone() -> None:
    tenant = make_tenant(name="Contoso")
    make_subscription(tenant, owner=make_user(tenant))

    leave_the_test()

    assert rows(Tenant) == rows(AuditEntry) == []


def test_a_changed_catalogue_is_put_back() -> None:
    products, prices = rows(Product), rows(Price)
    with use_login("owner"), atomic():
        Product.objects.update(name="Another")
        Price.objects.filter(pk=prices[0]["id"]).delete()

    leave_the_test()

    assert (rows(Product), rows(Price)) == (products, prices)
    assert products
