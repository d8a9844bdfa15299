"""What Microsoft Entra sends, request by request, in its own dialect.

Source: Microsoft Learn, *Develop and plan provisioning for a SCIM endpoint in Microsoft Entra ID*, and *Known issues
and resolutions with SCIM 2.0 protocol compliance*.
"""

from typing import Any

import pytest

from directory.models import User
from tests.scim.directory import ENTERPRISE, GROUP, ORIGIN, Directory, other, user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def operation(op: str, path: str | None = None, value: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {"op": op}
    if path is not None:
        made["path"] = path
    if value is not None:
        made["value"] = value
    return made


# --- Users -------------------------------------------------------------------------------------------------


def test_the_connection_is_tested_by_asking_for_somebody_who_is_not_there(contoso: Directory) -> None:
    answer = contoso.client.get(
        "/scim/v2/Users", {"filter": 'userName eq "5d48a0a8-e94d-4a6a-8d5a-e9a7dd1e8d0c"'}
    )

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/scim+json"
    assert (answer.json()["totalResults"], answer.json()["startIndex"]) == (0, 1)
    assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]


def test_somebody_is_made_with_all_that_entra_sends_and_what_is_not_kept_is_left_out(
    contoso: Directory,
) -> None:
    answer = contoso.post("/Users", user())

    made = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == made["meta"]["location"]
    assert made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    assert answer["ETag"] == made["meta"]["version"]
    assert (made["userName"], made["active"], made["displayName"]) == (
        *("adele@contoso.example", True, "Adele Vance"),
    )
    assert made["name"] == {"familyName": "Vance", "givenName": "Adele"}
    assert made["emails"] == [{"value": "adele@contoso.example", "type": "work"}]
    assert ENTERPRISE not in made
    row = contoso.row(made["id"])
    assert (row.email, row.external_id, row.kind, row.source, row.subject) == (
        *("adele@contoso.example", "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", "member", "cloud", ""),
    )


