"""Where somebody is signed in now."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from directory.models import BrowserSession

MOST_SHOWN = 100


def sessions_of(
    *, tenant_id: int, user_id: int, is_admin: bool, real_at: datetime
) -> Sequence[BrowserSession]:
    """The person's sessions that go on, the one used last first; up to 100. Inside the home's `tenant_atomic`."""
    idle = settings.SESSION_IDLE_ADMIN if is_admin else timedelta(seconds=settings.SESSION_COOKIE_AGE)
    rows = BrowserSession.objects.filter(tenant_id=tenant_id, user_id=user_id)
    alive = rows.alive(real_at, idle=idle, longest=settings.SESSION_ABSOLUTE_AGE)
    return list(alive.order_by("-seen_at", "-pk")[:MOST_SHOWN])
