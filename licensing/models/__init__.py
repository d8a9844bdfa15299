"""Licenses: who holds them, who asks for them, lists of people who are to get them, and purchases that become central."""

from licensing.models.assignments import Assignment, AssignmentQuerySet
from licensing.models.bulk import BulkPiece
from licensing.models.centralizations import (
    Centralization,
    CentralizationQuerySet,
    CentralizedPerson,
    CentralizedPurchase,
)
from licensing.models.requests import LicenseRequest, LicenseRequestQuerySet, RequestedPerson

__all__ = [
    "Assignment",
    "AssignmentQuerySet",
    "BulkPiece",
    "Centralization",
    "CentralizationQuerySet",
    "CentralizedPerson",
    "CentralizedPurchase",
    "LicenseRequest",
    "LicenseRequestQuerySet",
    "RequestedPerson",
]
