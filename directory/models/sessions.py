"""Where somebody is signed in: one row for each session of a browser (reliability §7, I-24)."""

import uuid
from datetime import datetime, timedelta
from typing import Self

from django.db import models

from config.kit.tenancy import SameTenant, ScopedQuerySet, TenantModel


class BrowserSessionQuerySet(ScopedQuerySet):
    """Rows as sessions that may still go on."""

    def open(self) -> Self:
        return self.filter(ended_at=None)

    def alive(self, real_at: datetime, *, idle: timedelta, longest: timedelta) -> Self:
        """Open ones that neither age has ended."""
        return self.open().filter(started_at__gt=real_at - longest, seen_at__gt=real_at - idle)


class BrowserSession(TenantModel):
    """One session of a person at home; what the browser holds names it. Instants are real time.

    Lives until it is ended, by the person, by an admin, or by another session in the same browser; forgotten
    30 days after its beginning, when the person signs in again, and at once with a deleted account.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(
        "directory.User", on_delete=models.CASCADE, related_name="browser_sessions", db_constraint=False
    )
    address = models.GenericIPAddressField(null=True)
    agent = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = BrowserSessionQuerySet.as_manager()

    class Meta(TenantModel.Meta):
        constraints = [
            *TenantModel.Meta.constraints,
            SameTenant(field="user", name="directory_browsersession_user_same"),
        ]
        indexes = [models.Index(fields=["user", "-id"], name="directory_session_latest")]
