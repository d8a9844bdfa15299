"""Sign-in through each tenant's identity provider (product §3.2, architecture §3).

allauth keeps the state of a sign-in and makes the way to the provider (state, PKCE); what decides who signed in
is here and in `id_token`: allauth's code flow verifies neither signature nor nonce, lets userinfo win, and knows
accounts by provider alone. None of allauth's own rows are stored.
"""

import logging
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn, override

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import ProviderException
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from config.kit.clock import now
from config.kit.fetch import FetchFailed, fetch_json
from directory import discovery, id_token, tryout
from directory.models import User
from directory.operations.people import create_member_at_sign_in
from directory.queries import Provider, provider_of_key
from directory.sessions import NotConfirmed, confirm_session, confirm_url, start_session

logger = logging.getLogger(__name__)

# Of what a provider sent; it may have sent much.
LONGEST_REASON = 300
# The longest address of ours that somebody is brought back to.
LONGEST_WAY = 2000


class SessionBackend(BaseBackend):
    """There is no password: accounts come from `AccessMiddleware` alone."""


class ClosedAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """No sign-up by allauth."""

    @override
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class TenantOAuth2Adapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """One sign-in at one tenant's provider: every fetch limited, every token verified."""

    nonce = ""

    @cached_property
    def configured(self) -> Provider:
        return self.get_provider().configured  # type: ignore[no-any-return]

    @cached_property
    def metadata(self) -> discovery.Metadata:
        try:
            return discovery.metadata_of(self.configured.key, self.configured.issuer)
        except discovery.ProviderUnusable as error:
            raise ProviderException(str(error)) from error

    @property
    def authorize_url(self) -> str:
        return self.metadata.authorization_endpoint

    @property
    def access_token_url(self) -> str:
        return self.metadata.token_endpoint

    @property
    def basic_auth(self) -> bool:
        return not self.metadata.posts_secret

    @override
    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """Our own public address, whatever Host the request came with."""
        return f"{settings.PUBLIC_URL}{reverse('directory:provider-callback', args=[self.configured.callback_key])}"

    @override
    def get_access_token_data(
        self, request: HttpRequest, app: SocialApp, client: Any, pkce_code_verifier: str | None = None
    ) -> dict[str, Any]:
        if not pkce_code_verifier:
            raise ProviderException("the sign-in began without a code verifier")
        form = {
            "grant_type": "authorization_code",
            "code": request.GET["code"],
            "redirect_uri": client.callback_url,
            "code_verifier": pkce_code_verifier,
        }
        secret: tuple[str, str] | None = (app.client_id, app.secret)
        if self.metadata.posts_secret:
            form |= {"client_id": app.client_id, "client_secret": app.secret}
            secret = None
        return _fetched(self.access_token_url, form=form, auth=secret)

    @override
    def parse_token(self, data: Mapping[str, Any]) -> SocialToken:
        access_token = data.get("access_token")
        if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
            raise ProviderException("no usable access token")
        return SocialToken(token=access_token)

    @override
    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """:raises ProviderException: the token does not prove who signed in."""
        identity = self._identity(kwargs["response"].get("id_token"), access_token=token.token)
        if self.metadata.userinfo_endpoint:
            userinfo = _fetched(
                self.metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {token.token}"}
            )
            if id_token.contradicts(identity, userinfo):
                raise ProviderException("userinfo speaks of somebody else")
        login = SocialLogin(
            user=User(),
            account=SocialAccount(provider=app.provider_id, uid=identity.subject),
            provider=self.get_provider(),
        )
        login.identity = identity
        return login

    def _identity(self, token: object, *, access_token: str) -> id_token.Identity:
        expected = {
            "issuer": self.configured.issuer,
            "client_id": self.configured.client_id,
            "nonce": self.nonce,
            "access_token": access_token,
        }
        try:
            keys = discovery.keys_of(self.configured.key, self.metadata)
            try:
                return id_token.verify(token, keys=keys, **expected)
            except id_token.UnknownKey:
                keys = discovery.keys_of(self.configured.key, self.metadata, again=True)
                return id_token.verify(token, keys=keys, **expected)
        except (id_token.TokenRefused, discovery.ProviderUnusable) as error:
            raise ProviderException(str(error)) from error


class TenantProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """One tenant's identity provider."""

    oauth2_adapter_class = TenantOAuth2Adapter
    pkce_enabled_default = True

    def __init__(self, request: HttpRequest, *, configured: Provider) -> None:
        self.configured = configured
        super().__init__(request, app=_unsaved_app(configured))


class TenantSocialAccountAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Apps from our own walled table, accounts from our own operation."""

    @override
    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """At most the one that the address names; there is no list over all tenants."""
        configured = provider_of_key(provider) if provider else None
        return [_unsaved_app(configured)] if configured else []

    @override
    def get_app(self, request: HttpRequest, provider: str, client_id: str | None = None) -> SocialApp:
        return self.get_provider(request, provider).app

    @override
    def get_provider(
        self, request: HttpRequest, provider: str, client_id: str | None = None
    ) -> TenantProvider:
        """:raises SocialApp.DoesNotExist: no active provider of a managed tenant has this key, nor one that is tried out."""
        configured = provider_of_key(provider) or tryout.provider_of(request, provider)
        if configured is None:
            raise SocialApp.DoesNotExist
        return TenantProvider(request, configured=configured)

    @override
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    @override
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        """Start or confirm our session; allauth's own way on from here, to its sign-up, is never taken."""
        identity: id_token.Identity = sociallogin.identity
        next_path = safe_next(sociallogin.state.get("next"))
        if sociallogin.state.get("tries"):
            configured = sociallogin.provider.configured
            raise ImmediateHttpResponse(tryout.note(request, identity, configured))
        if not sociallogin.state.get("confirms"):
            _sign_in(request, sociallogin.provider.configured, identity)
            raise ImmediateHttpResponse(HttpResponseRedirect(next_path))
        try:
            confirm_session(request, identity)
        except NotConfirmed as error:
            raise ImmediateHttpResponse(not_confirmed_page(request, error, next_path)) from error
        raise ImmediateHttpResponse(HttpResponseRedirect(next_path))

    @override
    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> NoReturn:
        """One page for all that goes wrong at the provider; the log says what."""
        raise ImmediateHttpResponse(refuse(request, provider.app.provider_id, exception or error))


class CallbackView(OAuth2CallbackView):  # type: ignore[misc]
    """The return from the provider."""

    @override
    def _get_state(self, request: HttpRequest, provider: TenantProvider) -> tuple[Any, HttpResponse | None]:
        # Each parameter stands once, or one reader takes the first and another the last (RFC 6749 §3.1).
        if any(len(values) > 1 for _name, values in request.GET.lists()):
            return None, refuse(request, provider.configured.key, "a parameter stands twice")
        state, response = super()._get_state(request, provider)
        if state is not None:
            self.adapter.nonce = state.get("nonce") or ""
            # A provider that says who it is must be the one that was asked (RFC 9207).
            if request.GET.get("iss", provider.configured.issuer) != provider.configured.issuer:
                return None, refuse(request, provider.configured.key, "the answer names another issuer")
        return state, response


def _sign_in(request: HttpRequest, configured: Provider, identity: id_token.Identity) -> None:
    user = create_member_at_sign_in(
        tenant_id=configured.tenant_id,
        issuer=identity.issuer,
        subject=identity.subject,
        name=identity.name,
        email=identity.email,
        is_guest=identity.is_guest,
        external_ids=identity.external_ids,
        at=now(),
    )
    start_session(
        request,
        user,
        proved=identity.proved,
        provider=configured.key,
        has_second_factor=identity.has_second_factor,
    )


def way_to_provider(
    request: HttpRequest,
    provider: TenantProvider,
    *,
    next_path: str,
    hint: str,
    confirms: bool = False,
    tries: bool = False,
) -> HttpResponse:
    """The redirect to the provider, with state, nonce and PKCE challenge kept in the session.

    `confirms`: it is to ask again whoever is signed in already, and the answer goes to `confirm_session`. `tries`: the same,
    and it goes to `tryout`.
    """
    nonce = secrets.token_urlsafe(32)
    auth_params = {"nonce": nonce} | ({"login_hint": hint} if hint else {})
    if confirms or tries:
        auth_params |= {"prompt": "login", "max_age": f"{settings.SIGN_IN_IS_FRESH.total_seconds():.0f}"}
    response: HttpResponse = provider.redirect(
        request,
        "login",
        next_url=safe_next(next_path),
        auth_params=auth_params,
        scope=provider.get_default_scope(),
        nonce=nonce,
        confirms=confirms,
        tries=tries,
    )
    return response


def safe_next(address: object) -> str:
    """A path on this site to go on to; the start page for anything else (reliability §6, Redirects)."""
    if not isinstance(address, str) or not 0 < len(address) <= LONGEST_WAY:
        return "/"
    is_path = address.startswith("/") and not address.startswith(("//", "/\\")) and "\\" not in address
    is_plain = address.isprintable() and not any(c.isspace() for c in address)
    if not (is_path and is_plain and url_has_allowed_host_and_scheme(address, allowed_hosts=None)):
        return "/"
    path = address.split("?", 1)[0].split("#", 1)[0]
    leads_out = path.startswith(tuple(reverse(name) for name in ("directory:sign-in", "directory:sign-out")))
    return "/" if leads_out or path.startswith("/accounts/") else address


def not_confirmed_page(request: HttpRequest, error: NotConfirmed, next_path: str) -> HttpResponse:
    """What the person sees whose session goes on, but who did not prove anew who they are."""
    context = {"error": error, "confirm_url": confirm_url(next_path)}
    return render(request, "directory/not_confirmed.html", context, status=error.status)


def refuse(request: HttpRequest, provider_key: str, why: object) -> HttpResponse:
    """What the person sees when the provider's answer cannot be used. What was wrong is for the log, and for who tests it."""
    logger.warning("Sign-in at %s refused: %s", provider_key, str(why)[:LONGEST_REASON])
    return tryout.failed(request, why) or render(request, "directory/sign_in_failed.html", status=403)


def _unsaved_app(configured: Provider) -> SocialApp:
    return SocialApp(
        provider=OpenIDConnectProvider.id,
        provider_id=configured.key,
        name=configured.key,
        client_id=configured.client_id,
        secret=configured.client_secret,
        settings={"server_url": configured.issuer, "oauth_pkce_enabled": True},
    )


def _fetched(url: str, **arguments: Any) -> dict[str, Any]:
    try:
        return fetch_json(url, **arguments)
    except FetchFailed as error:
        raise ProviderException(str(error)) from error
