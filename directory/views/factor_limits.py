"""How often codes of a second factor may be tried, so that guessing is hopeless and nobody locks out somebody else.

Only who has signed in as the person can try at all. A browser in which the person has shown a factor before is known
by a signed cookie and counts by itself; all others of the person count together. Whoever has stolen the sign-in thus
uses up the tries of unknown browsers, never those of the person's own; and a passkey is not counted, since there is
nothing to guess (OWASP, *Slow down online guessing attacks with device cookies*).
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from config.kit.rate import Limit

COOKIE = "__Host-known" if settings.IS_HTTPS else "known"
REMEMBERED = timedelta(days=90)
SALT = "seatkeeper.known-browser"
KNOWN = Limit("factor-known", tries=5, per=timedelta(minutes=15))
UNKNOWN = Limit("factor-unknown", tries=5, per=timedelta(minutes=15))
UNKNOWN_A_DAY = Limit("factor-unknown-day", tries=30, per=timedelta(days=1))


def count_try(request: HttpRequest, user_key: object) -> None:
    """Count one try of a code. :raises TooManyTries: it is one too many."""
    browser = _known_browser(request, str(user_key))
    if browser:
        KNOWN.count(str(user_key), browser)
        return
    UNKNOWN_A_DAY.count(str(user_key))
    UNKNOWN.count(str(user_key))


def remember_browser(request: HttpRequest, response: HttpResponse, user_key: object) -> None:
    """Know this browser from now on as one in which the person has shown a factor."""
    name = _known_browser(request, str(user_key)) or secrets.token_urlsafe(12)
    response.set_cookie(
        COOKIE,
        signing.dumps([str(user_key), name], salt=SALT),
        max_age=REMEMBERED,
        secure=settings.IS_HTTPS,
        httponly=True,
        samesite="Strict",
    )


def _known_browser(request: HttpRequest, user_key: str) -> str:
    """The name of the browser as one of this person's; empty for an unknown one, or one of somebody else's."""
    try:
        whose, name = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=REMEMBERED)
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return str(name) if whose == user_key else ""
