"""Another organization's ids do not exist, with every verb; nothing tells that they do (I-20, reliability §1)."""

import uuid
from typing import Any

import pytest

from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry
from tests.scim.directory import GROUP, PATCH, Directory, other, user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

VERBS: list[tuple[str, str, Any]] = [
    ("GET", "/Users/{user}", None),
    ("GET", "/Users/{user}?attributes=userName", None),
    ("PUT", "/Users/{user}", user(userName="mallory@x.example")),
    (
        "PATCH",
        "/Users/{user}",
        {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]},
    ),
    (
        "PATCH",
        "/Users/{user}",
        {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "externalId", "value": "mine"}]},
    ),
    ("DELETE", "/Users/{user}", None),
    ("GET", "/Groups/{group}", None),
    ("GET", "/Groups/{group}?excludedAttributes=members", None),
    ("PUT", "/Groups/{group}", {"schemas": [GROUP], "displayName": "Mine now"}),
    (
        "PATCH",
        "/Groups/{group}",
        {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": "{own}"}]}]},
    ),
    (
        "PATCH",
        "/Groups/{group}",
        {"schemas": [PATCH], "Operations": [{"op": "remove", "path": "members"}]},
    ),
    ("DELETE", "/Groups/{group}", None),
]


@pytest.fixture
def theirs(fabrikam: Directory) -> dict[str, str]:
    victim = fabrikam.made(userName="victim@fabrikam.example", externalId="victim", displayName="ZQ-Victim")
    return {"user": victim["id"], "group": fabrikam.made_group("ZQ-Board", victim["id"])["id"]}


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, key in ids.items():
            value = value.replace(f"{{{name}}}", key)
        return value
    if isinstance(value, list):
        return [filled(each, ids) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, ids) for name, each in value.items()}
    return value


@pytest.mark.parametrize(("method", "path", "body"), VERBS)
@pytest.mark.parametrize("match", [None, "*"])
def test_each_verb_on_a_foreign_id_is_what_it_is_on_one_that_nobody_has(
    contoso: Directory,
    fabrikam: Directory,
    theirs: dict[str, str],
    method: str,
    path: str,
    body: Any,
    match: str | None,
) -> None:
    own = contoso.made()["id"]
    headers = {"if-match": match} if match else {}
    before = fabrikam.everything()

    foreign = contoso.call(
        method, filled(path, theirs), filled(body, theirs | {"own": own}) if body else None, **headers
    )
    nobody = {"user": str(uuid.uuid4()), "group": str(uuid.uuid4()), "own": own}
    missing = contoso.call(method, filled(path, nobody), filled(body, nobody) if body else None, **headers)

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content == missing.content
    assert fabrikam.everything() == before
    assert {name: value for name, value in foreign.items() if name != "x-ms-correlation-id"} == {
        name: value for name, value in missing.items() if name != "x-ms-correlation-id"
    }


@pytest.mark.parametrize("key", ["1", "0", "-1", "%00", "..", "x" * 500, "null", "Users", "{numeric}"])
def test_what_is_no_id_is_not_there(contoso: Directory, key: str) -> None:
    key = key.replace("{numeric}", str(contoso.gina.pk))

    for path in (f"/Users/{key}", f"/Groups/{key}"):
        answer = contoso.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/scim+json")


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "path": "members", "value": [{"value": "{user}"}]}],
        [{"op": "add", "path": "members", "value": [{"value": "{own}"}, {"value": "{user}"}]}],
        [{"op": "replace", "path": "members", "value": [{"value": "{user}"}]}],
        [{"op": "replace", "value": {"members": [{"value": "{user}"}]}}],
        [{"op": "add", "value": {"displayName": "X", "members": [{"value": "{user}"}]}}],
        [{"op": "add", "path": "members", "value": [{"value": "{group}"}]}],
    ],
)
def test_a_foreign_member_is_refused_as_one_that_nobody_is_and_nothing_is_changed(
    contoso: Directory, fabrikam: Directory, theirs: dict[str, str], operations: list[Any]
) -> None:
    own = contoso.made()["id"]
    group = contoso.made_group("Team", own)["id"]
    before, other_before = contoso.everything(), fabrikam.everything()

    nobody = {"user": str(uuid.uuid4()), "group": str(uuid.uuid4()), "own": own}
    foreign = contoso.patch(f"/Groups/{group}", *filled(operations, theirs | {"own": own}))
    missing = contoso.patch(f"/Groups/{group}", *filled(operations, nobody))

    assert (foreign.status_code, foreign.json()["scimType"]) == (400, "invalidValue")
    assert foreign.content == missing.content
    assert (contoso.everything(), fabrikam.everything()) == (before, other_before)


