"""Asking the domain name system for texts: few, small, and in little time. Not inside a transaction."""

from collections.abc import Sequence

import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
from django.conf import settings

SECONDS = 5.0
MOST_TEXTS = 100
LONGEST_TEXT = 1000


class NamesAway(Exception):
    """Nobody gave an answer that can be believed: no server, too slow, SERVFAIL, or nonsense; the message is for the log."""


def texts_of(name: str) -> Sequence[str]:
    """The TXT records of a name, each put together; empty where the name or the records do not exist.

    :raises NamesAway: whether there are any is not known.
    """
    try:
        answer = _resolver().resolve(name, dns.rdatatype.TXT, lifetime=SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise NamesAway(f"{name}: {error}") from error
    records = list(answer)[:MOST_TEXTS]
    return [b"".join(record.strings)[:LONGEST_TEXT].decode("ascii", "replace") for record in records]


def _resolver() -> dns.resolver.Resolver:
    """One that asks the servers of `settings.DNS_SERVERS`, or those of the machine where none is named; keeps nothing."""
    servers = settings.DNS_SERVERS
    resolver = dns.resolver.Resolver(configure=not servers)
    if servers:
        resolver.nameservers = [_server(text) for text in servers]
    resolver.cache = None
    return resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    address, _colon, port = text.rpartition(":")
    return dns.nameserver.Do53Nameserver(address.strip("[]"), int(port))
