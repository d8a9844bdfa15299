"""What scim2-server reads and writes: the directory's rows and operations, nothing past them."""

from datetime import datetime
from typing import Any, override

from scim2_models import NotImplementedException, PatchOp, ResourceType, ResponseParameters, SearchRequest
from scim2_server.storage import ScimStorage, SearchPage

from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.scim.groups import Groups
from directory.scim.users import Users


class DirectoryStorage(ScimStorage):
    """One request's view of one organization.

    Reading and writing are short transactions of their own: a change is made from what was read, and refused where
    that has changed in between (`Moved`).
    """

    def __init__(self, actor: Actor, at: datetime) -> None:
        self.actor = actor
        self.users, self.groups = Users(actor, at), Groups(actor, at)

    def narrow(self, resource_type: ResourceType, patch: "PatchOp[Any]") -> None:
        """Read of a group what the patch is about, alone."""
        if resource_type.name == "Group":
            self.groups.narrow(patch)

    @override
    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Any:
        return self._kept(resource_type).get(resource_id, response_parameters)

    @override
    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """Users before groups where both are searched."""
        start, left = search_request.start_index_0 or 0, search_request.count or 0
        total, found = 0, []
        with tenant_atomic(self.actor):
            for resource_type in resource_types:
                number, rows = self._kept(resource_type).search(search_request, max(0, start - total), left)
                total += number
                left -= len(rows)
                found += rows
        return SearchPage(total, found)

    @override
    def create(self, resource_type: ResourceType, resource: Any) -> Any:
        return self._kept(resource_type).create(resource)

    @override
    def update(
        self, resource_type: ResourceType, resource: Any, *, expected_version: str | None = None
    ) -> Any:
        return self._kept(resource_type).update(resource)

    @override
    def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        self._kept(resource_type).delete(resource_id)

    def _kept(self, resource_type: ResourceType) -> Users | Groups:
        match resource_type.name:
            case "User":
                return self.users
            case "Group":
                return self.groups
        raise NotImplementedException
