"""Sign-in through each tenant's identity provider (product §3.2, architecture §3)."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest


class SessionBackend(BaseBackend):
    """There is no password: accounts come from `AccessMiddleware` alone."""


class ClosedAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """No sign-up by allauth."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class TenantSocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Apps from our own walled table."""
