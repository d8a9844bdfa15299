"""Every address declares who may use it (architecture §3): the exempt list is empty and stays so."""

from collections import Counter

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from config.kit.access import rules_of
from directory.permissions import ROLES, TABLE, Capability, Row, grants_for
from directory.staff import STAFF_ROLES, STAFF_TABLE, StaffCapability, StaffRole, StaffRow, staff_grants
from directory.tokens import SCOPES
from tests.access.counting import lines


def named_in(capabilities):
    return {value for key, value in vars(capabilities).items() if key.isupper()}


def walk(resolver=None, namespace="", path=""):
    """(name with namespaces, route, callback) of every address there is."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = path + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from walk(entry, inner, route)
        else:
            assert isinstance(entry, URLPattern)
            yield f"{namespace}{entry.name}", route, entry.callback


@pytest.mark.parametrize(("name", "route", "callback"), walk(), ids=lambda v: v if isinstance(v, str) else "")
def test_every_address_has_a_rule_and_a_name(name, route, callback):
    rules = rules_of(callback)

    assert rules, f"{route} declares no rule"
    assert not name.endswith("None"), f"{route} has no name"
    known = named_in(Capability) | named_in(StaffCapability)
    for rule in rules.values():
        assert {rule.sees, rule.may} - {""} <= known
        assert (rule.audience == "token") == bool(rule.scope)
        assert rule.audience == "token" or (rule.audience == "capability") == bool(rule.sees)
        assert rule.scope in {"", *SCOPES}


def test_names_are_unique():
    names = [name for name, _route, _callback in walk()]

    assert len(names) == len(set(names))


def test_the_capability_table_is_complete():
    assert set(TABLE) == named_in(Capability)
    for row in TABLE.values():
        assert isinstance(row, Row)
        assert all(scopes <= {"own", "org", "all"} for scopes in row[:-1])


def test_the_table_of_the_vendors_staff_is_complete():
    assert set(STAFF_TABLE) == named_in(StaffCapability)
    for row in STAFF_TABLE.values():
        assert isinstance(row, StaffRow)
        assert all(cell in (True, False) for cell in row)


def test_no_capability_of_the_staff_is_one_of_a_tenants_roles():
    assert named_in(StaffCapability).isdisjoint(TABLE)
    assert set(STAFF_ROLES).isdisjoint(ROLES)


def test_the_staff_may_do_what_their_work_needs_and_no_more():
    shared = {"operate", "operate_solutions"}
    support = shared | {"see_tenants", "open_staff_session", "operate_work", "operate_cases"}

    assert set(staff_grants({StaffRole.CATALOGUE})) == shared | {"operate_catalogue"}
    assert set(staff_grants({StaffRole.SUPPORT})) == support
    assert set(staff_grants({StaffRole.SUPERUSER})) == set(STAFF_TABLE)
    assert set(staff_grants({StaffRole.CATALOGUE, StaffRole.SUPPORT})) == support | {"operate_catalogue"}
    assert staff_grants(frozenset()) == {}


@pytest.mark.parametrize("role", ROLES)
def test_a_delegated_role_gives_no_more_than_the_role_at_home(role):
    at_home = grants_for(frozenset({role}), is_purchaser=False, is_guest=False, is_partner=False)
    delegated = grants_for(frozenset({role}), is_purchaser=False, is_guest=False, is_partner=True)

    for capability, scopes in delegated.items():
        assert TABLE[capability].partner
        assert scopes <= at_home[capability]


def test_a_delegated_global_admin_lacks_what_is_never_delegated():
    delegated = grants_for(frozenset({"global_admin"}), is_purchaser=False, is_guest=False, is_partner=True)

    never = {
        Capability.BUY,
        Capability.PAY_BILLS,
        Capability.REQUEST_LICENSE,
        Capability.SEE_SETTINGS,
        Capability.MANAGE_SETTINGS,
        Capability.MANAGE_RELATIONSHIPS,
        Capability.SERVICE_TOKENS_ALL,
        Capability.EDIT_CONTACT_TEXT,
    }
    assert never.isdisjoint(delegated)


@pytest.mark.django_db
def test_an_address_without_a_rule_answers_as_one_that_is_not_there(monkeypatch):
    from commerce.views import catalogue

    before = Client().get("/products/")
    monkeypatch.delattr(catalogue.catalogue, "access_rule", raising=False)
    closed, missing = Client().get("/products/"), Client().get("/nothing/here/")

    assert before.status_code == 200
    assert (closed.status_code, missing.status_code) == (404, 404)
    assert closed.content == missing.content


def test_the_count_of_the_matrix_is_of_requests_that_were_made():
    """What stands at the end of a run: each response is counted once, as what it was asked (tests/access/counting.py)."""
    requests = Counter({"pages as member": 2, "pages as partner billing_admin": 3, "calls with guest": 4})

    assert lines(requests, by_role=False) == [
        "access matrix: 9 requests: 5 to pages as 2 roles, 4 calls with 1 tokens"
    ]
    assert lines(requests, by_role=True)[1:] == [
        "       4  calls with guest",
        "       2  pages as member",
        "       3  pages as partner billing_admin",
    ]
