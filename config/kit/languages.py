"""In which language somebody is answered (product §18): the person's own choice, the browser's, the organization's default,
else English. docs/adr/0047.

Nobody's choice is written in an address: a link that is passed on opens in the reader's language.
"""

from collections.abc import Callable, Iterator

from babel import Locale
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

from config.kit.http import is_api

COOKIE = "language"
COOKIE_AGE = 365 * 24 * 3600
# Of a header that names hundreds, the rest is not read.
_LONGEST_HEADER = 500


class LanguageMiddleware:
    """Activates the language of whoever asks, and says in the answer which one it is in.

    The person is known only further in, where `follow` is called. A body that is streamed afterwards is in
    the language of its answer, too; whatever else the thread does is not.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with translation.override(of_visitor(request)):
            response = self.get_response(request)
            language = translation.get_language() or settings.LANGUAGE_CODE
        if isinstance(response, StreamingHttpResponse):
            pieces = response.streaming_content
            # None of ours is streamed asynchronously.
            if isinstance(pieces, Iterator):
                response.streaming_content = _pieces_in(language, pieces)
        response.headers.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language",))
        return response


def is_known(language: str) -> bool:
    """Whether the portal speaks it; the code as in `settings.LANGUAGES`."""
    return language in dict(settings.LANGUAGES)


def of_visitor(request: HttpRequest) -> str:
    """The language of who is not known: the choice in the footer, the browser's, English. A program that calls is
    answered as it asks, whatever cookie it sends."""
    return _asked(request) or settings.LANGUAGE_CODE


def follow(request: HttpRequest, *, own: str, default: str) -> None:
    """Go on in the language of a person who is signed in: `own`, empty without a choice; `default` is the
    organization's."""
    wanted = (own, _asked(request), default)
    translation.activate(next((each for each in wanted if is_known(each)), settings.LANGUAGE_CODE))


def remember(request: HttpRequest, response: HttpResponseBase, language: str) -> None:
    """Keep the choice in this browser, for when nobody is signed in; empty: forget it."""
    if not language:
        response.delete_cookie(COOKIE, samesite="Lax")
        return
    response.set_cookie(
        COOKIE, language, max_age=COOKIE_AGE, samesite="Lax", httponly=True, secure=request.is_secure()
    )


def _pieces_in(language: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, each made in that language."""
    while True:
        with translation.override(language):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _asked(request: HttpRequest) -> str:
    """What the footer's cookie or the browser asks for; empty: nothing that the portal speaks."""
    chosen = "" if is_api(request) else request.COOKIES.get(COOKIE, "")
    if is_known(chosen):
        return chosen
    header = request.headers.get("Accept-Language", "")[:_LONGEST_HEADER]
    for tag, _quality in parse_accept_lang_header(header):
        if tag == "*":
            break
        try:
            return get_supported_language_variant(tag)
        except LookupError:
            continue
    return ""


def country_name(code: str) -> str:
    """The country's name in the language in use; the code itself when unknown."""
    locale = Locale.parse((translation.get_language() or "en").replace("-", "_"))
    return str(locale.territories.get(code, code))
