"""Transmitters of security events can be heard, and speak for issuers that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.config.writing import Authority, messages, warnings

if TYPE_CHECKING:
    from pathlib import Path

IDP = "https://idp.example.org"
SECRET = "file:token"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a secret."""
    authority = Authority(tmp_path)
    authority.write("token", b"secret\n")
    return tmp_path


def transmitter(**changes: Any) -> dict[str, Any]:
    """A sound transmitter, with changes."""
    return {
        "name": "idp",
        "issuer": IDP,
        "audience": "https://gateway.example.org/signals",
        "jwks": "https://idp.example.org/ssf/jwks",
        "push": {"token": SECRET},
    } | changes


def written(*transmitters: dict[str, Any]) -> dict[str, Any]:
    """What the configuration is changed to."""
    return {"identity.signals": list(transmitters), "admin": {"listen": "127.0.0.1:9443"}}


def test_a_sound_transmitter_is_taken(files: Path) -> None:
    """By push, by poll, with signs of life, for itself or for others."""
    poll = {"endpoint": "https://idp.example.org/poll", "token": SECRET}
    verification = {"endpoint": "https://idp.example.org/verify", "token": SECRET, "stream": "s-1"}
    sound = written(
        transmitter(),
        transmitter(
            name="other",
            issuer="https://ssf.example.org",
            speaks_for=[IDP, "spiffe://example.org"],
            poll=poll,
            verification=verification,
        ),
    )

    assert [] == messages(files, sound)
    assert [] == [one for one in warnings(files, sound) if "signals" in str(one)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (written(transmitter(), transmitter()), [('"idp"', "`idp` stands twice")]),
        (
            written(transmitter(push=None)),
            [("{", "nothing of this transmitter would ever arrive")],
        ),
        (
            {"identity.signals": [transmitter()]},
            [('"push"', "there is no operators' listener, which events are pushed to")],
        ),
        (
            written(transmitter(issuer="https://ssf.example.org")),
            [
                (
                    '"https://ssf.example.org"',
                    "`https://ssf.example.org` is no issuer of tokens here: its events would concern nobody",
                )
            ],
        ),
        (
            written(transmitter(speaks_for=[IDP, "https://ipd.example.org"])),
            [('"https://ipd.example.org"', "`https://ipd.example.org` is no issuer of tokens here")],
        ),
        (
            written(transmitter(jwks="http://idp.example.org/jwks")),
            [
                (
                    '"http://idp.example.org/jwks"',
                    "whoever sits on the network path could read, hold back or replace what is sent",
                )
            ],
        ),
        (
            written(transmitter(poll={"endpoint": "http://idp.example.org/p", "token": SECRET})),
            [
                (
                    '"http://idp.example.org/p"',
                    "whoever sits on the network path could read, hold back or replace what is sent",
                )
            ],
        ),
        (
            written(transmitter(jwks="file:jwks.json")),
            [('"file:jwks.json"', "there is no file {}/jwks.json")],
        ),
        (
            written(transmitter(push={"token": "file:none"})),
            [('"file:none"', "there is no file {}/none")],
        ),
        (
            written(transmitter(poll={"endpoint": "https://idp.example.org/p", "token": "file:none"})),
            [('"file:none"', "there is no file {}/none")],
        ),
        (written(transmitter(ca="token")), [('"token"', "{}/token holds no readable certificate")]),
        (
            written(transmitter(jwks="https://10.0.0.9/jwks")),
            [('"https://10.0.0.9/jwks"', "10.0.0.9 is no public address, and no `networks` are listed")],
        ),
        (
            written(
                transmitter(
                    poll={"endpoint": "https://10.0.0.9/p", "token": SECRET}, networks=["192.168.0.0/16"]
                )
            ),
            [('"https://10.0.0.9/p"', "10.0.0.9 is in none of `networks`")],
        ),
        (
            written(
                transmitter(
                    verification={"endpoint": "https://10.0.0.9/v", "token": SECRET, "stream": "s"},
                    networks=["192.168.0.0/16"],
                )
            ),
            [('"https://10.0.0.9/v"', "10.0.0.9 is in none of `networks`")],
        ),
        (
            written(transmitter(jwks="http://localhost/jwks", networks=["10.0.0.0/8"], ca="ca.pem")),
            [
                ('"networks"', "`networks` has no effect: nothing is fetched from another machine"),
                ('"ca"', "`ca` has no effect: nothing is fetched by `https://`"),
            ],
        ),
        (
            written(transmitter(algorithms=["HS256"])),
            [
                (
                    '"HS256"',
                    "`HS256` verifies with the key that signs: whoever can check a token could forge one",
                )
            ],
        ),
    ],
)
def test_what_could_not_be_heard_is_refused(
    files: Path, changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Each with the place, and what is wrong with it."""
    assert [(text, message.format(files)) for text, message in expected] == messages(files, changes)
