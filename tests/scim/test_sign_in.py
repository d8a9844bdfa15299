"""The first sign-in of somebody whom the directory made, and who cannot take an account over that way (I-23)."""

from datetime import datetime

import pytest

from config.kit.tenancy import tenant_atomic
from directory.id_token import _external_ids
from directory.models import AuditEntry, User
from directory.operations.people import (
    AccountDisabled,
    AccountUnknown,
    create_member_at_sign_in,
    disable_user,
)
from directory.operations.roles import grant_role
from tests.factories import AT, actor_of
from tests.scim.directory import Directory, other

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

ISSUER = "https://issuer.contoso.example"
OID = "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"


def sign_in(directory: Directory, subject: str, *ids: str, at: datetime = AT, is_guest: bool = False) -> User:
    return create_member_at_sign_in(
        tenant_id=directory.tenant.pk,
        issuer=ISSUER,
        subject=subject,
        name="From the token",
        email="adele@contoso.example",
        external_ids=(subject, *ids),
        is_guest=is_guest,
        at=at,
    )


def test_the_object_id_counts_only_of_a_token_that_says_which_directory_it_is_of() -> None:
    assert _external_ids({"sub": "s", "oid": "o", "tid": "t"}) == ("s", "o")
    assert _external_ids({"sub": "s", "oid": "o"}) == ("s",)
    assert _external_ids({"sub": "s", "oid": ["o"], "tid": "t"}) == ("s",)


@pytest.mark.parametrize("known_by", ["subject", "object id"])
def test_the_first_sign_in_is_matched_by_the_external_id_and_every_later_one_by_the_account_key(
    contoso: Directory, known_by: str
) -> None:
    made = contoso.made()
    ids = {"subject": (OID, ()), "object id": ("pairwise", (OID,))}[known_by]

    first = sign_in(contoso, ids[0], *ids[1])
    again = sign_in(contoso, ids[0])

    assert str(first.key) == made["id"]
    assert (first.issuer, first.subject, first.name, again.pk) == (ISSUER, ids[0], "Adele Vance", first.pk)
    with tenant_atomic(contoso.tenant.pk):
        entry = AuditEntry.objects.get(code="directory.user.claimed_at_sign_in")
    assert entry.after == {"issuer": ISSUER, "external_id": OID}


def test_mail_and_user_name_match_nobody(contoso: Directory) -> None:
    made = contoso.made()

    with pytest.raises(AccountUnknown):
        sign_in(contoso, "somebody-else")

    assert contoso.row(made["id"]).subject == ""


def test_an_account_with_a_key_is_never_claimed_again(contoso: Directory) -> None:
    """Somebody who writes another's id into an account that is in use does not get into it."""
    mike = other(contoso.tenant, name="Mike")
    contoso.patch(f"/Users/{mike.key}", {"op": "add", "path": "externalId", "value": "mallory"})

    with pytest.raises(AccountUnknown):
        sign_in(contoso, "mallory")

    row = contoso.row(str(mike.key))
    assert (row.external_id, row.subject) == ("mallory", mike.subject)


def test_who_has_an_account_stays_in_it_whatever_the_directory_writes_elsewhere(contoso: Directory) -> None:
    mike = other(contoso.tenant, name="Mike", issuer=ISSUER, subject="mike")
    contoso.made(externalId="mike")

    assert sign_in(contoso, "mike").pk == mike.pk


def test_the_external_id_of_an_admin_who_has_not_signed_in_cannot_be_changed(contoso: Directory) -> None:
    made = contoso.made()
    row = contoso.row(made["id"])
    grant_role(
        actor=actor_of(contoso.gina), user_id=row.pk, role="global_admin", reason="A new colleague.", at=AT
    )
    before = contoso.everything()

    answer = contoso.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "externalId", "value": "mallory"}
    )
    named = contoso.patch(f"/Users/{made['id']}", {"op": "replace", "path": "displayName", "value": "A"})

    assert answer.status_code == 403
    assert named.status_code == 204
    assert contoso.row(made["id"]).external_id == OID
    assert before != contoso.everything()
    with pytest.raises(AccountUnknown):
        sign_in(contoso, "mallory")


def test_two_organizations_with_the_same_external_id_match_their_own(
    contoso: Directory, fabrikam: Directory
) -> None:
    here, there = contoso.made(), fabrikam.made()

    assert str(sign_in(contoso, OID).key) == here["id"]
    assert fabrikam.row(there["id"]).subject == ""


def test_a_disabled_account_is_not_claimed(contoso: Directory) -> None:
    contoso.made(active=False)

    with pytest.raises((AccountUnknown, AccountDisabled)):
        sign_in(contoso, OID)


def test_somebody_whom_the_provider_calls_a_guest_is_one(contoso: Directory) -> None:
    contoso.made()

    assert sign_in(contoso, OID, is_guest=True).kind == "guest"


def test_somebody_who_comes_back_gets_the_new_account_and_not_the_deleted_one(contoso: Directory) -> None:
    first = contoso.made()["id"]
    sign_in(contoso, "pairwise", OID)
    contoso.delete(f"/Users/{first}")
    with pytest.raises(AccountUnknown):
        sign_in(contoso, "pairwise", OID)

    again = contoso.made()["id"]

    assert str(sign_in(contoso, "pairwise", OID).key) == again
    assert str(sign_in(contoso, "pairwise").key) == again
    assert contoso.row(first).status == "deleted"


def test_nobody_becomes_a_member_by_signing_in_while_a_directory_is_connected(
    contoso: Directory, fabrikam: Directory
) -> None:
    """Product §3.2: always off once SCIM is connected. A token alone connects nothing, nor does a revoked one."""
    unused = sign_in(fabrikam, "first")
    fabrikam.get("/Users")
    with pytest.raises(AccountUnknown):
        sign_in(fabrikam, "second")
    with tenant_atomic(fabrikam.tenant.pk):
        from directory.models import ApiToken

        ApiToken.objects.update(revoked_at=AT, revoked_by="Gina")

    assert unused.kind == "member"
    assert sign_in(fabrikam, "second").kind == "member"


def test_disabled_in_the_portal_is_disabled_for_the_directory(contoso: Directory) -> None:
    made = contoso.made()
    disable_user(actor=actor_of(contoso.gina), user_id=contoso.row(made["id"]).pk, at=AT)

    after = contoso.get(f"/Users/{made['id']}")

    assert after.json()["active"] is False
    assert after["ETag"] != made["meta"]["version"]
