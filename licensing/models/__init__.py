"""Licenses: who holds them, who asks for them, and lists of people who are to get them."""

from licensing.models.assignments import Assignment, AssignmentQuerySet
from licensing.models.bulk import BulkPiece
from licensing.models.requests import LicenseRequest, LicenseRequestQuerySet, RequestedPerson

__all__ = [
    "Assignment",
    "AssignmentQuerySet",
    "BulkPiece",
    "LicenseRequest",
    "LicenseRequestQuerySet",
    "RequestedPerson",
]
