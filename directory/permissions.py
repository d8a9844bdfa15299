"""The capability table of product §2: rows are capabilities, columns are roles, every cell explicit.

Pure data. A cell is `NO` or the scopes in which the role holds the capability: `OWN` (owned by or billed to
the person), `ORG` (owned by the organization), `ALL` (every one of the tenant). Rights add up.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from config.kit.actors import Scope

NO: Final[frozenset[Scope]] = frozenset()
OWN: Final[frozenset[Scope]] = frozenset({"own"})
ORG: Final[frozenset[Scope]] = frozenset({"org"})
OWN_ORG: Final[frozenset[Scope]] = frozenset({"own", "org"})
ALL: Final[frozenset[Scope]] = frozenset({"all"})


class Role:
    """Roles inside a tenant, granted by a global admin."""

    GLOBAL_ADMIN = "global_admin"
    BILLING_ADMIN = "billing_admin"
    LICENSE_ADMIN = "license_admin"
    USER_ADMIN = "user_admin"
    GLOBAL_READER = "global_reader"


ROLES = (
    Role.GLOBAL_ADMIN,
    Role.BILLING_ADMIN,
    Role.LICENSE_ADMIN,
    Role.USER_ADMIN,
    Role.GLOBAL_READER,
)


class Capability:
    """Names of the rows; an address and an operation ask for one of these."""

    BUY = "buy"
    SEE_PURCHASES = "see_purchases"
    SEE_LICENSES = "see_licenses"
    ASSIGN = "assign"
    MANAGE_PURCHASES = "manage_purchases"
    BUY_CENTRALLY = "buy_centrally"
    SEE_BILLS = "see_bills"
    SEE_BILL_AMOUNTS = "see_bill_amounts"
    PAY_BILLS = "pay_bills"
    TAKE_OVER = "take_over"
    READ_POLICY = "read_policy"
    CHANGE_POLICY = "change_policy"
    READ_DATA_POLICY = "read_data_policy"
    CHANGE_DATA_POLICY = "change_data_policy"
    SEE_WORKSPACES = "see_workspaces"
    REQUEST_LICENSE = "request_license"
    SEE_QUEUE = "see_queue"
    GIVE_FREE_SEAT = "give_free_seat"
    ANSWER_WITH_MONEY = "answer_with_money"
    SEE_CAPACITY = "see_capacity"
    REPORT_CAPACITY = "report_capacity"
    LOOK_UP_PEOPLE = "look_up_people"
    SEE_PEOPLE = "see_people"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_ADMINS = "manage_admins"
    SEE_SETTINGS = "see_settings"
    MANAGE_SETTINGS = "manage_settings"
    PERSONAL_TOKENS = "personal_tokens"
    SEE_SERVICE_TOKENS = "see_service_tokens"
    SERVICE_TOKENS_BILLING = "service_tokens_billing"
    SERVICE_TOKENS_ALL = "service_tokens_all"
    SEE_AUDIT = "see_audit"
    SEE_AUDIT_BILLING = "see_audit_billing"
    SEE_RELATIONSHIPS = "see_relationships"
    MANAGE_RELATIONSHIPS = "manage_relationships"
    ASK_RELATIONSHIP = "ask_relationship"
    SEE_CASES = "see_cases"
    OPEN_CASES = "open_cases"
    ASK_SUPPORT_TO_CANCEL = "ask_support_to_cancel"
    EDIT_CONTACT_TEXT = "edit_contact_text"


class Row(NamedTuple):
    """One capability. `partner`: whether delegated roles give it too (then the role's own cell)."""

    member: frozenset[Scope]
    purchaser: frozenset[Scope]
    license_admin: frozenset[Scope]
    user_admin: frozenset[Scope]
    billing_admin: frozenset[Scope]
    global_admin: frozenset[Scope]
    global_reader: frozenset[Scope]
    partner: bool


# fmt: off
TABLE: Final[Mapping[str, Row]] = {
    #                                     member  purchaser license  user     billing  global   reader   partner
    Capability.BUY:                   Row(OWN,    OWN,      OWN,     OWN,     OWN,     OWN,     OWN,     False),
    Capability.SEE_PURCHASES:         Row(NO,     OWN,      NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.SEE_LICENSES:          Row(OWN,    OWN,      ALL,     ALL,     ALL,     ALL,     ALL,     True),
    Capability.ASSIGN:                Row(NO,     OWN,      ORG,     ORG,     NO,      ORG,     NO,      True),
    Capability.MANAGE_PURCHASES:      Row(NO,     OWN,      NO,      NO,      ORG,     ORG,     NO,      True),
    Capability.BUY_CENTRALLY:         Row(NO,     NO,       NO,      NO,      ORG,     ORG,     NO,      True),
    Capability.SEE_BILLS:             Row(NO,     OWN,      NO,      NO,      ORG,     ORG,     ORG,     True),
    Capability.SEE_BILL_AMOUNTS:      Row(NO,     OWN,      NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.PAY_BILLS:             Row(NO,     OWN,      NO,      NO,      ORG,     ORG,     NO,      False),
    Capability.TAKE_OVER:             Row(NO,     NO,       NO,      NO,      ALL,     ALL,     NO,      True),
    Capability.READ_POLICY:           Row(NO,     NO,       NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.CHANGE_POLICY:         Row(NO,     NO,       NO,      NO,      ALL,     ALL,     NO,      True),
    Capability.READ_DATA_POLICY:      Row(NO,     NO,       NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.CHANGE_DATA_POLICY:    Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      True),
    Capability.SEE_WORKSPACES:        Row(OWN,    OWN,      NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.REQUEST_LICENSE:       Row(OWN,    OWN,      OWN,     OWN,     OWN,     OWN,     OWN,     False),
    Capability.SEE_QUEUE:             Row(NO,     NO,       ALL,     ALL,     ALL,     ALL,     ALL,     True),
    Capability.GIVE_FREE_SEAT:        Row(NO,     NO,       ALL,     ALL,     NO,      ALL,     NO,      True),
    Capability.ANSWER_WITH_MONEY:     Row(NO,     NO,       NO,      NO,      ALL,     ALL,     NO,      True),
    Capability.SEE_CAPACITY:          Row(NO,     OWN,      NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.REPORT_CAPACITY:       Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      False),
    Capability.LOOK_UP_PEOPLE:        Row(ALL,    ALL,      ALL,     ALL,     ALL,     ALL,     ALL,     True),
    Capability.SEE_PEOPLE:            Row(NO,     NO,       ALL,     ALL,     ALL,     ALL,     ALL,     True),
    Capability.MANAGE_MEMBERS:        Row(NO,     NO,       NO,      ALL,     NO,      ALL,     NO,      True),
    Capability.MANAGE_ADMINS:         Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      True),
    Capability.SEE_SETTINGS:          Row(NO,     NO,       NO,      NO,      NO,      ALL,     ALL,     False),
    Capability.MANAGE_SETTINGS:       Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      False),
    Capability.PERSONAL_TOKENS:       Row(NO,     OWN,      OWN,     OWN,     OWN,     OWN,     OWN,     False),
    Capability.SEE_SERVICE_TOKENS:    Row(NO,     NO,       NO,      NO,      ALL,     ALL,     ALL,     False),
    Capability.SERVICE_TOKENS_BILLING: Row(NO,    NO,       NO,      NO,      ALL,     ALL,     NO,      False),
    Capability.SERVICE_TOKENS_ALL:    Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      False),
    Capability.SEE_AUDIT:             Row(NO,     OWN,      NO,      NO,      NO,      ALL,     ALL,     True),
    Capability.SEE_AUDIT_BILLING:     Row(NO,     NO,       NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.SEE_RELATIONSHIPS:     Row(NO,     NO,       NO,      NO,      ALL,     ALL,     ALL,     True),
    Capability.MANAGE_RELATIONSHIPS:  Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      False),
    Capability.ASK_RELATIONSHIP:      Row(NO,     NO,       NO,      NO,      NO,      ALL,     NO,      True),
    Capability.SEE_CASES:             Row(OWN,    OWN,      OWN,     OWN,     OWN_ORG, OWN_ORG, ORG,     True),
    Capability.OPEN_CASES:            Row(OWN,    OWN,      OWN,     OWN,     OWN_ORG, OWN_ORG, NO,      True),
    Capability.ASK_SUPPORT_TO_CANCEL: Row(NO,     NO,       NO,      NO,      ALL,     ALL,     NO,      True),
    Capability.EDIT_CONTACT_TEXT:     Row(NO,     NO,       NO,      NO,      ALL,     ALL,     NO,      False),
}
# fmt: on

# A guest has no part in the tenant's purchases; what a guest may hold is the own license.
GUEST: Final[Mapping[str, frozenset[Scope]]] = {Capability.SEE_LICENSES: OWN}


@lru_cache(maxsize=512)
def grants_for(
    roles: frozenset[str], *, is_purchaser: bool, is_guest: bool, is_partner: bool
) -> Mapping[str, frozenset[Scope]]:
    """All columns that fit, added up: capability -> scopes. Capabilities that nothing gives are absent.

    A partner gets the delegated roles' cells alone, and only of rows that delegation reaches.
    """
    if is_guest:
        return GUEST
    grants: dict[str, frozenset[Scope]] = {}
    for capability, row in TABLE.items():
        if is_partner and not row.partner:
            continue
        scopes: frozenset[Scope] = frozenset()
        for role in roles:
            scopes |= getattr(row, role)
        if not is_partner:
            scopes |= row.member
            if is_purchaser:
                scopes |= row.purchaser
        if scopes:
            grants[capability] = scopes
    return grants


# A suspended tenant's people may only pay, export and open a case (product §1). What they see stays: it is
# what they pay for and export. Buying is refused by eligibility, which says why.
KEPT_WHEN_SUSPENDED: Final = frozenset(
    {
        Capability.BUY,
        Capability.SEE_PURCHASES,
        Capability.SEE_LICENSES,
        Capability.SEE_BILLS,
        Capability.SEE_BILL_AMOUNTS,
        Capability.PAY_BILLS,
        Capability.READ_POLICY,
        Capability.READ_DATA_POLICY,
        Capability.SEE_WORKSPACES,
        Capability.SEE_QUEUE,
        Capability.SEE_CAPACITY,
        Capability.SEE_PEOPLE,
        Capability.SEE_SETTINGS,
        Capability.SEE_SERVICE_TOKENS,
        Capability.SEE_AUDIT,
        Capability.SEE_AUDIT_BILLING,
        Capability.SEE_RELATIONSHIPS,
        Capability.SEE_CASES,
        Capability.OPEN_CASES,
    }
)


def suspended(grants: Mapping[str, frozenset[Scope]]) -> Mapping[str, frozenset[Scope]]:
    """What is left of a person's rights while the tenant is suspended."""
    return {capability: scopes for capability, scopes in grants.items() if capability in KEPT_WHEN_SUSPENDED}
