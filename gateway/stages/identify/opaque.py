"""Takes a token that is no JWT to an identity, by asking its issuer (RFC 7662). Cached by the caller.

What is asked decides nothing alone: an answer must say `active`, and then all that a JWT's claims must say.
A token without `exp` and `iat` is refused: how long it may be believed is never guessed. What cannot be
read is no answer: nobody is let in, or called an impostor, for an issuer that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, final

from gateway.core.gateway_key import PREFIX
from gateway.core.refusal import Reason, Refusal, Refused, Source
from gateway.stages.identify.bearer import named
from gateway.stages.identify.binding import check_binding
from gateway.stages.identify.claims import (
    CLIENT_SUBJECT,
    check_audience,
    check_dates,
    check_name,
    check_subject,
    invalid,
)
from gateway.stages.identify.compact import MAX_TOKEN_BYTES, TOO_LARGE
from gateway.stages.identify.document import parse
from gateway.stages.identify.identity import Verified

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.identity import PeerCertificate
    from gateway.core.introspection import Introspection
    from gateway.stages.identify.claims import Dates
    from gateway.stages.identify.issuer import Issuer

MAX_BELIEF: Final = 10.0  # seconds that an answer may be believed: a revoked token is dead within this time

NOT_ASKED: Final = Refusal(
    Reason.TOKEN_MALFORMED, "The token is not a compact JWS, and no issuer is asked about others."
)
INACTIVE: Final = Refusal(Reason.TOKEN_INACTIVE, note="its issuer says that the token is not active")
OTHER_SCHEME: Final = Refusal(
    Reason.TOKEN_BINDING, note="the token's type does not fit the scheme under which it was presented"
)


def _unusable(note: str) -> Refusal:
    return Refusal(
        Reason.TOKEN_UNCHECKED,
        "The token cannot be checked at the moment.",
        note=note,
        source=Source.GATEWAY,
        retry_after=1.0,
    )


UNREADABLE: Final = _unusable("the issuer's answer is no JSON object of one meaning")
UNDECIDED: Final = _unusable("the issuer's answer does not say whether the token is active")


@final
class OpaqueIssuer(NamedTuple):
    """One issuer that is asked about opaque tokens.

    Args:
        issuer: What its tokens must be.
        introspection: Asks it.
        prefix: What its tokens begin with; b"": those that no other prefix fits.
        belief: How long an answer is believed, seconds; at most `MAX_BELIEF`.
    """

    issuer: Issuer
    introspection: Introspection
    prefix: bytes = b""
    belief: float = MAX_BELIEF


@final
class OpaqueIssuers:
    """Which issuer an opaque token is shown to: by its first characters, never to two.

    Args:
        issuers: In any order.

    Attributes:
        names: `iss` of all of them.

    Raises:
        ValueError: A token could be shown to more than one, or a gateway key to any.
    """

    __slots__ = ("_default", "_prefixed", "names")

    def __init__(self, issuers: Iterable[OpaqueIssuer] = ()) -> None:
        prefixed: list[OpaqueIssuer] = []
        names: set[str] = set()
        self._default: OpaqueIssuer | None = None
        for one in issuers:
            names.add(one.issuer.issuer)
            if not 0.0 < one.belief <= MAX_BELIEF:
                raise ValueError(f"answers are believed for at most {MAX_BELIEF:g} seconds")
            if one.prefix:
                taken = [PREFIX, *[other.prefix for other in prefixed]]
                if any(one.prefix.startswith(each) or each.startswith(one.prefix) for each in taken):
                    raise ValueError("a prefix that could be another's")
                prefixed.append(one)
            elif self._default is None:
                self._default = one
            else:
                raise ValueError("two issuers without a prefix")
        self._prefixed = tuple(prefixed)
        self.names = frozenset(names)

    def __bool__(self) -> bool:
        return self._default is not None or bool(self._prefixed)

    def find(self, token: bytes) -> OpaqueIssuer | None:
        """Return who is to be asked about a token, or None: nobody, and never anybody about a gateway key."""
        if token.startswith(PREFIX):
            return None
        for one in self._prefixed:
            if token.startswith(one.prefix):
                return one
        return self._default


async def verify_opaque(
    token: bytes,
    digest: bytes,
    issuers: OpaqueIssuers,
    certificate: PeerCertificate | None,
    address: str,
    now: float,
    *,
    has_proof: bool = False,
) -> Verified:
    """Verify an opaque token and its binding to the connection.

    Args:
        token: The token; attacker-controlled.
        digest: Its SHA-256.
        issuers: Who can be asked.
        certificate: The connection's certificate, checked, or None.
        address: Who presents it.
        now: Seconds since the epoch.
        has_proof: True if it came under the scheme DPoP: its proof is checked by the caller.

    Raises:
        Refused: One of the `TOKEN_*` reasons.
    """
    asked = issuers.find(token)
    if asked is None:
        raise Refused(NOT_ASKED)
    if len(token) > MAX_TOKEN_BYTES:
        raise Refused(TOO_LARGE)
    answer = await asked.introspection.ask(token, digest, address)
    claims = _read(answer.body)
    if isinstance(claims, Refusal):
        raise Refused(claims)
    dates = _check(claims, asked.issuer, "dpop" if has_proof else "bearer", now)
    if isinstance(dates, Refusal):
        raise Refused(dates)
    refusal = check_binding(claims, certificate, has_proof=has_proof)
    if refusal is not None:
        raise Refused(named(refusal, digest))
    asked.introspection.believed(address)
    return Verified(
        claims,
        asked.issuer,
        dates.issued,
        dates.expires,
        digest,
        0,
        method="opaque",
        until=answer.asked + asked.belief,
    )


def _read(body: bytes) -> dict[str, object] | Refusal:
    """Return the claims of an active token; `sub` is made from `client_id` where there is none."""
    members = parse(body)
    if isinstance(members, Refusal):
        return UNREADABLE
    is_active = members.pop("active", None)
    if type(is_active) is not bool:
        return UNDECIDED
    if not is_active:
        return INACTIVE
    if "sub" in members:
        return check_subject(members) or members
    refusal = check_name(members, "client_id")  # RFC 7662, section 2.2: a client on its own behalf
    return refusal or members | {"sub": f"{CLIENT_SUBJECT}{members['client_id']}"}


def _check(claims: dict[str, object], issuer: Issuer, scheme: str, now: float) -> Dates | Refusal:
    if claims.get("iss", issuer.issuer) != issuer.issuer:
        return invalid("iss")
    kind = claims.get("token_type", scheme)
    if not isinstance(kind, str):
        return invalid("token_type")
    if kind.lower() != scheme:  # a proof of possession is never left out (RFC 9449, section 7.2)
        return OTHER_SCHEME
    return check_audience(claims, issuer.audience) or check_dates(claims, issuer, now)
