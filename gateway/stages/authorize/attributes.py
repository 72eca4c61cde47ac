"""What a condition may read: one table, from which type checker, evaluation and documentation come.

An attribute that this request does not have is absent, never a default: reading it makes the
condition fail, and a failed condition never allows. `has(request.max_tokens)` asks first. Durations
and the time of day are whole seconds, so that the verdict on a condition can be remembered.
Nothing here decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, final

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.identity import Identity
    from gateway.core.prompt import Prompt
    from gateway.core.signals import Risk

MAX_CLAIM_DEPTH = 32  # the runtime converts recursively, in native code: 30,000 levels end the process


@final
class Pinned:
    """A read-only mapping as a key: equal only to itself, and alive as long as the key is."""

    __slots__ = ("mapping",)

    def __init__(self, mapping: Mapping[str, object]) -> None:
        self.mapping = mapping

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pinned) and self.mapping is other.mapping

    def __hash__(self) -> int:
        return id(self.mapping)


Value: TypeAlias = "str | bool | int | float | tuple[str, ...] | frozenset[str] | Pinned"


@final
class Facts:
    """Everything that is known about one request when its conditions are asked.

    Args:
        identity: Who asks.
        call: The head of the request.
        route: Name of the route.
        now: Seconds since the epoch.
        prompt: The inspected body, or None while only the head is known.
        risk: The score, or None while only the head is known.
    """

    __slots__ = ("call", "identity", "now", "prompt", "risk", "route")

    def __init__(
        self,
        identity: Identity,
        call: Call,
        route: str,
        now: float,
        prompt: Prompt | None = None,
        risk: Risk | None = None,
    ) -> None:
        self.identity = identity
        self.call = call
        self.route = route
        self.now = now
        self.prompt = prompt
        self.risk = risk


@final
class Kind(Enum):
    """Type of an attribute; the value is the word in the documentation."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRINGS = "list(string)"
    CLAIMS = "map(string, dyn)"
    TIMESTAMP = "timestamp"


@final
class Known(Enum):
    """From when on an attribute is known."""

    HEAD = "head"
    BODY = "body"


@final
@dataclass(frozen=True)
class Attribute:
    """One attribute that conditions may read.

    Args:
        name: Dotted name in a condition.
        kind: Its type.
        unit: Unit of numbers, "" where there is none.
        source: Where the value comes from, and when it is absent.
        known: From when on it is known.
        read: Takes the value out of the facts: hashable, or None if this request has none.
    """

    name: str
    kind: Kind
    unit: str
    source: str
    known: Known
    read: Callable[[Facts], Value | None]

    def convert(self, value: Value) -> object | None:
        """Turn a value that was read into what the expression runtime takes.

        Returns:
            The value; None for claims nested so deeply that the runtime's native stack is at risk.
        """
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, Pinned):
            return dict(value.mapping) if _is_shallow(value.mapping, MAX_CLAIM_DEPTH) else None
        if self.kind is Kind.TIMESTAMP and not isinstance(value, str):
            return datetime.fromtimestamp(value, UTC)
        return value


def _is_shallow(value: object, levels: int) -> bool:
    if isinstance(value, Mapping):
        return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value)
    return True


def _claims(facts: Facts) -> Pinned:
    return Pinned(facts.identity.claims)


def _method(facts: Facts) -> str:
    return facts.call.method


def _path(facts: Facts) -> str:
    return facts.call.path


def _address(facts: Facts) -> str:
    return facts.call.peer.address


def _has_certificate(facts: Facts) -> bool:
    return facts.call.peer.certificate is not None


def _peer_subject(facts: Facts) -> str | None:
    certificate = facts.call.peer.certificate
    return None if certificate is None else certificate.subject


def _peer_fingerprint(facts: Facts) -> str | None:
    certificate = facts.call.peer.certificate
    return None if certificate is None else certificate.fingerprint


def _token_age(facts: Facts) -> int | None:
    identity = facts.identity
    if identity.token is None or identity.issued <= 0.0:
        return None
    return max(0, math.ceil(facts.now - identity.issued))


def _token_expires_in(facts: Facts) -> int | None:
    if facts.identity.token is None:
        return None
    return math.floor(facts.identity.expires - facts.now)


def _auth_age(facts: Facts) -> int | None:
    since = facts.identity.auth_time
    return None if since is None else max(0, math.ceil(facts.now - since))


def _model(facts: Facts) -> str | None:
    return None if facts.prompt is None else facts.prompt.model


def _stream(facts: Facts) -> bool | None:
    return None if facts.prompt is None else facts.prompt.stream


def _max_tokens(facts: Facts) -> int | None:
    return None if facts.prompt is None else facts.prompt.output_cap


def _n(facts: Facts) -> int | None:
    return None if facts.prompt is None else facts.prompt.choices


def _messages(facts: Facts) -> int | None:
    return None if facts.prompt is None else facts.prompt.messages


def _tools(facts: Facts) -> int | None:
    return None if facts.prompt is None else facts.prompt.tools


def _temperature(facts: Facts) -> float | None:
    sent = None if facts.prompt is None else facts.prompt.temperature
    return None if sent is None else sent + 0.0  # -0.0 and 0 become 0.0: equal keys, equal values


