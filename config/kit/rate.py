"""Limits on how often something may be tried, and a pace for those who can wait, counted in Valkey.

A limit that guards sign-in or money fails closed: while Valkey is away nothing passes (F-06). A pace goes on,
slowly (reliability §7, architecture §7).
"""

import hashlib
import ipaddress
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from config.kit.errors import DomainError, PeerUnavailable

logger = logging.getLogger(__name__)

# Counts one try and starts the window with the first, in one step: a counter never stays without its end.
_COUNT: Final = """
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {n, redis.call('PTTL', KEYS[1])}
"""

# A token bucket kept as one instant: when the next token is there. It lies at most a full bucket in the past.
# Takes a token and answers in how many microseconds, negative for at once, by the server's clock.
_TAKE: Final = """
local t = redis.call('TIME')
local now, step, bucket = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local turn = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - bucket)
redis.call('SET', KEYS[1], string.format('%.0f', turn + step), 'PX', math.ceil((turn + step - now + bucket) / 1000) + 1)
return math.floor(turn - now)
"""


class TooManyTries(DomainError):
    """The limit is reached; `retry_after` seconds later it is open again."""

    code = "too_many_tries"
    status = 429
    message = _("Too many tries in a short time. Wait a minute and try again.")

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        minutes = -(-retry_after // 60)
        message = None
        if minutes > 1:
            message = ngettext_lazy(
                "Too many tries in a short time. Try again in %d minute.",
                "Too many tries in a short time. Try again in %d minutes.",
                minutes,
            ) % (minutes,)
        super().__init__(message, retry_after=retry_after)


class TooManyRequests(TooManyTries):
    """More calls than the token may make; `Retry-After` says when the next one passes."""

    code = "too_many_requests"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.message = _("Too many calls with this token. Wait for as long as Retry-After says.")


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


# Following the links of mails, which need no session. Mail programs of many people may come from one network.
MAIL_LINKS: Final = Limit("mail-link", tries=300, per=timedelta(minutes=1), fails_closed=False)

# The same bucket for those who do not wait: takes a token if it is there, else answers in how many microseconds.
_TAKE_OR_LEAVE: Final = """
local t = redis.call('TIME')
local now, step, bucket = t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local turn = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - bucket)
if turn > now then return math.floor(turn - now) end
redis.call('SET', KEYS[1], string.format('%.0f', turn + step), 'PX', math.ceil((turn + step - now + bucket) / 1000) + 1)
return 0
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket for each caller: `per_second` in the long run, `burst` at once. Open while Valkey is away.

    `share`: how many tokens a process takes for the caller at once and hands out by itself, where asking Valkey each
    time would cost too much. Whatever the number of processes, the long run stays `per_second`.
    """

    name: str
    per_second: float
    burst: int
    share: int = 1

    def take(self, digest: str) -> None:
        """Let one call of whoever `digest` names pass. :raises TooManyRequests: the bucket is empty."""
        key = f"seatkeeper:rate:{self.name}:{digest}"
        if self.share > 1 and _shares.hand_out(key):
            return
        step = 1_000_000 / self.per_second
        try:
            left = _valkey().eval(
                _TAKE_OR_LEAVE, 1, key, str(step * self.share), str(step * (self.burst - self.share))
            )
        except redis.RedisError as error:
            logger.error("Limit %s cannot be counted: %s", self.name, error)
            return
        if left:
            raise TooManyRequests(max(1, -(-int(left) // 1_000_000)))
        if self.share > 1:
            _shares.put(key, self.share - 1)


class _Shares:
    """Tokens that this process took from buckets and has not handed out, of the callers it heard of last."""

    MOST = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: OrderedDict[str, int] = OrderedDict()

    def hand_out(self, key: str) -> bool:
        """Whether there was one."""
        with self._lock:
            left = self._left.pop(key, 0)
            if left > 1:
                self._left[key] = left - 1
        return left > 0

    def put(self, key: str, tokens: int) -> None:
        with self._lock:
            self._left[key] = self._left.pop(key, 0) + tokens
            if len(self._left) > self.MOST:
                self._left.popitem(last=False)


_shares = _Shares()


# Which share of a pace a process takes that cannot ask Valkey, and for how long it does not ask again.
ALONE: Final = 0.1
_ASKS_AGAIN_AFTER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A token bucket that all processes share, for work that can wait: `per_second` tokens, some in store.

    While Valkey is away each process keeps to a tenth of it by itself, without a store: ten of them together
    are not faster than all were.
    """

    name: str
    per_second: float

    def wait(self) -> None:
        """Take one token, sleeping until it is there."""
        seconds = self._shared()
        if seconds is None:
            seconds = self._alone()
        if seconds > 0:
            time.sleep(seconds)

    def _shared(self) -> float | None:
        """Seconds until the token is there; None while Valkey does not answer."""
        with _alone.lock:
            if time.monotonic() < _alone.until.get(self.name, 0.0):
                return None
        step = 1_000_000 / self.per_second
        # An eighth of a second's worth in store, one at least: calls need not come in step.
        bucket = step * max(1, self.per_second // 8) - step
        try:
            left = _valkey().eval(_TAKE, 1, f"seatkeeper:pace:{self.name}", str(step), str(bucket))
        except redis.RedisError as error:
            logger.warning("Pace %s is kept alone for a while: %s", self.name, error)
            with _alone.lock:
                _alone.until[self.name] = time.monotonic() + _ASKS_AGAIN_AFTER
            return None
        return float(left) / 1_000_000

    def _alone(self) -> float:
        step = 1 / (self.per_second * ALONE)
        with _alone.lock:
            now = time.monotonic()
            turn = max(_alone.turns.get(self.name, 0.0), now)
            _alone.turns[self.name] = turn + step
        return turn - now


class _Alone:
    """This process's own count while Valkey is away, by the name of the pace; on the monotonic clock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.turns: dict[str, float] = {}
        self.until: dict[str, float] = {}


_alone = _Alone()


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
    return _without_port(seen[-count]) if len(seen) >= count else direct


def client_network(request: HttpRequest) -> str:
    """What a limit counts a caller under: the IPv4 address, or the /64 of an IPv6 one, all of which is one caller's."""
    text = client_address(request)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _without_port(text: str) -> str:
    """Some proxies write the caller's port behind the address; every connection would then be another caller."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@lru_cache(maxsize=1)
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)


def _valkey() -> "redis.Redis":
    return _client(str(settings.CACHES["default"]["LOCATION"]))
