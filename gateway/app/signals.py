"""Compiles transmitters of security events, and runs what listens to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, final

import structlog

from gateway.app.named import digest, named
from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwks import FileKeySet
from gateway.credentials.remote import Endpoint, UrlKeySet
from gateway.shared_signals.poll import ACCEPTED, Heartbeat, Poller
from gateway.shared_signals.push import push_handler
from gateway.shared_signals.receiver import Receiver, Transmitter
from gateway.shared_signals.subjects import Voice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from gateway.app.findings import Findings
    from gateway.app.parts import Parts
    from gateway.config.schema import Settings
    from gateway.config.signals import Poll, Push, Verification
    from gateway.config.signals import Transmitter as TransmitterSettings
    from gateway.config.source import Path as Place
    from gateway.core.ports import Clock
    from gateway.core.revoking import RevocationSink
    from gateway.credentials.fetch import Fetched
    from gateway.credentials.key_news import KeyNews

SLACK = 60.0  # seconds beyond the longest lifetime of a token, for clocks


@final
@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """One transmitter, compiled; started before it is listened to.

    Args:
        settings: As configured.
        transmitter: Who it is, and how far it is believed.
        keys: Its keys.
        fetcher: Asks its servers.
        push_token: What it must send with a push, or None.
        poll_token: What it asks for with a poll, or None.
        verification_token: What it asks for with a question for a sign of life, or None.
    """

    settings: TransmitterSettings
    transmitter: Transmitter
    keys: FileKeySet | UrlKeySet
    fetcher: Fetcher
    push_token: str | None
    poll_token: str | None
    verification_token: str | None

    async def start(self) -> None:
        """Fetch its keys, and keep them fresh."""
        await self.keys.start()

    async def stop(self) -> None:
        """End what is under way."""
        await self.keys.stop()
        await self.fetcher.close()


def compile_signals(
    settings: Settings,
    directory: Path,
    clock: Clock,
    findings: Findings,
    report: Callable[[str, KeyNews], None],
    parts: Parts,
) -> tuple[Feed, ...]:
    """Compile the section `identity.signals`.

    Args:
        settings: The settings.
        directory: Directory of the configuration, for secrets.
        clock: Time.
        findings: Takes what is wrong.
        report: Told a transmitter's issuer, and what happened to its keys.
        parts: What is taken over from the configuration that runs.
    """
    lifetimes = [issuer.max_lifetime for issuer in settings.identity.issuers]
    lifetimes += [domain.max_lifetime for domain in settings.identity.trust_domains.values()]
    longest = max(lifetimes, default=0.0) + SLACK
    feeds = []
    for index, one in enumerate(settings.identity.signals):
        place: Place = ("identity", "signals", index)
        with findings.at((*place, "jwks"), "give a readable JWK set with usable public keys"):
            tell = partial(report, one.issuer)
            origin = one, digest(named(one)), longest
            make = partial(_feed, one, place, longest, directory, clock, findings, tell)
            feeds.append(parts.take("feed", one.name, origin, make))
    return tuple(feeds)


def _feed(
    one: TransmitterSettings,
    place: Place,
    longest: float,
    directory: Path,
    clock: Clock,
    findings: Findings,
    tell: Callable[[KeyNews], None],
) -> Feed:
    fetcher = Fetcher(clock, networks=one.networks, ca=one.ca)
    keys = _keys(one, clock, fetcher, tell)
    transmitter = Transmitter(
        issuer=one.issuer,
        audience=one.audience,
        keys=keys,
        algorithms=frozenset(one.algorithms),
        voice=Voice(one.speaks_for or (one.issuer,), one.email_claim),
        memory=longest,
    )

    def secret(key: str, part: Push | Poll | Verification | None) -> str | None:
        return findings.secret((*place, key, "token"), None if part is None else part.token, directory)

    return Feed(
        one,
        transmitter,
        keys,
        fetcher,
        secret("push", one.push),
        secret("poll", one.poll),
        secret("verification", one.verification),
    )


def _keys(
    one: TransmitterSettings, clock: Clock, fetcher: Fetcher, tell: Callable[[KeyNews], None]
) -> FileKeySet | UrlKeySet:
    if one.jwks.scheme == "file":
        return FileKeySet(Path(one.jwks.path), clock, tell=tell)
    return UrlKeySet(Endpoint(one.jwks.text, fetcher), clock, tell=tell)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One transmitter that is listened to, and what does it."""

    feed: Feed
    receiver: Receiver
    poller: Poller | None
    heartbeat: Heartbeat | None

    async def stop(self) -> None:
        """Ask it nothing any more."""
        for one in (self.heartbeat, self.poller):
            if one is not None:
                await one.stop()


