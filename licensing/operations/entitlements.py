"""Whether a person may use a product, asked by that product with a token (product §7.4)."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from config.kit.errors import NotVisible
from config.kit.tenancy import binding_cursor
from directory.operations.tokens import NotAuthenticated, ScopeTooLow
from directory.permissions import ROLES, TABLE, Capability
from directory.tokens import SCOPES, includes
from policies import data_rule

SCOPE = "licenses.read"
# A token must hold one of these, and whoever does not hold one of these roles asks about the own account alone.
# Both as PostgreSQL writes arrays.
_SCOPES = f"{{{','.join(scope for scope in SCOPES if includes({scope}, SCOPE))}}}"
_SEE_ALL = f"{{{','.join(role for role in ROLES if 'all' in getattr(TABLE[Capability.SEE_LICENSES], role))}}}"
_ADMINS = f"{{{','.join(data_rule.ADMIN_ROLES)}}}"
ANSWERED = frozenset({"entitled", "no_license", "account_disabled", "service_off"})


@dataclass(frozen=True, slots=True)
class Data:
    """The organization's data policy for the person and the product. `retention_days`: how long what nobody may use
    any more is kept. `creators`: who may make workspaces; `may_create`: whether the person may."""

    service_on: bool
    external_sharing: bool
    retention_days: int
    creators: str
    may_create: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What holds now. `reason` says why not; the rest is of the subscription that gives the product, if one does.

    `ends_at`: the end of the term, or once Expired the end of that; access may last longer where it renews.
    `data`: None where the account is disabled.
    """

    reason: str
    data: Data | None
    user_key: uuid.UUID
    product_key: str
    product_name: str
    subscription_key: uuid.UUID | None
    channel: str | None
    owner_kind: str | None
    state: str | None
    ends_at: datetime | None
    is_recurring: bool | None

    @property
    def is_entitled(self) -> bool:
        return self.reason == "entitled"


def check_entitlement(*, digest: bytes, user: str, product: str, at: datetime) -> Answer:
    """Whether `user` (id or e-mail) may use `product` (current or former id, or slug), asked with a token's hash.

    One statement that judges the token too. Notes the day of use on the license, at most once a day.

    :raises NotAuthenticated: the token is not good.
    :raises ScopeTooLow: it lacks the scope.
    :raises NotVisible: no such product or person, several with that address, or none that the token may ask about.
    """
    if "\0" in user or "\0" in product:
        raise NotVisible
    with binding_cursor() as cursor:
        cursor.execute(
            "SELECT * FROM licensing_entitlement(%s, %s, %s, %s, %s, %s, %s)",
            [digest, user, product, at, _SCOPES, _SEE_ALL, _ADMINS],
        )
        verdict, *facts, service_on, external_sharing, retention_days, creators, is_admin = cursor.fetchone()
    if verdict in ANSWERED:
        data = None
        if service_on is not None:
            may_create = data_rule.may_create(
                service_on=service_on, creators=creators, is_entitled=verdict == "entitled", is_admin=is_admin
            )
            data = Data(service_on, external_sharing, retention_days, creators, may_create)
        return Answer(verdict, data, *facts)
    if verdict == "unauthenticated":
        raise NotAuthenticated
    if verdict == "scope_too_low":
        raise ScopeTooLow
    raise NotVisible
