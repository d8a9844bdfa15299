"""What organizations and partners ask of the vendor, and what was agreed with them, of all of them (docs/adr/0034)."""

import uuid
from datetime import datetime
from typing import NamedTuple

from commerce.models import SupportCase
from config.kit.listings import Listing


class CaseRow(NamedTuple):
    """A support case with its subject; what else was written in it is read in the case."""

    id: int
    key: uuid.UUID
    tenant_id: int
    organization: str
    kind: str
    state: str
    product: str
    asked_at: datetime
    answered_at: datetime | None
    subject: str
    is_premier: bool
    assigned_to: str
    waits_since: datetime

    @property
    def kind_label(self) -> str:
        return str(SupportCase.Kind(self.kind).label)


class SolutionRow(NamedTuple):
    """What a partner wants to show beside a product."""

    id: int
    key: uuid.UUID
    tenant_id: int
    organization: str
    product: str
    title: str
    description: str
    url: str
    state: str
    answer: str
    sent_at: datetime


class AgreementRow(NamedTuple):
    """An organization's agreement, with how many prices it has."""

    id: int
    tenant_id: int
    organization: str
    name: str
    payment_days: int
    ended_at: datetime | None
    prices: int


# Filters: a state or empty, and a part of the organization's name.
CASES = Listing("staff_cases", CaseRow, filters=2, newest_first=False)
SOLUTIONS = Listing("staff_solutions", SolutionRow, filters=2, newest_first=False)
# Filter: a part of the organization's name.
AGREEMENTS = Listing("staff_agreements", AgreementRow, filters=1, newest_first=False)