def _size(facts: Facts) -> int | None:
    return None if facts.prompt is None else facts.prompt.size


def _score(facts: Facts) -> float | None:
    return None if facts.risk is None else facts.risk.score + 0.0


_H, _B = Known.HEAD, Known.BODY
_S, _L = Kind.STRING, Kind.STRINGS

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("identity.key", _S, "", "the caller's unique name", _H, lambda f: f.identity.key),
    Attribute(
        "identity.subject", _S, "", "`sub`, SPIFFE ID or subject name", _H, lambda f: f.identity.subject
    ),
    Attribute(
        "identity.issuer",
        _S,
        "",
        '`iss`; of a JWT-SVID `spiffe://DOMAIN`; of a certificate its issuer\'s name; `key`; "" if anonymous',
        _H,
        lambda f: f.identity.issuer,
    ),
    Attribute(
        "identity.client_id", _S, "", "OAuth client; may be absent", _H, lambda f: f.identity.client_id
    ),
    Attribute("identity.roles", _L, "", "roles of the configuration, sorted", _H, lambda f: f.identity.roles),
    Attribute("identity.groups", _L, "", "groups of the token", _H, lambda f: f.identity.groups),
    Attribute("identity.scopes", _L, "", "OAuth scopes, sorted", _H, lambda f: f.identity.scopes),
    Attribute("identity.spiffe_id", _S, "", "may be absent", _H, lambda f: f.identity.spiffe_id),
    Attribute(
        "identity.methods",
        _L,
        "",
        "verified credentials, sorted: dpop, jwt, key, mtls, opaque",
        _H,
        lambda f: f.identity.methods,
    ),
    Attribute("identity.claims", Kind.CLAIMS, "", "verified claims of the token", _H, _claims),
    Attribute(
        "peer.certificate",
        Kind.BOOL,
        "",
        "true if the client proved a certificate",
        _H,
        _has_certificate,
    ),
    Attribute("peer.subject", _S, "", "RFC 4514 name; absent without certificate", _H, _peer_subject),
    Attribute("peer.fingerprint", _S, "", "x5t#S256; absent without certificate", _H, _peer_fingerprint),
    Attribute("token.age", Kind.INT, "s", "since `iat`, rounded up; absent without token", _H, _token_age),
    Attribute("token.expires_in", Kind.INT, "s", "rounded down; absent without token", _H, _token_expires_in),
    Attribute(
        "token.bound", Kind.BOOL, "", "bound to the certificate or to a key", _H, lambda f: f.identity.bound
    ),
    Attribute(
        "token.binding",
        _S,
        "",
        "to what: none, certificate (RFC 8705), key (RFC 9449), both",
        _H,
        lambda f: f.identity.binding,
    ),
    Attribute("auth.acr", _S, "", "`acr`; may be absent", _H, lambda f: f.identity.acr),
    Attribute("auth.amr", _L, "", "`amr`, maybe empty", _H, lambda f: f.identity.amr),
    Attribute("auth.age", Kind.INT, "s", "since `auth_time`, rounded up; may be absent", _H, _auth_age),
    Attribute(
        "auth.proofs",
        Kind.INT,
        "proofs",
        "2: certificate and a bound token; 1: one credential; 0: anonymous",
        _H,
        lambda f: f.identity.proofs,
    ),
    Attribute("request.method", _S, "", "upper case", _H, _method),
    Attribute("request.path", _S, "", "canonical, without query", _H, _path),
    Attribute("request.model", _S, "", "absent where the dialect has none", _B, _model),
    Attribute("request.stream", Kind.BOOL, "", "a streamed answer is asked for", _B, _stream),
    Attribute("request.max_tokens", Kind.INT, "tokens", "output cap; absent if not sent", _B, _max_tokens),
    Attribute("request.n", Kind.INT, "answers", "1 if not sent", _B, _n),
    Attribute("request.messages", Kind.INT, "messages", "messages or inputs", _B, _messages),
    Attribute("request.tools", Kind.INT, "tools", "tools offered to the model", _B, _tools),
    Attribute("request.temperature", Kind.DOUBLE, "", "absent if not sent", _B, _temperature),
    Attribute("request.size", Kind.INT, "bytes", "the body as received", _B, _size),
    Attribute("route.name", _S, "", "name of the route", _H, lambda f: f.route),
    Attribute("source.address", _S, "", 'peer address, or "unix"', _H, _address),
    Attribute(
        "now", Kind.TIMESTAMP, "", "the gateway's clock, whole seconds", _H, lambda f: math.floor(f.now)
    ),
    Attribute("risk.score", Kind.DOUBLE, "0 to 1", "how unusual the request is", _B, _score),
)

BY_NAME: Mapping[str, Attribute] = {attribute.name: attribute for attribute in ATTRIBUTES}
ROOTS: frozenset[str] = frozenset(attribute.name.partition(".")[0] for attribute in ATTRIBUTES)


def table() -> str:
    """Render the attributes as the Markdown table of `docs/policy.md`."""
    rows = ["| attribute | type | unit | what it is | known from |", "|---|---|---|---|---|"]
    rows.extend(
        f"| `{a.name}` | {a.kind.value} | {a.unit} | {a.source} | {a.known.value} |" for a in ATTRIBUTES
    )
    return "\n".join(rows) + "\n"
