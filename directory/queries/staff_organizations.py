"""Which organization the vendor's staff mean, and which wait to sign in somewhere else (docs/adr/0034)."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from config.kit.listings import Listing
from config.kit.tenancy import connection


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization by its id and name, and nothing else of it."""

    tenant_id: int
    name: str


def organization_of_domain(domain: str) -> Organization | None:
    """Whose proved domain that is, in the vendor's transaction; None for nobody's, and in any other. One query."""
    with connection().cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, name FROM staff_tenant_of_domain(%s)",
            [domain.strip().lower().replace("\0", "")],
        )
        row = cursor.fetchone()
    return Organization(*row) if row else None


class ProviderChange(NamedTuple):
    """A planned change of an organization's identity provider. `confirmed_by` is empty until a second agreed."""

    id: int
    key: str
    tenant_id: int
    organization: str
    issuer: str
    planned_by: str
    planned_at: datetime
    switch_at: datetime
    held_up_since: datetime | None
    confirmed_by: str


# Filter: a part of the organization's name.
PROVIDER_CHANGES = Listing("staff_provider_changes", ProviderChange, filters=1)
