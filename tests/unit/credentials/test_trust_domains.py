"""`trust_domains`: where bundles come from, how they stay fresh, and when they die."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway.credentials.bundles import parse_bundle, write_bundle
from gateway.credentials.development import DevelopmentPki
from gateway.credentials.fetch import Fetcher
from gateway.credentials.signing import Signer, generate_key
from gateway.credentials.tls import server_context
from gateway.credentials.trust_domains import (
    REFRESH_WINDOW,
    BundleEndpoint,
    BundleFile,
    TrustDomain,
    Unavailable,
)
from tests.pki import Ca

from .parts import NOW, FixedClock
from .providers import answering, providing

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.credentials.key_news import KeyNews

ONE, TWO = Ca("one", NOW), Ca("two", NOW)
SIGNER = Signer(generate_key("ES256"))


def bundle(*authorities: Ca, sequence: int = 1, hint: int = 60, keys: bool = True) -> bytes:
    """A bundle."""
    signers = [SIGNER.jwk] if keys else []
    return write_bundle(
        [one.certificate for one in authorities], signers, sequence=sequence, refresh_hint=hint
    )


class Script:
    """A source that says what it is told to."""

    name = "script"

    def __init__(self, *, may_go_back: bool = False) -> None:
        self.may_go_back = may_go_back
        self.says: bytes | Exception | None = bundle(ONE)
        self.reads = 0
        self.is_closed = False
        self.gate: asyncio.Event | None = None

    async def read(self) -> bytes | None:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def close(self) -> None:
        self.is_closed = True


def make(source: Any, **options: Any) -> tuple[TrustDomain, FixedClock, list[KeyNews], list[int]]:
    """A domain, its clock, its news, and the generations it told of."""
    clock, news, told = FixedClock(), [], []
    domain = TrustDomain("example.org", source, clock, tell=news.append, **options)
    domain.on_change = lambda: told.append(domain.generation)
    return domain, clock, news, told


async def renew(domain: TrustDomain) -> None:
    """Look once, as the background does."""
    await domain._renew()


async def test_a_bundle_is_fetched_and_told_of() -> None:
    """Before the first one nobody is believed; the same one again is no change."""
    source = Script()
    domain, _, news, told = make(source, hard_age=3600.0)

    assert ((), False, None) == (domain.authorities, domain.is_usable, domain.find(SIGNER.kid, "ES256"))
    await renew(domain)
    assert (ONE.certificate,) == domain.authorities
    assert domain.is_usable
    assert domain.find(SIGNER.kid, "ES256") is not None
    source.says = bundle(ONE, sequence=2)
    await renew(domain)
    source.says = bundle(ONE, keys=False, sequence=3)
    await renew(domain)
    assert domain.find(SIGNER.kid, "ES256") is None
    assert [1, 2] == told
    assert [("keys-changed", 2), ("keys-changed", 1)] == [(one.event, one.size) for one in news]


async def test_an_empty_bundle_is_obeyed() -> None:
    """It withdraws everything, at once."""
    source = Script()
    domain, *_ = make(source)
    await renew(domain)
    source.says = bundle(keys=False)
    await renew(domain)

    assert ((), True) == (domain.authorities, domain.is_usable)


async def test_a_failing_source_keeps_the_last_good_bundle_until_its_hard_age() -> None:
    """Then it is dropped, and told of; a good one brings it back."""
    source = Script()
    domain, clock, news, told = make(source, hard_age=600.0, refresh=60.0)
    await renew(domain)
    for says, pause in ((Unavailable("timeout"), REFRESH_WINDOW), (b"garbage", REFRESH_WINDOW * 2)):
        source.says = says
        clock.now += 100
        await renew(domain)
        assert pause == domain.pause()
        assert (ONE.certificate,) == domain.authorities
    clock.now += 350
    assert 45 < domain.pause() < 50
    clock.now += 50
    assert ((), None) == (domain.authorities, domain.find(SIGNER.kid, "ES256"))
    await renew(domain)
    assert [1, 2] == told
    source.says = bundle(TWO)
    await renew(domain)

    assert (TWO.certificate,) == domain.authorities
    assert [
        ("keys-changed", ""),
        ("keys-unavailable", "timeout"),
        ("keys-unavailable", "the bundle is neither PEM nor a JSON object"),
        ("keys-unavailable", "the bundle is neither PEM nor a JSON object"),
        ("keys-expired", ""),
        ("keys-back", ""),
        ("keys-changed", ""),
    ] == [(one.event, one.why) for one in news]


async def test_an_older_bundle_is_not_taken_from_a_network() -> None:
    """It could bring back what was withdrawn; whoever writes a file decides."""
    for may_go_back in (False, True):
        source = Script(may_go_back=may_go_back)
        source.says = bundle(TWO, sequence=5)
        domain, _, news, _ = make(source)
        await renew(domain)
        source.says = bundle(ONE, TWO, sequence=4)
        await renew(domain)

        assert (2 if may_go_back else 1) == len(domain.authorities)
        assert may_go_back != any("older" in one.why for one in news)


async def test_a_bundle_without_a_sequence_is_never_older() -> None:
    """There is nothing to compare."""
    source = Script()
    source.says = ONE.pem
    domain, *_ = make(source)
    await renew(domain)
    source.says = TWO.pem
    await renew(domain)

    assert (TWO.certificate,) == domain.authorities
    for data in (bundle(ONE, sequence=1), TWO.pem):
        source.says = data
        await renew(domain)
    assert (TWO.certificate,) == domain.authorities


@pytest.mark.parametrize(
    ("hint", "refresh", "pause"),
    [(60, None, 60.0), (1, None, 10.0), (86400, None, 3600.0), (60, 5.0, 5.0)],
)
async def test_pace(hint: int, refresh: float | None, pause: float) -> None:
    """The configuration's, else the bundle's, within bounds; five minutes before there is one."""
    source = Script()
    source.says = bundle(ONE, hint=hint)
    domain, *_ = make(source, refresh=refresh)

    assert (refresh or 300.0) == domain.pause()
    await renew(domain)
    assert pause == domain.pause()


async def test_unknown_keys_cause_one_look_per_window() -> None:
    """However many tokens name them, and waiters share it."""
    source = Script()
    domain, clock, *_ = make(source)
    source.gate = asyncio.Event()
    waiters = [asyncio.ensure_future(domain.refresh()) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.gate.set()

    assert [True, True, True] == [await each for each in waiters]
    assert not await domain.refresh()
    assert 1 == source.reads
    clock.now += REFRESH_WINDOW
    assert not await domain.refresh()
    assert 2 == source.reads


async def test_it_stops_in_the_middle_of_a_look() -> None:
    """Nothing is left behind."""
    source = Script()
    domain, *_ = make(source, refresh=1000.0)
    await domain.start()
    source.gate = asyncio.Event()
    waiting = asyncio.ensure_future(domain._join())
    await asyncio.sleep(0)
    await domain.stop()
    await waiting

    assert source.is_closed


async def test_a_bug_is_heard() -> None:
    """What no source may raise ends the look loudly; a bundle that dies meanwhile is told of all the same."""
    source = Script()
    domain, clock, news, told = make(source, hard_age=600.0)
    await renew(domain)
    source.says = RuntimeError("bug")
    clock.now += 600

    with pytest.raises(RuntimeError, match="bug"):
        await renew(domain)
    assert ([1, 2], "keys-expired") == (told, news[-1].event)


async def test_files_are_read_when_they_change(tmp_path: Path) -> None:
    """A broken one keeps what is in use and is said; a missing one, too; a mended one is taken."""
    path = tmp_path / "bundle.json"
    path.write_bytes(bundle(ONE))
    file = BundleFile(path)
    domain, _, news, told = make(file, bundle=parse_bundle(file.load()), refresh=1.0)

    assert (1, (ONE.certificate,)) == (domain.generation, domain.authorities)
    await renew(domain)
    path.write_bytes(b"{}")
    await renew(domain)
    await renew(domain)
    path.unlink()
    await renew(domain)
    assert (ONE.certificate,) == domain.authorities
    path.write_bytes(bundle(TWO, sequence=0))
    await renew(domain)
    await domain.stop()

    assert ([2], (TWO.certificate,)) == (told, domain.authorities)
    assert ["the bundle has no list of keys", "unreadable"] == [one.why for one in news if one.why]
    assert "bundle.json" == file.name


async def test_an_endpoint_is_asked_with_the_safe_client(tmp_path: Path) -> None:
    """Over TLS with the authority that was named; failures have a word."""
    pki = DevelopmentPki(tmp_path)
    pki.init()
    issued = pki.issue("endpoint", "server")
    clock = pki.clock
    fetcher = Fetcher(clock, ca=pki.ca("gateway"))
    async with providing(tls=server_context(*issued, clock, client_certificate="none")) as one:
        source = BundleEndpoint(f"https://localhost:{one.port}/bundle", fetcher)
        domain, _, news, _ = make(source)
        one.say = answering(bundle(ONE))
        await renew(domain)
        one.say = answering(b"", 500)
        await renew(domain)
        await domain.stop()

    assert (ONE.certificate,) == domain.authorities
    assert ["status-500"] == [each.why for each in news if each.why]
    assert ["/bundle", "/bundle"] == one.targets
    assert "localhost" == source.name


async def test_an_endpoint_s_url_is_checked_when_it_is_asked() -> None:
    """What the client would read otherwise is refused."""
    source = BundleEndpoint("https://example.org/bundle", Fetcher(FixedClock()))
    source._url = "ftp://example.org"

    with pytest.raises(Unavailable):
        await source.read()
    await source.close()
