"""Where a list goes on is said by its own cursors (`config.kit.keyset`)."""

import base64
import json

import pytest

from config.kit.errors import Malformed
from config.kit.keyset import decode_cursor, encode_cursor
from tests.factories import client_of, make_tenant, make_user


def written(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", '["f"]', '["x", "a", 1]', '["f", "a", null]', '["f", "a", 1.5]', '["f", ["a"], 1]'),
        *('{"f": 1}', '["f", "a\\u0000", 1]', '["f", "\\ud800", 1]', '["f", "a", NaN]', "[" * 10_000),
        '["f", "a", 1' + "0" * 5_000 + "]",
    ],
)
def test_what_no_list_wrote_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode_cursor(written(text), 2)


@pytest.mark.parametrize("cursor", ["*", "é", "a" * 100_000, "_w"])
def test_what_is_no_writing_of_ours_is_refused(cursor: str) -> None:
    with pytest.raises(Malformed):
        decode_cursor(cursor, 2)


def test_a_cursor_is_read_as_it_was_written() -> None:
    assert decode_cursor(encode_cursor(["Zoë 👩", 7], backward=True), 2) == (True, ["Zoë 👩", 7])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values", [["f", "\ud800", 1], ["f", "a", 10**400], ["f", 10**400, "a"], ["f", "", ""]]
)
@pytest.mark.parametrize("address", ["/admin/people/", "/admin/audit/", "/admin/billing/bills/"])
def test_a_made_up_cursor_is_no_mistake_of_ours(address: str, values: list[str | int]) -> None:
    admin = client_of(make_user(make_tenant(), roles=("global_admin",)))

    assert admin.get(address, {"page": written(json.dumps(values))}).status_code in (200, 404, 422)
