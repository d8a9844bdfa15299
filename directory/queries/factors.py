"""Which second factors somebody has."""

from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator

from directory.factors import APP, PASSKEY, RECOVERY, codes_left


@dataclass(frozen=True, slots=True)
class Factor:
    """One app or passkey."""

    id: int
    type: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person can show, the oldest first; `codes_left`: recovery codes that were not used."""

    shown: tuple[Factor, ...]
    codes_left: int

    def has(self, kind: str) -> bool:
        return any(factor.type == kind for factor in self.shown)

    @property
    def has_app(self) -> bool:
        return self.has(APP)

    @property
    def has_passkey(self) -> bool:
        return self.has(PASSKEY)


def factors_of(user_id: int) -> Factors:
    """Inside `tenant_atomic` of the person's home. One query."""
    rows = list(Authenticator.objects.filter(user_id=user_id).order_by("id"))
    shown = [
        Factor(row.pk, row.type, row.data.get("name", ""), row.created_at, row.last_used_at)
        for row in rows
        if row.type in (APP, PASSKEY)
    ]
    left = sum(codes_left(row) for row in rows if row.type == RECOVERY)
    return Factors(tuple(shown), left)


def passkeys_of(user_id: int) -> list[Authenticator]:
    """The rows of the person's passkeys; inside `tenant_atomic` of the home."""
    return list(Authenticator.objects.filter(user_id=user_id, type=PASSKEY).order_by("id"))
