"""Licenses: who holds them, who asks for them, who waits, lists of people who are to get
them, purchases that become central, and what people make in products."""

from licensing.models.assignments import Assignment, AssignmentQuerySet
from licensing.models.bulk import BulkPiece
from licensing.models.capacity import Consumption, ConsumptionQuerySet
from licensing.models.centralizations import (
    Centralization,
    CentralizationQuerySet,
    CentralizedPerson,
    CentralizedPurchase,
)
from licensing.models.groups import GroupExclusion, GroupLicense, GroupTouch
from licensing.models.requests import LicenseRequest, LicenseRequestQuerySet, RequestedPerson
from licensing.models.waiting import WaitingPlace, WaitingPlaceQuerySet
from licensing.models.workspaces import Workspace, WorkspaceQuerySet

__all__ = [
    "Assignment",
    "AssignmentQuerySet",
    "BulkPiece",
    "Centralization",
    "CentralizationQuerySet",
    "CentralizedPerson",
    "CentralizedPurchase",
    "Consumption",
    "ConsumptionQuerySet",
    "GroupExclusion",
    "GroupLicense",
    "GroupTouch",
    "LicenseRequest",
    "LicenseRequestQuerySet",
    "RequestedPerson",
    "WaitingPlace",
    "WaitingPlaceQuerySet",
    "Workspace",
    "WorkspaceQuerySet",
]
