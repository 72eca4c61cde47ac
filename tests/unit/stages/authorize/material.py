"""Identities, calls and routes for the tests of this stage: plain values, no doubles of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.call import Call
from gateway.core.identity import Identity, Peer, PeerCertificate
from gateway.core.limits import RouteLimits
from gateway.core.prompt import Prompt
from gateway.core.route import Requirements, Route
from gateway.core.signals import NO_RISK, Risk
from gateway.stages.authorize import Rules
from gateway.stages.authorize.attributes import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.ports import Policy
    from gateway.core.refusal import Refusal

NOW = 1_800_000_000.25  # Friday, 15 January 2027, 08:00:00 UTC
CERTIFICATE = PeerCertificate(
    fingerprint="FINGERPRINT",
    subject="CN=ada",
    issuer="CN=ca",
    serial="1",
    uris=(),
    dns=(),
    spiffe_id=None,
    not_before=0.0,
    not_after=2e9,
)


class NoBody:
    """A body that nobody may read: this stage must not."""

    async def read(self, limit: int, seconds: float, /) -> bytes:
        raise AssertionError((limit, seconds))


def a_call(
    *,
    address: str = "10.1.2.3",
    method: str = "POST",
    path: str = "/v1/chat/completions",
    certificate: bool = False,
) -> Call:
    """Make the head of a chat request."""
    peer = Peer(address, 50000, CERTIFICATE if certificate else None)
    return Call("call-1", method, path, "", {}, peer, NoBody())


def an_identity(
    *roles: str,
    token: str | None = "0123456789abcdef",
    claims: Mapping[str, object] | None = None,
    **more: object,
) -> Identity:
    """Make a caller: a token 60 seconds old, unless told otherwise."""
    values: dict[str, object] = {
        "key": "https://idp.example.org|ada",
        "issuer": "https://idp.example.org",
        "subject": "ada",
        "methods": ("jwt",) if token else (),
        "roles": frozenset(roles),
        "expires": NOW + 600.0,
        "issued": NOW - 60.0,
        "token": token,
        "claims": {} if claims is None else claims,
    }
    return Identity(**(values | more))  # type: ignore[arg-type]


def some_facts(
    identity: Identity | None = None,
    prompt: Prompt | None = None,
    risk: Risk = NO_RISK,
    call: Call | None = None,
) -> Facts:
    """Gather facts with everything known."""
    return Facts(identity or an_identity(), call or a_call(), "chat", NOW, prompt or Prompt("llama"), risk)


class NoInspector:
    """Body checks that are not this stage's."""

    def __call__(self, body: bytes, call: Call, /) -> tuple[Prompt, bytes, bytes] | Refusal:
        raise AssertionError((body, call))


def a_route(policy: Policy | None = None, require: Requirements | None = None) -> Route:
    """Make a route for this stage alone."""
    return Route(
        name="chat",
        methods=frozenset({"POST"}),
        path="/v1/chat/completions",
        backend="llama",
        dialect="openai.chat",
        require=require or Requirements(),
        policy=policy or Rules("chat", ()),
        limits=RouteLimits("chat"),
        inspector=NoInspector(),
        meter=None,  # type: ignore[arg-type]  # belongs to a later stage, which these tests never reach
    )
