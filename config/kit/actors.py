"""Who acts, for which tenant, through which door (architecture §3)."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self

from config.kit.errors import NotAllowed, NotVisible

type Door = Literal["web", "api", "scim", "cli", "job", "mail"]
type Scope = Literal["own", "org", "all"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Built once per request or job and passed to every operation and every `visible_to`.

    `grants` maps a capability to the scopes that the roles give, all columns of product §2 added up.
    `home_tenant_id` is where the person's account lives; it differs from `tenant_id` only for the vendor's staff, who
    read through `staff_session_id`, and for partners, who act through `relationship_id`; with several relationships
    `relationship_ends_at` is the earliest end. `has_customers`: at home, on a page or by command, there are customers
    that the person may act for; `is_of_partner`: likewise, the organization is or was a partner of some customer, or
    asked to be. `staff_roles`: what a person of the vendor works at; their capabilities are among `grants` only once
    the second factor was shown.
    """

    user_id: int | None
    tenant_id: int
    home_tenant_id: int
    label: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    grants: Mapping[str, frozenset[Scope]] = field(default_factory=dict)
    relationship_id: int | None = None
    staff_session_id: int | None = None
    relationship_label: str = ""
    partner_name: str = ""
    relationship_ends_at: datetime | None = None
    has_customers: bool = False
    is_of_partner: bool = False
    staff_roles: frozenset[str] = frozenset()
    is_guest: bool = False
    is_purchaser: bool = False
    door: Door = "web"
    correlation_id: str = ""

    @property
    def is_partner(self) -> bool:
        """Whether they act in an organization that is not their own: a partner, or the vendor's staff in a session."""
        return self.relationship_id is not None or self.staff_session_id is not None

    @property
    def is_staff(self) -> bool:
        """Whether it is the vendor's staff, reading a customer's pages."""
        return self.staff_session_id is not None

    @property
    def is_system(self) -> bool:
        """The installation itself, which no role limits; never built from a request."""
        return self.user_id is None and self.door in ("job", "cli")

    def scopes(self, capability: str) -> frozenset[Scope]:
        """The scopes in which the actor holds a capability; empty when not at all."""
        return self.grants.get(capability, frozenset())

    def may(self, capability: str) -> bool:
        return bool(self.scopes(capability))

    def reaches(self, capability: str, *, is_own: bool, is_org: bool) -> bool:
        """Whether the capability covers an object that is the actor's own, the organization's, or neither."""
        scopes = self.scopes(capability)
        return "all" in scopes or (is_own and "own" in scopes) or (is_org and "org" in scopes)

    def require(self, capability: str, *, is_own: bool, is_org: bool, sees: str) -> None:
        """Refuse what the actor may not do to an object.

        :raises NotVisible: the actor does not even hold `sees` over it.
        :raises NotAllowed: visible, and not theirs to change.
        """
        if self.reaches(capability, is_own=is_own, is_org=is_org):
            return
        if self.reaches(sees, is_own=is_own, is_org=is_org):
            raise NotAllowed
        raise NotVisible

    @classmethod
    def system(cls, tenant_id: int, *, label: str = "Seatkeeper", door: Door = "job") -> Self:
        """The installation itself, acting for one tenant in a job."""
        return cls(
            user_id=None,
            tenant_id=tenant_id,
            home_tenant_id=tenant_id,
            label=label,
            door=door,
            correlation_id=uuid.uuid4().hex,
        )
