"""Limits on how often something may be tried, counted in Valkey (reliability §7).

A limit that guards sign-in or money fails closed: while Valkey is away nothing passes (F-06).
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.kit.errors import DomainError, PeerUnavailable

logger = logging.getLogger(__name__)

# Counts one try and starts the window with the first, in one step: a counter never stays without its end.
_COUNT: Final = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('PTTL', KEYS[1])}
"""


class TooManyTries(DomainError):
    """The limit is reached; `retry_after` seconds later it is open again."""

    code = "too_many_tries"
    status = 429
    message = _("Too many tries in a short time. Wait a minute and try again.")

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after=retry_after)


class CounterAway(PeerUnavailable):
    """The limit cannot be counted, so nothing passes."""

    code = "counter_unavailable"
    message = _("This does not work at the moment. Nothing was changed. Try again in a few minutes.")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `tries` in a window of `per` that begins with the first try.

    `fails_closed`: what happens while Valkey is away; a limit on reading may stay open.
    """

    name: str
    tries: int
    per: timedelta
    fails_closed: bool = True

    def count(self, *parts: str) -> None:
        """Count one try of whoever `parts` name; their values are stored as a digest only.

        :raises TooManyTries: it is one too many.
        :raises CounterAway: Valkey does not answer and the limit fails closed.
        """
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        try:
            number, left_ms = _valkey().eval(
                _COUNT, 1, f"seatkeeper:rate:{self.name}:{digest}", str(int(self.per.total_seconds() * 1000))
            )
        except redis.RedisError as error:
            logger.error("Limit %s cannot be counted: %s", self.name, error)
            if self.fails_closed:
                raise CounterAway from error
            return
        if number > self.tries:
            raise TooManyTries(max(1, -(-left_ms // 1000)))


def client_address(request: HttpRequest) -> str:
    """The caller's address: the one that the outermost trusted proxy saw.

    `settings.TRUSTED_PROXIES` says how many proxies append to X-Forwarded-For; what stands further left was
    sent by the caller and is not believed.
    """
    direct = str(request.META.get("REMOTE_ADDR", ""))
    count = settings.TRUSTED_PROXIES
    if not count:
        return direct
    seen = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    return seen[-count] if len(seen) >= count else direct


@lru_cache(maxsize=1)
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)


def _valkey() -> "redis.Redis":
    return _client(str(settings.CACHES["default"]["LOCATION"]))