@final
class Listening:
    """Everything that listens to the transmitters of one process.

    Args:
        sink: Where revocations go.
        clock: Time.

    Attributes:
        endpoints: Handlers of pushes by their path on the operators' listener, as of now.
    """

    def __init__(self, sink: RevocationSink, clock: Clock) -> None:
        self.endpoints: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self._sink = sink
        self._clock = clock
        self._log = structlog.get_logger()
        self._heard: list[Heard] = []
        self._taken_before = 0  # from transmitters that are gone

    @property
    def taken(self) -> int:
        """Security events taken."""
        return self._taken_before + sum(one.receiver.taken for one in self._heard)

    @property
    def silent(self) -> int:
        """Transmitters that should have been heard, and were not."""
        return sum(one.heartbeat is not None and one.heartbeat.is_silent for one in self._heard)

    def follow(self, feeds: tuple[Feed, ...]) -> list[Heard]:
        """Listen to these transmitters from now on; those that were listened to before go on as they are.

        Args:
            feeds: The transmitters; their keys have been started.

        Returns:
            Those that are listened to no longer, to be stopped.
        """
        known = {id(one.feed): one for one in self._heard}
        heard = [known.pop(id(feed)) if id(feed) in known else self._begin(feed) for feed in feeds]
        self._taken_before += sum(one.receiver.taken for one in known.values())
        self._heard = heard
        self.endpoints.clear()
        for one in heard:
            name = one.feed.settings.name
            if one.feed.settings.push is not None:
                self.endpoints[f"/signals/{name}"] = push_handler(
                    one.receiver, one.feed.push_token, partial(self._reject, name)
                )
        return list(known.values())

    async def close(self) -> None:
        """Listen to nobody any more."""
        for one in self.follow(()):
            await one.stop()

    def _begin(self, feed: Feed) -> Heard:
        receiver = Receiver(feed.transmitter, self._sink, self._clock, self._say)
        fail = partial(self._fail, feed.settings.name)
        poll, verification = feed.settings.poll, feed.settings.verification
        poller: Poller | None = None
        heartbeat: Heartbeat | None = None
        if poll is not None and feed.poll_token is not None:
            ask = _Asking(feed.fetcher, feed.poll_token)
            poller = Poller(poll.endpoint.text, ask, receiver, poll.interval, fail)
            poller.start()
        if verification is not None and feed.verification_token is not None:
            heartbeat = Heartbeat(
                verification.endpoint.text,
                verification.stream,
                _Asking(feed.fetcher, feed.verification_token),
                receiver,
                self._clock,
                verification.interval,
                fail,
            )
            heartbeat.start()
        return Heard(feed, receiver, poller, heartbeat)

    def _say(self, event: str, facts: Mapping[str, object]) -> None:
        self._log.info(event, **facts)

    def _reject(self, name: str, code: str, why: str) -> None:
        self._log.warning("signal-rejected", transmitter=name, code=code, why=why)

    def _fail(self, name: str, word: str) -> None:
        if word == "back":
            self._log.info("signals-back", transmitter=name)
        elif word == "silent":
            mend = "ask the transmitter whether the stream is enabled; revocations of its users may be late"
            self._log.error("signals-silent", transmitter=name, mend=mend)
        else:
            self._log.warning("signals-failed", transmitter=name, why=word)


@final
class _Asking:
    """Posts JSON with a bearer token."""

    def __init__(self, fetcher: Fetcher, token: str) -> None:
        self._fetcher = fetcher
        self._token = token

    async def __call__(self, url: str, document: object, /) -> Fetched:
        return await self._fetcher.post(
            url,
            json=document,
            headers={"Authorization": f"Bearer {self._token}"},
            statuses=ACCEPTED,
            is_repeatable=True,  # an event that is taken twice does the same once
        )
