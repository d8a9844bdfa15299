"""Which organization the vendor's staff mean (docs/adr/0034)."""

from dataclasses import dataclass

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
