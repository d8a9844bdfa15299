"""The protocol's steps, where they differ from the library's: defaults, dialects, and what a change reads."""

from typing import Any, override

from pydantic import ValidationError
from scim2_models import Context, PatchOp, Resource, ResourceType
from scim2_server.conditions import Conditions
from scim2_server.handler import ScimHandler
from scim2_server.service import ScimService, scim_exception_of
from scim2_server.utils import parametrize

from directory.scim.dialect import standard_patch, with_defaults
from directory.scim.schemas import PROVIDER
from directory.scim.storage import DirectoryStorage

# An account that a directory names is active, and is called by its other names, unless it says so.
_DEFAULTS: dict[str, dict[str, Any]] = {"User": {"displayName": "", "active": True}, "Group": {}}


class Service(ScimService):
    """For one request."""

    def __init__(self) -> None:
        super().__init__(PROVIDER)
        self.absent: frozenset[str] = frozenset()

    @override
    def read_creation(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> Resource[Any]:
        return self._read(resource_type, body, content_type, Context.RESOURCE_CREATION_REQUEST)

    @override
    def read_replacement(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> Resource[Any]:
        return self._read(resource_type, body, content_type, Context.RESOURCE_REPLACEMENT_REQUEST)

    @override
    def apply_replacement(
        self, current: Resource[Any], replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any] | None:
        """Whether somebody may sign in, and where the account comes from, stay as they are when nothing is said."""
        if "active" in self.absent:
            replacement.active = current.active  # type: ignore[attr-defined]
        if getattr(replacement, "Origin", None) is None and hasattr(current, "Origin"):
            replacement.Origin = current.Origin  # type: ignore[attr-defined]
        return super().apply_replacement(current, replacement, conditions)

    @override
    def read_patch(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> "PatchOp[Any]":
        model = self.get_model(resource_type)
        payload = standard_patch(self.decode_body(body, content_type), model)
        patch: PatchOp[Any] = _validated(parametrize(PatchOp, model), payload, Context.RESOURCE_PATCH_REQUEST)
        return patch

    def _read(
        self, resource_type: ResourceType, body: bytes, content_type: str | None, context: Context
    ) -> Resource[Any]:
        payload, self.absent = with_defaults(
            self.decode_body(body, content_type), _DEFAULTS[str(resource_type.name)]
        )
        resource: Resource[Any] = _validated(self.get_model(resource_type), payload, context)
        return resource


class Handler(ScimHandler):
    """Reads of a group only the members that a change is about, where the answer does not show the others."""

    storage: DirectoryStorage

    def __init__(self, service: Service, storage: DirectoryStorage, *, shows_all: bool) -> None:
        super().__init__(service, storage)
        self.shows_all = shows_all

    @override
    def patch_resource(
        self,
        resource_type: ResourceType,
        resource_id: str,
        patch_op: "PatchOp[Any]",
        conditions: Conditions,
    ) -> Resource[Any]:
        if not self.shows_all:
            self.storage.narrow(resource_type, patch_op)
        return super().patch_resource(resource_type, resource_id, patch_op, conditions)


def _validated(model: Any, payload: Any, context: Context) -> Any:
    try:
        return model.model_validate(payload, scim_ctx=context)
    except ValidationError as exception:
        raise scim_exception_of(exception) from exception
