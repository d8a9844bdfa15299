"""What is served: users and groups with the attributes that are kept here, and what the service can do (RFC 7643).

Attributes of the standard that are not here are taken and forgotten, as a directory sends many.
"""

from typing import Annotated, Any, Final

from django.conf import settings
from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Extension,
    External,
    Filter,
    Mutability,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models.resources.resource import AnyExtension

# Most resources on a page, whatever is asked for.
MOST_LISTED: Final = 200
ON_PREMISES: Final = "on_premises"


class Name(ComplexAttribute):
    """The parts of a person's name."""

    given_name: str | None = None
    """The given name."""

    family_name: str | None = None
    """The family name."""


class Email(ComplexAttribute):
    """The one address of an account."""

    value: str | None = None
    """The address that mail goes to."""

    type: str | None = Field(None, examples=["work"])
    """Always work."""


class User(Resource[AnyExtension]):
    """An account of the organization."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    """What the directory calls the person; one of its kind in the organization."""

    name: Name | None = None
    """The parts of the name."""

    display_name: Annotated[str | None, Required.true] = None
    """The name that people see. Made of the other names where it is not sent."""

    active: Annotated[bool | None, Required.true] = None
    """Whether the person may sign in. True where it is not sent."""

    emails: list[Email] | None = None
    """The address of the account: of several, the primary one, else the one for work. Not sent: the userName, if
    that is an address."""

    preferred_language: str | None = Field(None, examples=[code for code, _name in settings.LANGUAGES])
    """The language of pages and mails, as far as there is a translation."""


class Origin(Extension):
    """Where an account comes from."""

    __schema__ = URN("urn:seatkeeper:params:scim:schemas:extension:2.0:User")

    source: str | None = Field(None, examples=[ON_PREMISES])
    """on_premises for an account synchronized from an on-premises directory; absent for one of the cloud."""


class Member(ComplexAttribute):
    """Somebody in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    """The id of a user of the organization. Groups in groups are not kept."""

    ref: Annotated[Reference["User"] | None, Mutability.immutable] = Field(  # type: ignore[type-arg]
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    """The address of the user."""

    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])
    """Always User."""


class Group(Resource[Any]):
    """People of the organization, named together."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    """The name of the group; one of its kind in the organization."""

    members: list[Member] | None = None
    """Who is in it."""


CONFIG: Final = ServiceProviderConfig(
    patch=Patch(supported=True),
    bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
    filter=Filter(supported=True, max_results=MOST_LISTED),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=False),
    etag=ETag(supported=True),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="Bearer token",
            description="A token for provisioning that a global admin made under Settings > Provisioning.",
            spec_uri=Reference[External]("https://www.rfc-editor.org/info/rfc6750"),
            primary=True,
        )
    ],
)

# Entra's dialect: values in a remove, filters that describe an entry to make, and attributes that are not kept here.
POLICY: Final = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)

AnyUser = User[Origin]
PROVIDER: Final = ScimProvider(
    models=[User, Origin, Group],
    resource_types=[ResourceType.from_resource(AnyUser), ResourceType.from_resource(Group)],
    config=CONFIG,
    policy=POLICY,
)
