"""URLs of shared stores."""

from __future__ import annotations

import pytest

from gateway.state.address import Address, ClusterAddress, SentinelAddress, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address("cache", 6379)),
        ("redis://gateway@10.0.0.1:7000/3", Address("10.0.0.1", 7000, user="gateway", database=3)),
        ("rediss://g%40w@[::1]:6380/", Address("::1", 6380, user="g@w", is_tls=True)),
        ("unix:///run/redis.sock", Address("", 0, path="/run/redis.sock")),
        ("unix://gateway@/run/r%20s?db=2", Address("", 0, path="/run/r s", user="gateway", database=2)),
    ],
)
def test_reads_what_is_documented(url: str, address: Address) -> None:
    """Every documented form."""
    assert address == parse(url)


def test_reads_sentinels() -> None:
    """Who knows the master, its name, and how to speak to whom they name."""
    place = parse("rediss+sentinel://g%40w@s1:7000,[::1],10.0.0.1/my%20master/3")

    assert place == SentinelAddress(
        (
            Address("s1", 7000, is_tls=True),
            Address("::1", 26379, is_tls=True),
            Address("10.0.0.1", 26379, is_tls=True),
        ),
        "my master",
        "g@w",
        3,
    )
    assert place.at("r1", 6379) == Address("r1", 6379, user="g@w", database=3, is_tls=True)
    assert parse("redis+sentinel://s1/m") == SentinelAddress((Address("s1", 26379),), "m")


def test_reads_a_cluster() -> None:
    """Some of its servers; the others are spoken to alike."""
    place = parse("rediss+cluster://gateway@n1,n2:7000/0")

    assert place == ClusterAddress(
        (Address("n1", 6379, user="gateway", is_tls=True), Address("n2", 7000, user="gateway", is_tls=True))
    )
    assert place.at("n3", 1) == Address("n3", 1, user="gateway", is_tls=True)


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("redis://127.0.0.9", True),
        ("redis://[::1]", True),
        ("redis://LOCALHOST", True),
        ("unix:///s", True),
        ("rediss://r", True),
        ("redis://r", False),
        ("redis://10.0.0.1", False),
    ],
)
def test_a_password_goes_where_nobody_reads_along(url: str, *, is_safe: bool) -> None:
    """To this machine, or encrypted."""
    place = parse(url)

    assert isinstance(place, Address)
    assert is_safe == place.is_safe


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://user:hunter2@s1/m",
        "redis+sentinel://s1,user:hunter2@s2/m",
        "redis+sentinel://s1",
        "redis+sentinel://s1/",
        "redis+sentinel:///m",
        "redis+sentinel://s1,/m",
        "redis+sentinel://s1,s2:0/m",
        "redis+sentinel://s1/m/one",
        "redis+sentinel://s1/m?db=1",
        "redis+sentinel://s1/m#1",
        "redis+cluster://n1,n2/1",
        "redis+cluster://n1,",
        "redis+cluster://user:hunter2@n1",
        "redis+other://s1/m",
        "unix+sentinel://s1/m",
        "redis://user:hunter2@host",
        "redis://:hunter2@host",
        "http://host",
        "redis://",
        "redis:///0",
        "redis://host?timeout=5",
        "redis://host#x",
        "redis://host:99999",
        "redis://host:0",
        "redis://host/one",
        "redis://host/-1",
        "redis://host/0/1",
        "unix://host/run/redis.sock",
        "unix://",
        "unix:///",
        "unix:///run/s?timeout=1",
        "unix:///run/s?db=x",
    ],
)
def test_refuses_the_rest_without_quoting_it(url: str) -> None:
    """One sentence; the URL may hold a password by mistake."""
    with pytest.raises(ValueError) as refused:
        parse(url)

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "name"), [("rediss://me@cache:1/2", "cache:1"), ("unix://me@/run/s?db=1", "unix:/run/s")]
)
def test_its_name_is_for_logs(url: str, name: str) -> None:
    """Neither user nor database."""
    assert name == parse(url).name
