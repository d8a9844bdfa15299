"""The crossing `search_subscriptions`: what it finds, and what it never gives."""

import pytest
from django.db import connections

from commerce.queries.subscriptions import found_ids
from config.kit.tenancy import tenant_atomic
from tests.factories import make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso():
    return make_tenant()


@pytest.fixture
def bought(contoso):
    return make_subscription(
        contoso, owner=make_user(contoso, name="Zoë 100% O'Neill_x", email="zoe@x.example")
    )


@pytest.mark.parametrize("words", [["zoe"], ["o'neill"], ["power", "zoe@x.example"], ["100%"], ["neill_x"]])
def test_finds_by_every_word(contoso, bought, words):
    with tenant_atomic(contoso.pk):
        assert found_ids(words) == [bought.pk]


@pytest.mark.parametrize(
    "words",
    [
        ["zoe", "visio"],
        ["%"],
        ["_"],
        ["z_e"],
        ["zoe%x"],
        ["\\"],
        ["' OR true --"],
        [""],
        [],
        ["zoe", "nobody"],
    ],
)
def test_wildcards_and_quotes_are_plain_text(contoso, bought, words):
    with tenant_atomic(contoso.pk):
        found = found_ids(words)

    # `%` alone stands in the name; every other word is in nothing.
    assert found == ([bought.pk] if words in (["%"], ["_"]) else [])


def test_gives_nothing_of_another_tenant(contoso, bought):
    with tenant_atomic(make_tenant().pk):
        assert found_ids(["zoe"]) == []


def test_gives_nothing_without_a_tenant(contoso, bought):
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT set_config('seatkeeper.tenant_id', '', true)")
        cursor.execute("SELECT count(*) FROM search_subscriptions(ARRAY['zoe'], 10)")
        assert cursor.fetchone() == (0,)


def test_gives_no_more_than_asked(contoso):
    for _ in range(3):
        make_subscription(contoso)

    with tenant_atomic(contoso.pk), connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM search_subscriptions(ARRAY['power'], 2)")
        assert cursor.fetchone() == (2,)
