"""What a browser's session holds, how it begins, and how lately its person proved who they are (product §3.2, reliability §7).

Instants of the session itself are real time, as those of tokens and leases are.
"""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from config.kit.access import View
from config.kit.actors import Actor
from config.kit.clock import now, real_now
from config.kit.errors import NotAllowed
from config.kit.rate import client_address
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor
from directory.id_token import LEEWAY_SECONDS, Identity
from directory.models import User
from directory.operations.people import record_sign_in
from directory.operations.sessions import begin_session, sign_out
from directory.queries import accounts_of

HOME = "home_tenant_id"
USER = "user_id"
ACTING = "acting_tenant_id"
STARTED = "signed_in_at"  # by the clock of the domain: compared with `User.sessions_valid_from`
SINCE = "session_since"  # seconds of real time: the absolute age
SEEN = "session_seen"  # seconds of real time: the idle age
PROVED = "proved_at"  # seconds of real time: when the provider last asked the person, as far as it says
SECOND_FACTOR = "has_second_factor"  # whether the provider says that it asked for one
STAFF_FACTOR = (
    "staff_factor_at"  # seconds of real time: when the second factor of the vendor's site was shown
)
PROVIDER = "provider_key"
RIGHTS = "rights"  # tenant and roles under which the key was given; with others the session gets a new one
ROW = "browser_session_id"  # the row that ends the session wherever its browser is
ACCOUNTS = "other_accounts"
PENDING = "sign_in_pending"


class SignInTooOld(NotAllowed):
    """What was asked for needs a person who proved who they are within `settings.SIGN_IN_IS_FRESH`."""

    code = "sign_in_too_old"
    message = _("For this you must have signed in within the last 5 minutes. Nothing was changed.")


class NotConfirmed(NotAllowed):
    """A person of a running session came back from their provider without having proved it; the session goes on."""

    code = "sign_in_not_confirmed"


def start_session(
    request: HttpRequest,
    user: User,
    *,
    since: float | None = None,
    proved: float | None = None,
    provider: str = "",
    has_second_factor: bool = False,
) -> None:
    """Begin a session of `user` at home, with a new key, in place of whatever the browser had.

    `since`: when the person really signed in, where an account is only changed. `proved`: when the provider last asked
    them, where it says so; `provider`: its key.
    """
    at, real = now(), time.time()
    others = [
        list(account)
        for account in accounts_of(user.issuer, user.subject)
        if (account.tenant_id, account.user_id) != (user.tenant_id, user.pk)
    ]
    with tenant_atomic(user.tenant_id):
        actor = build_actor(user, acting_tenant_id=user.tenant_id, at=at)
        assert actor is not None  # at home there is always one
        record_sign_in(actor=actor, user=user, at=at)
        row = begin_session(
            user=user,
            address=client_address(request),
            agent=request.headers.get("User-Agent", ""),
            real_at=datetime.fromtimestamp(since or real, UTC),
        )
    end_session(request)
    request.session.update(
        {
            ROW: row.pk,
            HOME: user.tenant_id,
            USER: user.pk,
            ACTING: user.tenant_id,
            STARTED: at.isoformat(),
            SINCE: since or real,
            SEEN: real,
            PROVED: min(proved or 0, real),
            SECOND_FACTOR: has_second_factor,
            PROVIDER: provider,
            RIGHTS: rights_of(actor.tenant_id, actor.roles),
            ACCOUNTS: others,
        }
    )
    rotate_token(request)


def rights_of(tenant_id: int, roles: Collection[str]) -> list[object]:
    """Under which rights a session's key is given, as the session keeps it."""
    return [tenant_id, sorted(roles)]


def follow_rights(request: HttpRequest, actor: Actor) -> None:
    """Give the session a new key when the person's roles are others than those under which it has the present one.

    Only for a page that the browser goes to: what such a page asks for beside it would lose its way.
    """
    session, held = request.session, rights_of(actor.tenant_id, actor.roles)
    known = session.get(RIGHTS)
    if known is None:
        session[RIGHTS] = held
        return
    is_change = known[0] == actor.tenant_id and known != held
    if is_change and request.headers.get("Sec-Fetch-Dest", "document") == "document":
        session.cycle_key()
        session[RIGHTS] = held


def act_in(request: HttpRequest, tenant_id: int, rights: list[object] | None = None) -> None:
    """From the next request on the session acts in that organization, under a new key; each request asks whether it may."""
    request.session.cycle_key()
    request.session[ACTING] = tenant_id
    if rights is None:
        request.session.pop(RIGHTS, None)
    else:
        request.session[RIGHTS] = rights


def end_session(request: HttpRequest) -> None:
    """Empty the browser's session; what it was is over, wherever it was copied to."""
    home, row = request.session.get(HOME), request.session.get(ROW)
    if home is not None and row is not None:
        sign_out(home_tenant_id=home, session_id=row, real_at=real_now())
    request.session.flush()


def confirm_session(request: HttpRequest, identity: Identity) -> None:
    """The person of the session proved anew who they are: the session goes on, as long as it would have, under a new key.

    :raises NotConfirmed: somebody else signed in, or the provider did not ask, or does not say when it did.
    """
    user = request.user
    if not isinstance(user, User) or (user.issuer, user.subject) != (identity.issuer, identity.subject):
        raise NotConfirmed(_("Somebody else signed in. You are still signed in as before."))
    if identity.proved is None:
        raise NotConfirmed(_("Your organization's sign-in page does not tell us when you signed in there."))
    if not _is_recent(identity.proved):
        raise NotConfirmed(_("Your organization's sign-in page did not ask you again who you are."))
    request.session.cycle_key()
    request.session[PROVED] = min(identity.proved, time.time())
    request.session[SECOND_FACTOR] = identity.has_second_factor


def note_second_factor(request: HttpRequest) -> None:
    """The person showed the second factor of the vendor's site: the session goes on under a new key."""
    request.session.cycle_key()
    request.session[STAFF_FACTOR] = time.time()
    rotate_token(request)


def is_fresh(request: HttpRequest) -> bool:
    """Whether the person signed in so lately that they may do what a found browser must not."""
    return _is_recent(request.session.get(PROVED))


def require_fresh(request: HttpRequest) -> None:
    """:raises SignInTooOld: the person signed in too long ago; the page then leads to their provider and back here."""
    if not is_fresh(request):
        raise SignInTooOld


def fresh_to_post(view: View) -> View:
    """A view whose forms take nothing from a sign-in that is too old."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "POST":
            require_fresh(request)
        return view(request, *args, **kwargs)

    return checked


def confirm_url(next_path: str) -> str:
    """The way to the person's provider, which asks anew, and back to `next_path`."""
    return f"{reverse('directory:confirm')}?{urlencode({'next': next_path})}"


def _is_recent(proved: float | None) -> bool:
    limit = settings.SIGN_IN_IS_FRESH.total_seconds()
    return proved is not None and -LEEWAY_SECONDS <= time.time() - proved <= limit
