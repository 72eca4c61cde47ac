"""`pinning`: names that lead to several places, change their mind, or lead nowhere."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gateway.credentials.development import DevelopmentPki
from gateway.credentials.fetch import Fetcher, FetchError
from gateway.credentials.pinning import AddressRefused, PinnedConnector, PinnedResolver
from gateway.credentials.tls import client_context, server_context

from .parts import FixedClock
from .providers import Provider, providing, resolving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = ip_network("127.0.0.1/32")


@pytest.fixture
def pki(tmp_path: Path) -> DevelopmentPki:
    """An authority, and a certificate for `idp.example`."""
    one = DevelopmentPki(tmp_path)
    one.init()
    one.issue("idp", "server", dns=["idp.example"])
    return one


@pytest.fixture
async def provider(pki: DevelopmentPki) -> AsyncIterator[Provider]:
    """A server named `idp.example` on this machine."""
    context = server_context(
        pki.directory / "idp.pem", pki.directory / "idp.key", pki.clock, client_certificate="none"
    )
    async with providing(context) as one:
        one.host = "idp.example"
        yield one


@pytest.fixture
async def fetcher(pki: DevelopmentPki) -> AsyncIterator[Fetcher]:
    """A client whose issuer is at 127.0.0.1."""
    one = Fetcher(pki.clock, ca=pki.ca("gateway"), networks=[HERE])
    yield one
    await one.close()


async def refused(fetcher: Fetcher, url: str) -> None:
    """The address is what is wrong."""
    with pytest.raises(FetchError, match="address-refused"):
        await fetcher.get(url)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1", "8.8.8.8"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "::1"],
        ["127.0.0.1", "::ffff:127.0.0.1"],
        ["127.0.0.2"],
    ],
)
async def test_one_wrong_address_refuses_the_name(
    provider: Provider, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    """Mixed answers are no accident; nothing is connected to."""
    resolving(monkeypatch, answers)
    await refused(fetcher, provider.origin)

    assert 0 == provider.connections


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)
async def test_a_public_name_leads_to_no_inner_address(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Without listed networks a name is for public addresses, alone or among others."""
    fetcher = Fetcher(FixedClock())
    resolving(monkeypatch, [address], ["8.8.8.8", address])
    await refused(fetcher, provider.origin)
    await refused(fetcher, provider.origin)
    await fetcher.close()

    assert 0 == provider.connections


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "[fe80::1]", "0.0.0.1"]
)
async def test_written_addresses_are_checked_too(host: str) -> None:
    """An address in a URL asks no resolver, and is held to the same rule."""
    fetcher = Fetcher(FixedClock())
    await refused(fetcher, f"https://{host}/")
    await fetcher.close()


async def test_a_name_is_asked_once_per_connection(
    provider: Provider, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a second answer is never asked for between check and connection."""
    asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    async with providing(address="127.0.0.2", port=provider.port) as evil:
        await fetcher.get(provider.origin)
        await fetcher.get(provider.origin)  # the kept connection
        assert ["idp.example"] == asked
        await fetcher.close()
        await refused(fetcher, provider.origin)

    assert (1, 0) == (provider.connections, evil.connections)


class Fickle:
    """A reach that permits an address once, and then no more."""

    def __init__(self) -> None:
        self.left = 1

    def permits(self, host: str, address: str | int) -> bool:
        self.left -= 1
        return self.left >= 0


async def test_what_is_connected_is_checked_again(
    monkeypatch: pytest.MonkeyPatch, pki: DevelopmentPki
) -> None:
    """A connection that leads elsewhere than its check said gets no request."""
    connector = PinnedConnector(Fickle(), client_context(pki.clock), 1)  # type: ignore[arg-type]
    resolving(monkeypatch, ["127.0.0.1"])
    async with providing() as provider, aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(AddressRefused):
            await session.get(f"http://idp.example:{provider.port}/")

    assert [] == provider.asked


async def test_no_answer_is_no_address(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that returns nothing, and a name that it does not know."""
    resolving(monkeypatch, [])

    with pytest.raises(FetchError, match="dns"):
        await fetcher.get("https://idp.example/")
    await PinnedResolver(Fickle()).close()  # type: ignore[arg-type]
