"""URLs of shared stores."""

from __future__ import annotations

import pytest

from gateway.state.address import Address, parse


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


@pytest.mark.parametrize(
    "url",
    [
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
