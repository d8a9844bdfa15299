"""Under which name a limit counts a caller (reliability §7: the trusted proxies are counted, tokens in the wrong hands limited)."""

import pytest
from django.test import RequestFactory

from config.kit.rate import client_address, client_network


def request_from(direct: str, forwarded: str | None = None) -> object:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return RequestFactory().get("/", REMOTE_ADDR=direct, headers=headers)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7, 192.0.2.8", "198.51.100.7"),
        (2, "198.51.100.7", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "198.51.100.7:50123", "198.51.100.7"),
        (1, "[2001:db8::7]:50123", "2001:db8::7"),
        (1, "2001:db8::7", "2001:db8::7"),
    ],
)
def test_only_what_trusted_proxies_appended_is_believed(settings, proxies, forwarded, address):
    settings.TRUSTED_PROXIES = proxies

    assert client_address(request_from("192.0.2.1", forwarded)) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_caller(address, network):
    assert client_network(request_from(address)) == network
