"""Decides about a request that nobody has sent: who would ask, what each rule would say, what came of it.

Uses the stages themselves; verifies no credential, opens no socket, charges no limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

from gateway.core.call import Call
from gateway.core.identity import Peer
from gateway.core.prompt import Prompt
from gateway.core.refusal import Refusal, Refused
from gateway.core.signals import Risk
from gateway.stages.authorize import enter
from gateway.stages.authorize.attributes import Facts
from gateway.stages.authorize.explain import Explained, explain
from gateway.stages.authorize.policy import Rules
from gateway.stages.identify.identity import Verified, anonymous, from_certificate, from_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.app.compilation import Compilation
    from gateway.core.identity import Identity, PeerCertificate
    from gateway.core.route import Route

ISSUED_BEFORE = 60  # seconds before the request, where no `iat` is given
LIFETIME = 300  # seconds, where no `exp` is given


class NoSuch(Exception):
    """Something that is named does not exist; the text says what there is."""


@final
@dataclass(frozen=True)
class Question:
    """A request as an operator describes it.

    Args:
        route: Name of the route, or None: method and path are matched.
        method: Upper-case method, or None: the route's.
        path: Canonical path, or None: the route's.
        claims: Of a token, taken for verified; None: no token. `iss` may be left out if there is one issuer.
        certificate: Of the connection, or None.
        roles: That the caller has beside those that its credentials give.
        address: Of the client.
        prompt: What the body asks for.
        risk: Score.
        now: Seconds since the epoch.
    """

    now: float
    route: str | None = None
    method: str | None = None
    path: str | None = None
    claims: Mapping[str, object] | None = None
    certificate: PeerCertificate | None = None
    roles: frozenset[str] = frozenset()
    address: str = "127.0.0.1"
    prompt: Prompt = field(default_factory=Prompt)
    risk: float = 0.0


@final
@dataclass(frozen=True)
class Explanation:
    """What came of it.

    Args:
        identity: Who it would be.
        route: What was matched, or None.
        rules: What every rule says.
        verdict: Name of the rule that allows it, or why it is refused.
    """

    identity: Identity
    route: Route | None
    rules: tuple[Explained, ...]
    verdict: str | Refusal


def explain_request(compilation: Compilation, question: Question) -> Explanation:
    """Decide about a request.

    Raises:
        NoSuch: There is no such issuer or route.
        Refused: No identity can be made of what is given: `TOKEN_CLAIM_INVALID`, or `CREDENTIAL_MISSING`.
    """
    identity = _identity(compilation, question)
    route, call = _route(compilation, question)
    if route is None:
        return Explanation(identity, None, (), _entered(identity, None, call, question.now) or "")
    rules = route.policy
    assert isinstance(rules, Rules)  # noqa: S101 - the only policy there is
    risk = Risk(question.risk)
    facts = Facts(identity, call, route.name, question.now, question.prompt, risk)
    verdict = _entered(identity, route, call, question.now)
    return Explanation(
        identity,
        route,
        tuple(explain(rules.rules, facts)),
        verdict or rules.decide(identity, call, question.prompt, risk, question.now),
    )


def _entered(identity: Identity, route: Route | None, call: Call, now: float) -> Refusal | None:
    try:
        enter(identity, route, call, now)
    except Refused as refused:
        return refused.refusal
    return None


def _identity(compilation: Compilation, question: Question) -> Identity:
    known = compilation.identification
    if question.claims is not None:
        identity = from_token(_token(compilation, question), question.certificate, known.roles)
    elif question.certificate is not None:
        identity = from_certificate(question.certificate, known.roles)
    else:
        if known.anonymous_roles is None and not question.roles:
            raise NoSuch("nobody without credentials is let in here: describe a token or a certificate")
        identity = anonymous(question.address, known.anonymous_roles or frozenset())
    return replace(identity, roles=identity.roles | question.roles)


def _token(compilation: Compilation, question: Question) -> Verified:
    claims = dict(question.claims or {})
    issuers = compilation.identification.issuers
    name = claims.setdefault("iss", next(iter(issuers)) if len(issuers) == 1 else None)
    issuer = issuers.get(str(name))
    if issuer is None:
        known = ", ".join(issuers) or "none"
        raise NoSuch(
            f"{'no issuer is named' if name is None else f'`{name}` is no issuer'}; there are: {known}"
        )
    claims.setdefault("sub", "somebody")
    issued = claims.setdefault("iat", int(question.now) - ISSUED_BEFORE)
    expires = claims.setdefault("exp", int(question.now) + LIFETIME - ISSUED_BEFORE)
    if not isinstance(issued, int) or not isinstance(expires, int):
        raise NoSuch("`iat` and `exp` are whole seconds since 1970")
    return Verified(claims, issuer, issued, expires, b"\0" * 32, 0)


def _route(compilation: Compilation, question: Question) -> tuple[Route | None, Call]:
    routes = compilation.routes
    route = None
    if question.route is not None:
        route = next((each for each in routes.routes if each.name == question.route), None)
        if route is None:
            known = ", ".join(each.name for each in routes.routes)
            raise NoSuch(f"`{question.route}` is no route; there are: {known}")
    path = question.path or ("/" if route is None else route.path)
    method = question.method or ("POST" if route is None else min(route.methods))
    if route is None:
        route = routes.match(method, path)
    peer = Peer(
        question.address, 0, question.certificate, None if question.certificate is None else "TLSv1.3"
    )
    return route, Call("explain", method, path, "", {}, peer, _NoBody())


@final
class _NoBody:
    """What the request would say is described, not read."""

    async def read(self, _limit: int, _seconds: float, /) -> bytes:
        """Return nothing."""
        return b""
