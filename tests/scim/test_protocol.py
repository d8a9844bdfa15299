"""The protocol: versions, pages, what may be asked, how it is refused, and what it costs."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from config.kit.tenancy import connection, tenant_atomic
from directory.models import Group, GroupMembership, User
from directory.scim.groups import MOST_MEMBERS
from tests.factories import AT
from tests.scim.directory import ERROR, GROUP, PATCH, USER, Directory, user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def many(directory: Directory, number: int) -> list[str]:
    """People made at once, in order."""
    with tenant_atomic(directory.tenant.pk):
        rows = User.objects.bulk_create(
            User(
                tenant=directory.tenant,
                name=f"Person {index:04}",
                sort_name=f"person {index:04}",
                email=f"p{index:04}@x.example",
                created_at=AT + timedelta(seconds=index),
            )
            for index in range(number)
        )
    return [str(row.key) for row in rows]


# --- Versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_version_that_is_known_is_not_sent_again(contoso: Directory, kind: str) -> None:
    made = contoso.made() if kind == "Users" else contoso.made_group("Team", contoso.made()["id"])
    path, version = f"/{kind}/{made['id']}", made["meta"]["version"]

    known = contoso.get(path, **{"if-none-match": version})
    unknown = contoso.get(path, **{"if-none-match": 'W/"another"'})

    assert (known.status_code, known.content, known["ETag"]) == (304, b"", version)
    assert (unknown.status_code, unknown["ETag"]) == (200, version)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_change_of_another_version_is_412_and_changes_nothing(
    contoso: Directory, method: str, kind: str
) -> None:
    made = contoso.made() if kind == "Users" else contoso.made_group("Team")
    path, version = f"/{kind}/{made['id']}", made["meta"]["version"]
    body = {
        "PUT": user(displayName="New") if kind == "Users" else {"schemas": [GROUP], "displayName": "New"},
        "PATCH": {
            "schemas": [PATCH],
            "Operations": [{"op": "replace", "path": "displayName", "value": "New"}],
        },
        "DELETE": None,
    }[method]
    before = contoso.everything()

    stale = contoso.call(method, path, body, **{"if-match": 'W/"another"'})
    kept = contoso.everything()
    fresh = contoso.call(method, path, body, **{"if-match": version})

    assert stale.status_code == 412
    assert stale.json()["schemas"] == [ERROR]
    assert kept == before
    assert fresh.status_code in (200, 204)
    assert contoso.everything() != before


def test_every_change_of_a_group_changes_its_version_and_going_back_to_the_same_members_too(
    contoso: Directory,
) -> None:
    people = many(contoso, 2)
    path = f"/Groups/{contoso.made_group('Team', *people)['id']}"
    versions = [contoso.get(path)["ETag"]]

    for op in ("remove", "add"):
        value = {"op": op, "path": "members", "value": [{"value": people[0]}]}
        versions.append(contoso.patch(path, value)["ETag"])

    assert len(set(versions)) == 3


def test_a_change_that_changes_nothing_keeps_the_version_and_writes_nothing(contoso: Directory) -> None:
    path = f"/Users/{contoso.made()['id']}"
    before, version = contoso.everything(), contoso.get(path)["ETag"]

    answers = [
        contoso.patch(path, {"op": "Replace", "path": "displayName", "value": "Adele Vance"}),
        contoso.put(path, user()),
    ]

    assert [answer["ETag"] for answer in answers] == [version, version]
    assert contoso.everything() == before


# --- Pages -------------------------------------------------------------------------------------------------


def test_pages_are_counted_from_one_and_hold_everybody_once(contoso: Directory) -> None:
    many(contoso, 9)
    found: list[str] = []

    for start in (1, 5, 9):
        page = contoso.get(f"/Users?startIndex={start}&count=4").json()
        assert (page["totalResults"], page["startIndex"]) == (10, start)
        assert page["itemsPerPage"] == len(page["Resources"])
        found += [each["id"] for each in page["Resources"]]

    assert len(found) == len(set(found)) == 10


@pytest.mark.parametrize(
    ("query", "start", "number"),
    [
        ("count=0", 1, 0),
        ("count=-5", 1, 0),
        ("startIndex=0&count=2", 1, 2),
        ("startIndex=-3&count=2", 1, 2),
        ("startIndex=6", 6, 0),
        ("startIndex=99999999999999999999", 99999999999999999999, 0),
        ("", 1, 5),
    ],
)
def test_odd_pages_are_what_the_standard_says(
    contoso: Directory, query: str, start: int, number: int
) -> None:
    many(contoso, 4)

    page = contoso.get(f"/Users?{query}").json()

    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, start, number)
    assert len(page.get("Resources", [])) == number


def test_a_page_has_200_at_most_and_costs_two_queries_however_many_there_are(contoso: Directory) -> None:
    contoso.get("/Users?count=1")
    counts = []
    for number in (10, 300):
        many(contoso, number)
        with CaptureQueriesContext(connection()) as queries:
            page = contoso.get("/Users?count=100000&startIndex=3").json()
        counts.append(len([query for query in queries if 'FROM "directory_user"' in query["sql"]]))

    assert page["itemsPerPage"] == 200
    assert counts == [2, 2]


def test_a_page_of_groups_costs_three_queries_with_members_and_two_without(contoso: Directory) -> None:
    people = many(contoso, 5)
    for name in "abcdefgh":
        contoso.made_group(name, *people)
    counts = []
    for query in ("", "?excludedAttributes=members", "?attributes=displayName"):
        with CaptureQueriesContext(connection()) as queries:
            page = contoso.get(f"/Groups{query}").json()
        counts.append(len([each for each in queries if "directory_group" in each["sql"]]))

    assert page["totalResults"] == 8
    assert counts == [3, 2, 2]


def test_one_member_more_costs_the_same_in_a_large_group(contoso: Directory) -> None:
    people = many(contoso, 402)
    counts = []
    for members in (people[:2], people[:400]):
        group = contoso.made_group(f"Team of {len(members)}", *members)["id"]
        with CaptureQueriesContext(connection()) as queries:
            answer = contoso.patch(
                f"/Groups/{group}", {"op": "Add", "path": "members", "value": [{"value": people[401]}]}
            )
        assert answer.status_code == 204
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_groups_with_many_members_come_on_shorter_pages(contoso: Directory, monkeypatch: Any) -> None:
    monkeypatch.setattr("directory.scim.groups.MOST_MEMBERS", 5)
    people = many(contoso, 4)
    for name in "abc":
        contoso.made_group(name, *people)

    page = contoso.get("/Groups?count=3").json()
    rest = contoso.get("/Groups?count=3&startIndex=2").json()
    without = contoso.get("/Groups?count=3&excludedAttributes=members").json()

    assert (page["totalResults"], page["itemsPerPage"], rest["itemsPerPage"]) == (3, 1, 1)
    assert without["itemsPerPage"] == 3
    assert MOST_MEMBERS == 10_000


def test_users_and_groups_are_searched_together_at_the_root(contoso: Directory) -> None:
    contoso.made(), contoso.made_group("Adele's team")
    body = {"filter": 'displayName sw "adele"', "attributes": ["displayName"], "count": 5}

    page = contoso.post("/.search", body).json()
    second = contoso.post("/.search", body | {"startIndex": 2}).json()

    assert [each["displayName"] for each in page["Resources"]] == ["Adele Vance", "Adele's team"]
    assert (page["totalResults"], second["itemsPerPage"]) == (2, 1)
    assert "userName" not in page["Resources"][0]


# --- What may be asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('displayName co "person 000"', 3),
        ('displayName ew "0002"', 1),
        ('displayName gt "Person 0000" and displayName le "person 0002"', 2),
        ('userName co "P000"', 3),
        ('userName sw "p0001@"', 1),
        ('userName ne "p0001@x.example"', 3),
        ("externalId pr", 0),
        ("not (externalId pr)", 4),
        ("externalId eq null", 4),
        ("name.givenName pr or emails pr", 4),
        ('emails[value sw "p0001" and type eq "work"]', 1),
        ('emails[type eq "home"]', 0),
        ('active eq true and (userName sw "p0000" or userName sw "p0002")', 2),
        ("active eq false", 0),
        ('meta.created gt "2026-03-10T09:30:01Z"', 1),
        ('meta.lastModified le "2026-03-10T09:30:00Z"', 2),
        ('id eq "nothing"', 0),
        (f'{USER}:userName eq "p0000@x.example"', 1),
        ('meta.resourceType eq "User"', 4),
        ('displayName co "%"', 0),
        ('displayName co "Person_0001"', 0),
    ],
)
def test_a_filter_finds_what_it_says(contoso: Directory, filter: str, found: int) -> None:
    many(contoso, 3)

    assert len(contoso.find("/Users", filter)) == found


@pytest.mark.parametrize(
    "filter",
    [
        "",
        "userName",
        'userName eq "x',
        'userName xx "x"',
        'nothing eq "x"',
        'title eq "x"',
        "active gt true",
        'active eq "perhaps"',
        'meta.created gt "yesterday"',
        'id sw "a"',
        '"x" eq userName',
        'userName eq "x"; DROP TABLE directory_user',
        'userName eq "\\u0000"',
        'userName eq "\\ud800"',
        'displayName co "\\u0000"',
        " or ".join(['userName eq "x"'] * 60),
        'userName eq "' + "x" * 3_000 + '"',
        "not (" * 40 + "userName pr" + ")" * 40,
    ],
)
def test_a_filter_that_cannot_be_answered_is_400(contoso: Directory, filter: str) -> None:
    answer = contoso.client.get("/scim/v2/Users", {"filter": filter})

    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")
    assert answer.json()["schemas"] == [ERROR]


def test_attributes_are_shown_and_left_out_as_asked(contoso: Directory) -> None:
    path = f"/Users/{contoso.made()['id']}"

    some = contoso.get(f"{path}?attributes=userName,emails.value").json()
    others = contoso.get(f"{path}?excludedAttributes=emails,displayName,id").json()

    assert set(some) == {"schemas", "id", "userName", "emails"}
    assert some["emails"] == [{"value": "adele@contoso.example"}]
    assert {"emails", "displayName"}.isdisjoint(others)
    assert {"id", "userName", "active"} <= set(others)


def test_what_is_not_done_here_is_said(contoso: Directory) -> None:
    config = contoso.get("/ServiceProviderConfig").json()
    sorted_ = contoso.get("/Users?sortBy=userName")

    assert {name: config[name]["supported"] for name in ("patch", "filter", "etag")} == dict.fromkeys(
        ("patch", "filter", "etag"), True
    )
    assert {name: config[name]["supported"] for name in ("bulk", "sort", "changePassword")} == dict.fromkeys(
        ("bulk", "sort", "changePassword"), False
    )
    assert config["filter"]["maxResults"] == 200
    assert config["authenticationSchemes"][0]["type"] == "oauthbearertoken"
    assert sorted_.status_code == 501
    assert contoso.post("/Bulk", {"Operations": []}).status_code == 501
    assert contoso.get("/Me").status_code == 501


def test_the_schemas_say_what_is_kept(contoso: Directory) -> None:
    schemas = {each["id"]: each for each in contoso.get("/Schemas").json()["Resources"]}
    types = contoso.get("/ResourceTypes").json()["Resources"]

    names = {each["name"] for each in schemas[USER]["attributes"]}
    assert names == {"userName", "name", "displayName", "active", "emails", "preferredLanguage"}
    assert {each["endpoint"] for each in types} == {"/Users", "/Groups"}
    assert contoso.get(f"/Schemas/{GROUP}").json()["id"] == GROUP


# --- Hostile bodies ----------------------------------------------------------------------------------------

DEEP = '{"a":' * 5_000 + "1" + "}" * 5_000


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "5",
        '"text"',
        "{",
        b"\xff\xfe",
        b"\x00",
        DEEP,
        "[" * 100_000,
        json.dumps({"schemas": [USER]}),
        json.dumps(user(userName="")),
        json.dumps(user(userName="   ")),
        json.dumps(user(userName=None)),
        json.dumps(user(userName=5)),
        json.dumps(user(userName=["a"])),
        json.dumps(user(userName={"a": 1})),
        json.dumps(user(userName="a\0b")),
        json.dumps(user(userName="a\u2028b")),
        json.dumps(user(userName="x" * 255)),
        json.dumps(user(externalId="x" * 256)),
        json.dumps(user(displayName="x" * 201)),
        json.dumps(user(displayName="a\u202eb")),
        json.dumps(user(active="perhaps")),
        json.dumps(user(active=[])).replace('"active": []', '"active": [1, 2]'),
        json.dumps(user(emails="a@b.example")),
        json.dumps(user(emails=[{"value": "nowhere"}])),
        json.dumps(user(emails=[{"value": "a b@x.example"}])),
        json.dumps(user(emails=[{"value": f"{'x' * 250}@x.example"}])),
        json.dumps(user(name="Adele")),
        json.dumps(user(name={"givenName": "x" * 201})),
        json.dumps(user()).replace("Adele Vance", "\\ud800"),
        json.dumps(user(schemas="x")),
        json.dumps(user(**{"urn:seatkeeper:params:scim:schemas:extension:2.0:User": {"source": "moon"}})),
    ],
)
def test_a_body_that_cannot_be_kept_is_400_and_keeps_nothing(contoso: Directory, body: str | bytes) -> None:
    before = contoso.everything()

    answer = contoso.post("/Users", body)

    assert answer.status_code == 400, answer.content
    assert answer.json()["schemas"] == [ERROR]
    assert answer.json()["status"] == "400"
    assert contoso.everything() == before


@pytest.mark.parametrize(
    "operations",
    [
        None,
        [],
        {},
        "x",
        ["x"],
        [{}],
        [{"op": "explode"}],
        [{"op": 5}],
        [{"op": "add", "path": "userName"}],
        [{"op": "add", "path": 5, "value": "x"}],
        [{"op": "add", "path": "(((", "value": "x"}],
        [{"op": "replace", "path": "id", "value": "x"}],
        [{"op": "replace", "path": "meta.created", "value": "x"}],
        [{"op": "remove"}],
        [{"op": "remove", "path": "userName"}],
        [{"op": "remove", "path": "active"}],
        [{"op": "replace", "path": "userName", "value": None}],
        [{"op": "replace", "path": "userName", "value": "a\0b"}],
        [{"op": "replace", "path": "active", "value": {"a": 1}}],
        [{"op": "replace", "value": "x"}],
        [{"op": "replace", "value": 5}],
        [{"op": "add", "path": "displayName", "value": "x"}] * 1_001,
    ],
)
def test_a_patch_that_cannot_be_done_is_400_and_does_nothing(contoso: Directory, operations: Any) -> None:
    path = f"/Users/{contoso.made()['id']}"
    before = contoso.everything()

    answer = contoso.call("PATCH", path, {"schemas": [PATCH], "Operations": operations})

    assert answer.status_code == 400, answer.content
    assert answer.json()["schemas"] == [ERROR]
    assert contoso.everything() == before


def test_the_last_of_an_attribute_sent_twice_counts(contoso: Directory) -> None:
    body = json.dumps(user())[:-1] + ', "userName": "second@x.example"}'

    assert contoso.post("/Users", body).json()["userName"] == "second@x.example"


def test_a_change_is_done_whole_or_not_at_all(contoso: Directory) -> None:
    path = f"/Users/{contoso.made()['id']}"
    before = contoso.everything()

    answer = contoso.patch(
        path,
        {"op": "replace", "path": "displayName", "value": "X"},
        {"op": "replace", "path": "active", "value": "perhaps"},
    )

    assert answer.status_code == 400
    assert contoso.everything() == before


@pytest.mark.parametrize("size", [2_000_001, 6_500_000])
def test_a_body_that_is_too_large_is_413(contoso: Directory, size: int) -> None:
    answer = contoso.post("/Users", "x" * size)

    assert (answer.status_code, answer["Content-Type"]) == (413, "application/scim+json")
    assert answer.json()["schemas"] == [ERROR]


def test_another_media_type_is_415_and_another_method_405(contoso: Directory) -> None:
    form = contoso.client.post("/scim/v2/Users", {"userName": "x"})
    method = contoso.call("DELETE", "/Users")

    assert form.status_code == 415
    assert (method.status_code, method["Allow"]) == (405, "GET, POST")
    assert method.json()["schemas"] == [ERROR]


def test_a_name_that_an_account_here_goes_by_already_is_taken(contoso: Directory) -> None:
    many(contoso, 1)

    answer = contoso.post("/Users", user(userName="P0000@x.example"))

    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")


@pytest.mark.parametrize("field", ["userName", "externalId"])
def test_two_accounts_do_not_have_the_same_name_by_a_change_either(contoso: Directory, field: str) -> None:
    contoso.made()
    path = f"/Users/{contoso.made(userName='b@x.example', externalId='b', emails=[])['id']}"
    before = contoso.everything()

    answer = contoso.patch(path, {"op": "replace", "path": field, "value": user()[field]})

    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")
    assert contoso.everything() == before


def test_somebody_without_active_and_display_name_is_active_and_called_by_the_parts(
    contoso: Directory,
) -> None:
    body = {"schemas": [USER], "userName": "x@x.example", "name": {"givenName": "Xa", "familyName": "Yu"}}

    made = contoso.post("/Users", body).json()
    path = f"/Users/{made['id']}"
    contoso.patch(path, {"op": "replace", "path": "active", "value": False})
    contoso.put(path, body | {"userName": "y@x.example"})

    assert (made["active"], made["displayName"]) == (True, "Xa Yu")
    assert contoso.get(path).json()["active"] is False


def test_members_of_a_group_that_went_are_nobodys(contoso: Directory) -> None:
    group = contoso.made_group("Team", contoso.made()["id"])["id"]

    contoso.delete(f"/Groups/{group}")

    with tenant_atomic(contoso.tenant.pk):
        assert not GroupMembership.objects.exists()
        assert not Group.objects.exists()