def test_a_group_with_a_foreign_member_is_not_made(contoso: Directory, theirs: dict[str, str]) -> None:
    body = {"schemas": [GROUP], "displayName": "New", "members": [{"value": theirs["user"]}]}

    posted = contoso.post("/Groups", body)
    put = contoso.put(f"/Groups/{contoso.made_group('Team')['id']}", body)

    assert (posted.status_code, put.status_code) == (400, 400)
    assert contoso.groups() == ["Team"]


def test_taking_a_foreign_member_out_changes_nothing_and_says_nothing(
    contoso: Directory, theirs: dict[str, str]
) -> None:
    group = contoso.made_group("Team")["id"]

    for key in (theirs["user"], str(uuid.uuid4())):
        answer = contoso.patch(f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{key}"]'})
        assert answer.status_code == 204


@pytest.mark.parametrize(
    "filter",
    [
        'userName eq "victim@fabrikam.example"',
        'externalId eq "victim"',
        'displayName co "ZQ"',
        'id eq "{user}"',
        'emails.value co "fabrikam"',
        "userName pr",
        'not (userName eq "nobody")',
        'userName ne "nobody" or displayName co "ZQ"',
    ],
)
def test_no_filter_finds_anybody_of_another_organization(
    contoso: Directory, theirs: dict[str, str], filter: str
) -> None:
    answer = contoso.client.get("/scim/v2/Users", {"filter": filled(filter, theirs)})

    assert answer.status_code == 200
    assert "ZQ" not in answer.content.decode()
    assert theirs["user"] not in answer.content.decode()


@pytest.mark.parametrize("filter", ['displayName co "ZQ"', 'members.value eq "{user}"', 'id eq "{group}"'])
def test_no_filter_finds_a_group_of_another_organization(
    contoso: Directory, theirs: dict[str, str], filter: str
) -> None:
    assert contoso.find("/Groups", filled(filter, theirs)) == []


def test_names_are_taken_inside_one_organization_alone(contoso: Directory, fabrikam: Directory) -> None:
    here, there = contoso.made(), fabrikam.made()
    again = contoso.post("/Users", user(externalId="another"))
    contoso.made_group("Sales"), fabrikam.made_group("Sales")
    group_again = contoso.post("/Groups", {"schemas": [GROUP], "displayName": "Sales"})

    assert here["id"] != there["id"]
    assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness")
    assert (group_again.status_code, group_again.json()["scimType"]) == (409, "uniqueness")


def test_an_external_id_that_is_somebodys_number_here_names_nobody_else(contoso: Directory) -> None:
    mike = other(contoso.tenant, name="Mike")

    made = contoso.made(userName="x@x.example", externalId=str(mike.pk), id=str(mike.key), emails=[])

    assert made["id"] != str(mike.key)
    assert contoso.row(str(mike.key)).name == "Mike"


def test_the_id_of_a_body_never_beats_the_address(contoso: Directory) -> None:
    first = contoso.made()["id"]
    second = contoso.made(userName="b@x.example", externalId="b", emails=[])["id"]

    contoso.put(f"/Users/{first}", user(id=second, displayName="Changed"))

    assert contoso.row(first).name == "Changed"
    assert contoso.row(second).name == "Adele Vance"


def test_the_trail_of_each_organization_has_its_own_changes(contoso: Directory, fabrikam: Directory) -> None:
    contoso.made()

    with tenant_atomic(fabrikam.tenant.pk):
        assert not AuditEntry.objects.filter(door="scim").exists()
    with tenant_atomic(contoso.tenant.pk):
        entry = AuditEntry.objects.get(door="scim")
    assert (entry.code, entry.actor_label[:6], entry.actor_user_id) == (
        *("directory.user.provisioned", "Job (…", None),
    )
