"""Tenants, people, partners, tokens, the audit trail and the outbox."""

from directory.models.audit import AuditEntry
from directory.models.jobs import Job, JobPart, JobRow
from directory.models.links import AccountLink
from directory.models.mail import MailPreference, OutgoingMail
from directory.models.partners import Invitation, Relationship, RelationshipAssignment
from directory.models.people import Group, GroupMembership, RoleAssignment, User
from directory.models.sessions import BrowserSession
from directory.models.staff import STAFF_SESSION_LASTS, StaffAssignment, StaffSession
from directory.models.tenants import Domain, IdentityProvider, Tenant
from directory.models.tokens import ApiToken, IdempotentCall
from directory.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "STAFF_SESSION_LASTS",
    "AccountLink",
    "ApiToken",
    "AuditEntry",
    "BrowserSession",
    "Domain",
    "Group",
    "GroupMembership",
    "IdempotentCall",
    "IdentityProvider",
    "Invitation",
    "Job",
    "JobPart",
    "JobRow",
    "MailPreference",
    "OutgoingMail",
    "Relationship",
    "RelationshipAssignment",
    "RoleAssignment",
    "StaffAssignment",
    "StaffSession",
    "Tenant",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
]