@pytest.mark.parametrize(
    "filter",
    [
        'userName eq "adele@contoso.example"',
        'userName eq "ADELE@contoso.example"',
        'externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"',
        'emails[type eq "work"].value eq "Adele@Contoso.example"',
        'emails[type eq "work" and value eq "adele@contoso.example"]',
        'emails.value eq "adele@contoso.example"',
        'displayName eq "adele vance"',
        'userName eq "adele@contoso.example" and active eq true',
        'active eq "True" and userName sw "adele"',
        'userName eq "nobody" or externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"',
    ],
)
def test_somebody_is_found_by_what_entra_matches_with(contoso: Directory, filter: str) -> None:
    made = contoso.made()
    contoso.made(userName="other@x.example", externalId="other", displayName="O", emails=[], name={})

    assert contoso.find("/Users", filter) == [made["id"]]


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([operation("Replace", "active", "False")], {"active": False}),
        ([operation("Replace", "active", False)], {"active": False}),
        ([operation("replace", None, {"active": "False"})], {"active": False}),
        ([operation("Replace", "active", [{"$ref": None, "value": "False"}])], {"active": False}),
        ([operation("Add", "active", "false")], {"active": False}),
        ([operation("Replace", "displayName", "Adele V.")], {"displayName": "Adele V."}),
        ([operation("Replace", "displayName", [{"value": "Adele W."}])], {"displayName": "Adele W."}),
        (
            [operation("Replace", "userName", "adele.vance@contoso.example")],
            {"userName": "adele.vance@contoso.example"},
        ),
        (
            [operation("Replace", "name.familyName", "de Vries")],
            {"name": {"givenName": "Adele", "familyName": "de Vries"}, "displayName": "Adele de Vries"},
        ),
        (
            [operation("Replace", None, {"name.givenName": "A", "name.familyName": "B"})],
            {"name": {"givenName": "A", "familyName": "B"}},
        ),
        (
            [operation("Replace", 'emails[type eq "work"].value', "new@contoso.example")],
            {"emails": [{"type": "work", "value": "new@contoso.example"}]},
        ),
        (
            [operation("Add", 'emails[type eq "work"].value', "new@contoso.example")],
            {"emails": [{"type": "work", "value": "new@contoso.example"}]},
        ),
        (
            [operation("Replace", None, {'emails[type eq "work"].value': "n@contoso.example", "title": "x"})],
            {"emails": [{"type": "work", "value": "n@contoso.example"}]},
        ),
        (
            [operation("Add", "emails", [{"type": "home", "value": "home@x.example"}])],
            {"emails": [{"type": "work", "value": "adele@contoso.example"}]},
        ),
        ([operation("Replace", "externalId", "another")], {"externalId": "another"}),
        ([operation("Remove", "name.givenName")], {"name": {"familyName": "Vance"}}),
        ([operation("Add", "preferredLanguage", "en-GB")], {"preferredLanguage": "en"}),
        ([operation("Add", "preferredLanguage", "tlh")], {"preferredLanguage": None}),
        ([operation("Add", f"{ENTERPRISE}:department", "Sales")], {"displayName": "Adele Vance"}),
        ([operation("Add", "title", "Boss"), operation("Add", "nickName", "A")], {"active": True}),
        ([operation("Add", 'addresses[type eq "work"].country', "NL")], {"active": True}),
        ([operation("Add", 'phoneNumbers[type eq "mobile"].value', "1")], {"active": True}),
        ([operation("Replace", f"{ENTERPRISE}:manager", "0a21f0f2")], {"active": True}),
        ([operation("Add", f"{ORIGIN}:source", "on_premises")], {ORIGIN: {"source": "on_premises"}}),
        (
            [operation("Replace", "displayName", "X"), operation("Replace", "active", "False")],
            {"displayName": "X", "active": False},
        ),
        (
            [operation("replace", None, {"id": "whatever", "displayName": "Y", "schemas": []})],
            {"displayName": "Y"},
        ),
    ],
)
def test_a_change_in_entras_dialect_does_what_it_means(
    contoso: Directory, operations: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    path = f"/Users/{contoso.made()['id']}"

    answer = contoso.patch(path, *operations)

    assert answer.status_code == 204, answer.content
    after = contoso.get(path)
    assert {name: after.json().get(name) for name in expected} == expected
    assert answer["ETag"] == after["ETag"]


def test_an_address_that_goes_leaves_the_user_name_in_its_place(contoso: Directory) -> None:
    path = f"/Users/{contoso.made(emails=[{'type': 'work', 'value': 'mail@contoso.example'}])['id']}"

    contoso.patch(path, operation("Remove", 'emails[type eq "work"]'))

    assert contoso.get(path).json()["emails"] == [{"type": "work", "value": "adele@contoso.example"}]


def test_somebody_who_signed_in_before_is_found_and_kept_from_then_on(contoso: Directory) -> None:
    mike = other(contoso.tenant, name="Mike", email="mike@contoso.example")

    (found,) = contoso.find("/Users", 'userName eq "Mike@contoso.example"')
    answer = contoso.patch(
        f"/Users/{found}",
        operation("Add", "externalId", "oid-of-mike"),
        operation("Replace", "displayName", "Mike Mulder"),
    )

    assert found == str(mike.key)
    assert answer.status_code == 204
    row = contoso.row(found)
    assert (row.name, row.external_id) == ("Mike Mulder", "oid-of-mike")
    assert (row.issuer, row.subject) == (mike.issuer, mike.subject)


def test_restored_with_the_same_names_is_somebody_new_who_takes_their_place(contoso: Directory) -> None:
    before = contoso.made()["id"]

    gone = contoso.delete(f"/Users/{before}")
    again = contoso.made()["id"]

    assert gone.status_code == 204
    assert contoso.get(f"/Users/{before}").status_code == 404
    assert again != before
    assert contoso.row(before).status == User.Status.DELETED


def test_where_an_account_comes_from_is_kept_until_it_is_said(contoso: Directory) -> None:
    made = contoso.made(**{ORIGIN: {"source": "on_premises"}})
    path = f"/Users/{made['id']}"

    contoso.patch(path, operation("Replace", "displayName", "X"))
    contoso.put(path, user(displayName="Y"))
    kept = contoso.row(made["id"]).source
    contoso.patch(path, operation("Replace", f"{ORIGIN}:source", "cloud"))

    assert (made[ORIGIN], kept) == ({"source": "on_premises"}, "on_premises")
    assert contoso.row(made["id"]).source == "cloud"
    assert ORIGIN not in contoso.get(path).json()


# --- Groups ------------------------------------------------------------------------------------------------


def test_a_group_is_made_found_without_members_and_filled_one_by_one(contoso: Directory) -> None:
    adele = contoso.made()["id"]
    body = {"schemas": [GROUP], "displayName": "Sales", "externalId": "8aa1a0c0", "meta": {}, "members": []}

    made = contoso.post("/Groups", body)
    path = f"/Groups/{made.json()['id']}"
    found = contoso.client.get(
        "/scim/v2/Groups", {"excludedAttributes": "members", "filter": 'displayName eq "sales"'}
    )
    added = contoso.patch(path, operation("Add", "members", [{"$ref": None, "value": adele}]))
    alone = contoso.get(f"{path}?excludedAttributes=members")

    assert (made.status_code, added.status_code) == (201, 204)
    assert [each["id"] for each in found.json()["Resources"]] == [made.json()["id"]]
    assert contoso.members(made.json()["id"]) == {adele}
    assert "members" not in alone.json()
    (member,) = contoso.get(path).json()["members"]
    assert (member["value"], member["type"]) == (adele, "User")
    assert member["$ref"].endswith(f"/scim/v2/Users/{adele}")


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ([("Remove", 'members[value eq "{a}"]', None)], "bc"),
        ([("Remove", "members", [{"value": "{a}"}])], "bc"),
        ([("Remove", "members", [{"$ref": None, "value": "{a}"}, {"value": "{b}"}])], "c"),
        ([("Add", "members", [{"value": "{d}"}])], "abcd"),
        ([("Add", "members", [{"value": "{a}"}])], "abc"),
        ([("add", "members", {"value": "{d}"})], "abcd"),
        ([("Add", None, {"members": [{"value": "{d}", "displayName": "D"}]})], "abcd"),
        ([("Replace", "members", [{"value": "{d}"}])], "d"),
        ([("Replace", None, {"displayName": "Z", "members": [{"value": "{a}"}]})], "a"),
        ([("Remove", "members", None)], ""),
        ([("Replace", "displayName", "Another"), ("Add", "members", [{"value": "{d}"}])], "abcd"),
        ([("Remove", 'members[value eq "{a}"]', None), ("Add", "members", [{"value": "{a}"}])], "abc"),
        ([("Remove", 'members[value eq "{d}"]', None)], "abc"),
        ([("replace", None, {"id": "x", "displayName": "Renamed"})], "abc"),
    ],
)
def test_members_come_and_go_as_entra_and_okta_say(
    contoso: Directory, operations: list[tuple[str, str | None, Any]], left: str
) -> None:
    people = {
        name: contoso.made(userName=f"{name}@x.example", externalId=name, emails=[])["id"] for name in "abcd"
    }
    group = contoso.made_group("Team", people["a"], people["b"], people["c"])["id"]

    def named(value: Any) -> Any:
        if isinstance(value, str):
            for name, key in people.items():
                value = value.replace(f"{{{name}}}", key)
            return value
        if isinstance(value, list):
            return [named(each) for each in value]
        if isinstance(value, dict):
            return {name: named(each) for name, each in value.items()}
        return value

    answer = contoso.patch(
        f"/Groups/{group}", *(operation(op, named(path), named(value)) for op, path, value in operations)
    )

    assert answer.status_code == 204, answer.content
    assert contoso.members(group) == {people[name] for name in left}
    assert answer["ETag"] == contoso.get(f"/Groups/{group}")["ETag"]


def test_a_group_is_renamed_and_deleted(contoso: Directory) -> None:
    group = contoso.made_group("Team", contoso.made()["id"])["id"]

    renamed = contoso.patch(f"/Groups/{group}", operation("Replace", "displayName", "Crew"))
    names = contoso.groups()
    gone = contoso.delete(f"/Groups/{group}")

    assert (renamed.status_code, names) == (204, ["Crew"])
    assert (gone.status_code, contoso.groups()) == (204, [])
    assert contoso.get(f"/Groups/{group}").status_code == 404
