"""A directory that keeps its accounts here: calls SCIM with a token."""

import json
from typing import Any

from config.kit.tenancy import tenant_atomic
from directory.models import Group, GroupMembership, Tenant, User
from tests.factories import AT, caller_with, make_tenant, make_user, service_token_of

ROOT = "/scim/v2"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ORIGIN = "urn:seatkeeper:params:scim:schemas:extension:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class Directory:
    """One organization, its global admin, and the directory that calls in its name."""

    def __init__(self, name: str = "Contoso") -> None:
        self.tenant = make_tenant(name=name)
        self.gina = make_user(self.tenant, name="Gina", roles=("global_admin",))
        self.secret = service_token_of(self.gina, "scim")
        self.client = caller_with(self.secret)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        text = body if isinstance(body, str | bytes) else ("" if body is None else json.dumps(body))
        return self.client.generic(
            method, f"{ROOT}{path}", text, content_type="application/scim+json", headers=headers
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.call("PUT", path, body, **headers)

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> Any:
        return self.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)

    def find(self, path: str, filter: str) -> list[str]:
        """The ids that a filter finds."""
        answer = self.client.get(f"{ROOT}{path}", {"filter": filter})
        assert answer.status_code == 200, answer.content
        return [each["id"] for each in answer.json().get("Resources", [])]

    def made(self, **values: Any) -> dict[str, Any]:
        """A user that the directory makes."""
        answer = self.post("/Users", user(**values))
        assert answer.status_code == 201, answer.content
        made: dict[str, Any] = answer.json()
        return made

    def made_group(self, name: str, *members: str) -> dict[str, Any]:
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": each} for each in members]}
        answer = self.post("/Groups", body)
        assert answer.status_code == 201, answer.content
        made: dict[str, Any] = answer.json()
        return made

    def row(self, key: str) -> User:
        with tenant_atomic(self.tenant.pk):
            row: User = User.objects.get(key=key)
            return row

    def members(self, key: str) -> set[str]:
        with tenant_atomic(self.tenant.pk):
            rows = GroupMembership.objects.filter(group__key=key).values_list("user__key", flat=True)
            return {str(each) for each in rows}

    def groups(self) -> list[str]:
        with tenant_atomic(self.tenant.pk):
            return list(Group.objects.order_by("name").values_list("name", flat=True))

    def everything(self) -> tuple[list[Any], list[Any], list[Any]]:
        """All that SCIM could change of the organization."""
        with tenant_atomic(self.tenant.pk):
            return (
                list(User.objects.order_by("id").values()),
                list(Group.objects.order_by("id").values()),
                list(GroupMembership.objects.order_by("id").values()),
            )


def user(**values: Any) -> dict[str, Any]:
    """The body of a user, as Entra makes one with its usual attribute mapping."""
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": "adele@contoso.example",
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "active": True,
        "displayName": "Adele Vance",
        "emails": [{"primary": True, "type": "work", "value": "adele@contoso.example"}],
        "name": {"formatted": "Adele Vance", "familyName": "Vance", "givenName": "Adele"},
        "title": "Retail Manager",
        "meta": {"resourceType": "User"},
        ENTERPRISE: {"department": "Retail"},
    } | values


def other(tenant: Tenant, **fields: Any) -> User:
    """Somebody of an organization whom no directory made."""
    return make_user(tenant, created_at=AT, **fields)
