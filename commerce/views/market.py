"""Whose prices a visitor sees: signed in the organization's country, else the picker's (product §3.1)."""

from dataclasses import dataclass

from babel.core import get_global
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation.trans_real import parse_accept_lang_header

from commerce.models import Market
from commerce.queries.catalogue import market_of, markets
from config.kit import access
from config.kit.languages import country_name
from directory.sign_in import safe_next

COOKIE = "market"
COOKIE_AGE = 365 * 24 * 3600
ELSEWHERE = "ZZ"


@dataclass(frozen=True, slots=True)
class Shown:
    """The market of a page. `country` is its code, `ELSEWHERE` for one where nothing is sold, "" when unknown.

    `choices` are what the picker offers: empty for people who are signed in, who have no choice.
    """

    country: str
    market: Market | None
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        if self.country in ("", ELSEWHERE):
            return ""
        return country_name(self.country)

    @property
    def seller(self) -> str:
        return self.market.vendor_entity.name if self.market else ""


def shown_market(request: HttpRequest) -> Shown:
    """The market for this request. The network address plays no part in it."""
    tenant = getattr(request, "tenant", None)
    if tenant is not None:
        return Shown(tenant.country, market_of(tenant.country))
    known = {market.pk: market for market in markets()}
    country = request.COOKIES.get(COOKIE, "")
    if country not in known and country != ELSEWHERE:
        country = _country_of_languages(request.headers.get("Accept-Language", ""), known)
    choices = sorted(((code, country_name(code)) for code in known), key=lambda choice: choice[1])
    return Shown(country, known.get(country), tuple(choices))


def _country_of_languages(header: str, known: dict[str, Market]) -> str:
    """The first country that the accepted languages name or imply; one where nothing is sold is `ELSEWHERE`."""
    for language, _quality in parse_accept_lang_header(header.lower()[:500]):
        parts = language.split("-")
        region = parts[-1] if len(parts) > 1 and len(parts[-1]) == 2 else ""
        country = (region or get_global("likely_subtags").get(parts[0], "").split("_")[-1]).upper()
        if country:
            return country if country in known else ELSEWHERE
    return ""


@access.public
def choose_market(request: HttpRequest) -> HttpResponse:
    """The picker's form: remember a country in a cookie and go back to the page."""
    back = request.POST.get("next", "")
    if safe_next(back) != back:
        back = reverse("commerce:catalogue")
    response = HttpResponseRedirect(back)
    country = request.POST.get("market", "")
    known = {ELSEWHERE, *(market.pk for market in markets())}
    if request.method == "POST" and country in known:
        response.set_cookie(
            COOKIE,
            country,
            max_age=COOKIE_AGE,
            samesite="Lax",
            httponly=True,
            secure=request.is_secure(),
        )
    return response
