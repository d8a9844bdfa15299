"""Whatever is asked and whatever is sent, the answer is the protocol's and never a mistake of ours (reliability §6).

`FUZZED=5000` tries as many of each kind.
"""

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scim.directory import PATCH, Directory, user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

TRIED = settings(
    max_examples=int(os.environ.get("FUZZED", "150")),
    deadline=None,
    derandomize="FUZZED" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NAMES = st.sampled_from(
    (
        *(
            "id",
            "userName",
            "externalId",
            "displayName",
            "active",
            "name.givenName",
            "emails",
            "emails.value",
        ),
        *(
            "emails.type",
            "meta.created",
            "meta.lastModified",
            "preferredLanguage",
            "members",
            "title",
            "schemas",
        ),
        *(
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            "meta.version",
            "name",
            "groups",
            "password",
        ),
        "urn:seatkeeper:params:scim:schemas:extension:2.0:User:source",
    )
)
OPERATORS = st.sampled_from(("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "EQ", "xx"))
VALUES = st.one_of(
    st.text(max_size=20).map(json.dumps),
    st.sampled_from(
        ('"2026-03-10T09:30:00Z"', "true", "false", "null", "1", "-1.5e300", '"work"', '"%_\\\\"')
    ),
    st.integers().map(str),
)
TERMS = st.one_of(
    st.builds("{} {} {}".format, NAMES, OPERATORS, VALUES),
    st.builds("{} pr".format, NAMES),
    st.builds("emails[type {} {}].value {} {}".format, OPERATORS, VALUES, OPERATORS, VALUES),
    st.text(max_size=30),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("emails[{}]".format, inner),
    ),
    max_leaves=10,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(NAMES, st.text(max_size=10)), inner, max_size=4),
    ),
    max_leaves=12,
)
OPERATION = st.fixed_dictionaries(
    {},
    optional={
        "op": st.one_of(st.sampled_from(("add", "Replace", "remove", "Remove")), JSON),
        "path": st.one_of(NAMES, st.builds("{}[{}]".format, NAMES, TERMS), st.text(max_size=20), JSON),
        "value": JSON,
    },
)


@pytest.mark.parametrize("kind", ["Users", "Groups", ""])
def test_any_filter_is_answered_or_refused(contoso: Directory, kind: str) -> None:
    contoso.made_group("Team", contoso.made()["id"])

    @TRIED
    @given(FILTERS)
    def ask(filter: str) -> None:
        answer = contoso.client.get(f"/scim/v2/{kind}", {"filter": filter, "count": "2"})
        assert answer.status_code in (200, 400), (filter, answer.content)
        assert answer.status_code == 200 or answer.json()["scimType"] in ("invalidFilter", "invalidValue")

    ask()


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_any_change_is_done_or_refused_and_what_is_there_stays_readable(
    contoso: Directory, kind: str
) -> None:
    adele = contoso.made()["id"]
    path = f"/{kind}/{adele if kind == 'Users' else contoso.made_group('Team', adele)['id']}"

    @TRIED
    @given(st.lists(OPERATION, max_size=4))
    def change(operations: list[Any]) -> None:
        answer = contoso.call("PATCH", path, {"schemas": [PATCH], "Operations": operations})
        assert answer.status_code in (204, 400, 409), (operations, answer.content)
        assert contoso.get(path).status_code == 200

    change()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_any_resource_is_kept_or_refused(contoso: Directory, method: str) -> None:
    path = "/Users" if method == "POST" else f"/Users/{contoso.made()['id']}"

    @TRIED
    @given(st.one_of(JSON, st.dictionaries(NAMES, JSON, max_size=6).map(lambda values: user(**values))))
    def send(body: Any) -> None:
        answer = contoso.call(method, path, json.dumps(body))
        assert answer.status_code in (200, 201, 400, 409), (body, answer.content)

    send()
