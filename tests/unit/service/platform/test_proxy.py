"""Who is believed about the client's address."""

import pytest

from ccl_service.platform.proxy import client_address, limit_subject, parse_address, parse_trust


@pytest.mark.parametrize(
    ("trust", "peer", "forwarded", "client"),
    [
        ("false", "10.0.0.1", ["203.0.113.9"], "10.0.0.1"),
        ("true", "10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("true", "10.0.0.1", ["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        ("true", "10.0.0.1", ["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
        ("true", "8.8.8.8", ["203.0.113.9"], "8.8.8.8"),
        ("true", "10.0.0.1", [], "10.0.0.1"),
        ("2", "10.0.0.1", ["203.0.113.9"], "10.0.0.1"),
        ("2", "10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("true", "10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("192.0.2.0/24", "192.0.2.5", ["203.0.113.9, 192.0.2.6"], "203.0.113.9"),
        ("192.0.2.0/24", "192.0.2.5", ["nonsense, 192.0.2.6"], "192.0.2.5"),
        ("192.0.2.0/24", "10.0.0.1", ["203.0.113.9"], "10.0.0.1"),
        ("true", "::ffff:10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("true", "10.0.0.1", ["203.0.113.9:5123"], "203.0.113.9"),
        # a caller writes what it likes before its proxy's entry
        ("true", "10.0.0.1", ["127.0.0.1, 10.0.0.9, 203.0.113.9"], "203.0.113.9"),
        ("2", "10.0.0.1", ["127.0.0.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("192.0.2.0/24", "192.0.2.5", ["192.0.2.77, 203.0.113.9, 192.0.2.6"], "203.0.113.9"),
        ("192.0.2.0/24,2001:db8:1::/48", "2001:db8:1::5", ["203.0.113.9, 192.0.2.6"], "203.0.113.9"),
        ("2", "10.0.0.1", ["127.0.0.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("2", "10.0.0.1", [",10.0.0.2"], "10.0.0.1"),
        ("2", "10.0.0.1", ["203.0.113.9", ""], "203.0.113.9"),
        ("192.0.2.0/24", "192.0.2.5", ["203.0.113.9", "192.0.2.7,192.0.2.6"], "203.0.113.9"),
        # it reaches us past its proxy
        ("true", "203.0.113.50", ["127.0.0.1"], "203.0.113.50"),
        ("192.0.2.0/24", "203.0.113.50", ["127.0.0.1"], "203.0.113.50"),
        ("false", "203.0.113.50", ["127.0.0.1"], "203.0.113.50"),
        ("3", "10.0.0.1", ["203.0.113.9, 10.0.0.2"], "10.0.0.1"),
        # a proxy's own check, and an address inside the trusted networks
        ("192.0.2.0/24", "192.0.2.5", [], "192.0.2.5"),
        ("192.0.2.0/24", "192.0.2.5", ["192.0.2.7"], "192.0.2.7"),
        ("true", "10.0.0.1", [""], "10.0.0.1"),
        ("true", "10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("true", "10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("true", None, ["203.0.113.9"], "0.0.0.0"),
    ],
)
def test_the_client_is_the_last_address_that_trust_reaches(
    trust: str, peer: str | None, forwarded: list[str], client: str
) -> None:
    assert str(client_address(peer, forwarded, parse_trust(trust))) == client


@pytest.mark.parametrize(
    ("trust", "proxies", "looked_at"),
    [("1", "", 1), ("3", ", 10.0.0.3, 10.0.0.2", 1), ("10.0.0.0/8", ", 10.0.0.3, 10.0.0.2", 3)],
)
def test_no_more_entries_are_looked_at_than_trust_asks_for(trust: str, proxies: str, looked_at: int) -> None:
    made_up = ", ".join(f"198.51.{n // 256}.{n % 256}" for n in range(5000))
    parse_address.cache_clear()
    client = client_address("10.0.0.1", [made_up, f"{made_up}, 203.0.113.9{proxies}"], parse_trust(trust))
    assert str(client) == "203.0.113.9"
    assert parse_address.cache_info().misses == 1 + looked_at  # the peer's, which is no entry


def test_an_ipv6_client_counts_by_its_64() -> None:
    one, two = parse_address("2001:db8:0:1::1"), parse_address("2001:db8:0:1:ffff::2")
    other = parse_address("2001:db8:0:2::1")
    assert one is not None
    assert two is not None
    assert other is not None
    assert limit_subject(one) == limit_subject(two) != limit_subject(other)


@pytest.mark.parametrize("text", ["maybe", "10.0.0.0/33", "-1"])
def test_trust_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_trust(text)
