"""Queries whose SQL is written once answer as their querysets do, whatever the values (`config.kit.compiled`)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q, QuerySet
from django.test.utils import CaptureQueriesContext

from config.kit.compiled import Compiled
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Tenant, User
from tests.factories import AT, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


def by_id(user_id: int) -> QuerySet[User]:
    return User.objects.filter(pk=user_id)


def test_a_row_is_the_model_as_the_queryset_gives_it(contoso: Tenant) -> None:
    gina = make_user(contoso, name="Gina", purchaser_since=AT)
    person = Compiled(by_id, user_id=int)
    with tenant_atomic(contoso.pk):
        expected = User.objects.get(pk=gina.pk)
        found = person.first(user_id=gina.pk)

    assert found is not None
    assert found == expected
    facts = {name: value for name, value in vars(found).items() if name != "_state"}
    assert facts == {name: value for name, value in vars(expected).items() if name != "_state"}
    assert (found._state.db, found._state.adding) == (expected._state.db, False)


def test_the_values_are_those_of_each_call_and_none_finds_nothing(contoso: Tenant) -> None:
    gina, mike = make_user(contoso), make_user(contoso)
    person = Compiled(by_id, user_id=int)
    with tenant_atomic(contoso.pk):
        found = [person.first(user_id=pk) for pk in (gina.pk, mike.pk, 0, None)]

    assert found == [gina, mike, None, None]


def test_one_value_may_stand_in_several_places_and_unions(contoso: Tenant) -> None:
    early, late = make_user(contoso), make_user(contoso, created_at=AT + timedelta(days=2))

    def around(at: datetime, tenant_id: int) -> QuerySet[User, Any]:
        before = User.objects.filter(created_at__lt=at, tenant_id=tenant_id).values_list("pk", "name")
        return before.union(
            User.objects.filter(~Q(created_at__lt=at), tenant_id=tenant_id).values_list("pk", "email")
        )

    query = Compiled(around, at=datetime, tenant_id=int)
    with tenant_atomic(contoso.pk):
        found = query.rows(at=AT + timedelta(days=1), tenant_id=contoso.pk)

    assert sorted(found) == sorted([(early.pk, early.name), (late.pk, late.email)])


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_it_asks_under_the_login_in_use_behind_its_walls() -> None:
    gina = make_user(make_tenant())
    other = make_tenant()
    person = Compiled(by_id, user_id=int)
    with tenant_atomic(other.pk):
        behind_the_wall = person.first(user_id=gina.pk)
    with use_login("worker"):
        by_the_worker = person.first(user_id=gina.pk)

    assert behind_the_wall is None
    assert by_the_worker == gina


def test_it_costs_one_query_seen_as_any_other(contoso: Tenant) -> None:
    gina = make_user(contoso)
    person = Compiled(by_id, user_id=int)
    with tenant_atomic(contoso.pk), CaptureQueriesContext(connection) as asked:
        person.first(user_id=gina.pk)

    assert len(asked) == 1
    assert str(gina.pk) in asked[0]["sql"]


def test_a_value_that_the_query_does_not_ask_for_is_a_mistake(contoso: Tenant) -> None:
    query = Compiled(lambda user_id, at: by_id(user_id), user_id=int, at=datetime)
    with tenant_atomic(contoso.pk), pytest.raises(TypeError, match="does not ask for at"):
        query.rows(user_id=1, at=AT)
