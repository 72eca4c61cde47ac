"""Compiles transmitters of security events, and runs what listens to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, final

import structlog

from gateway.credentials.fetch import Fetcher
from gateway.credentials.jwks import FileKeySet
from gateway.credentials.remote import Endpoint, UrlKeySet
from gateway.shared_signals.poll import ACCEPTED, Heartbeat, Poller
from gateway.shared_signals.push import push_handler
from gateway.shared_signals.receiver import Receiver, Transmitter
from gateway.shared_signals.subjects import Voice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack

    from aiohttp import web

    from gateway.app.findings import Findings
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
@dataclass(frozen=True, slots=True)
class Feed:
    """One transmitter, compiled.

    Args:
        settings: As configured.
        transmitter: Who it is, and how far it is believed.
        keys: Its keys, to be started.
        fetcher: Asks its servers; to be closed.
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


def compile_signals(
    settings: Settings,
    directory: Path,
    clock: Clock,
    findings: Findings,
    report: Callable[[str, KeyNews], None],
) -> tuple[Feed, ...]:
    """Compile the section `identity.signals`.

    Args:
        settings: The settings.
        directory: Directory of the configuration, for secrets.
        clock: Time.
        findings: Takes what is wrong.
        report: Told a transmitter's issuer, and what happened to its keys.
    """
    lifetimes = [issuer.max_lifetime for issuer in settings.identity.issuers]
    lifetimes += [domain.max_lifetime for domain in settings.identity.trust_domains.values()]
    longest = max(lifetimes, default=0.0) + SLACK
    feeds = []
    for index, one in enumerate(settings.identity.signals):
        place: Place = ("identity", "signals", index)
        with findings.at((*place, "jwks"), "give a readable JWK set with usable public keys"):
            fetcher = Fetcher(clock, networks=one.networks, ca=one.ca)
            keys = _keys(one, clock, fetcher, partial(report, one.issuer))
            transmitter = Transmitter(
                issuer=one.issuer,
                audience=one.audience,
                keys=keys,
                algorithms=frozenset(one.algorithms),
                voice=Voice(one.speaks_for or (one.issuer,), one.email_claim),
                memory=longest,
            )

            secret = partial(_token, findings, place, directory)
            feeds.append(
                Feed(
                    one,
                    transmitter,
                    keys,
                    fetcher,
                    secret("push", one.push),
                    secret("poll", one.poll),
                    secret("verification", one.verification),
                )
            )
    return tuple(feeds)


def _token(
    findings: Findings, place: Place, directory: Path, key: str, part: Push | Poll | Verification | None
) -> str | None:
    return findings.secret((*place, key, "token"), None if part is None else part.token, directory)


def _keys(
    one: TransmitterSettings, clock: Clock, fetcher: Fetcher, tell: Callable[[KeyNews], None]
) -> FileKeySet | UrlKeySet:
    if one.jwks.scheme == "file":
        return FileKeySet(Path(one.jwks.path), clock, tell=tell)
    return UrlKeySet(Endpoint(one.jwks.text, fetcher), clock, tell=tell)


@final
class Listening:
    """Everything that listens to the transmitters of one process.

    Args:
        feeds: The transmitters.
        sink: Where revocations go.
        clock: Time.
    """

    def __init__(self, feeds: tuple[Feed, ...], sink: RevocationSink, clock: Clock) -> None:
        self._feeds = feeds
        self._clock = clock
        self._log = structlog.get_logger()
        self._heartbeats: list[Heartbeat] = []
        self._receivers = [Receiver(feed.transmitter, sink, clock, self._say) for feed in feeds]

    @property
    def taken(self) -> int:
        """Security events taken."""
        return sum(receiver.taken for receiver in self._receivers)

    @property
    def silent(self) -> int:
        """Transmitters that should have been heard, and were not."""
        return sum(heartbeat.is_silent for heartbeat in self._heartbeats)

    async def start(self, stack: AsyncExitStack) -> None:
        """Fetch keys, begin to poll and to ask for signs of life; `stack` ends it."""
        for feed, receiver in zip(self._feeds, self._receivers, strict=True):
            stack.push_async_callback(feed.fetcher.close)
            stack.push_async_callback(feed.keys.stop)
            await feed.keys.start()
            poll, verification = feed.settings.poll, feed.settings.verification
            fail = partial(self._fail, feed.settings.name)
            if poll is not None and feed.poll_token is not None:
                ask = _Asking(feed.fetcher, feed.poll_token)
                poller = Poller(poll.endpoint.text, ask, receiver, poll.interval, fail)
                stack.push_async_callback(poller.stop)
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
                self._heartbeats.append(heartbeat)
                stack.push_async_callback(heartbeat.stop)
                heartbeat.start()

    def endpoints(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """Return the push endpoints by their path on the operators' listener."""
        return {
            f"/signals/{feed.settings.name}": push_handler(
                receiver, feed.push_token, partial(self._reject, feed.settings.name)
            )
            for feed, receiver in zip(self._feeds, self._receivers, strict=True)
            if feed.settings.push is not None
        }

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
