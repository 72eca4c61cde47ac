"""What `WWW-Authenticate` says: which schemes this gateway takes, and what was wrong with the one tried.

Every 401 names every scheme that is accepted, each in a field of its own: a list in one field is allowed,
and many clients cannot read it (RFC 9110, section 11.6.1). The scheme that was tried comes first and alone
carries an error; who sent no credential, or one of a kind that is not taken, gets no error at all (RFC 6750,
section 3). Decides nothing, and says nothing of its own: a description is the refusal's detail, where that
may be said.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, final

from gateway.stages.refuse.public import Challenge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.call import Call
    from gateway.core.refusal import Refusal

UNAUTHORIZED: Final = 401
# Errors that are about a proof of possession: under the scheme Bearer there is none that could be wrong, it
# is the token that must not be shown so (RFC 9449, section 7.2).
OF_PROOFS: Final = frozenset({Challenge.INVALID_PROOF, Challenge.USE_NONCE})
_TRIED: Final = re.compile(rb"(bearer|dpop)(?![!#$%&'*+.^_`|~0-9A-Za-z-])", re.IGNORECASE)


@final
class Scheme(Enum):
    """A scheme of the `Authorization` field; the value is its name in challenges."""

    BEARER = "Bearer"
    DPOP = "DPoP"


def tried(call: Call | None) -> Scheme | None:
    """Tell which scheme a request came under; None if under none, or under one that nobody knows here."""
    match = None if call is None else _TRIED.match(call.headers.get(b"authorization", b""))
    if match is None:
        return None
    return Scheme.DPOP if match[1][:1] in b"dD" else Scheme.BEARER


def quoted(text: str) -> bytes:
    """Write an HTTP quoted-string or structured-field string: printable ASCII, quotes escaped."""
    return b'"%b"' % visible(text).replace("\\", "\\\\").replace('"', '\\"').encode("ascii")


@final
class Challenges:
    """Writes challenges from templates made once.

    Args:
        realm: Name of the protection space (RFC 9110, section 11.5).
        algorithms: Algorithms of proofs of possession, most wanted first; none: the scheme DPoP is not taken.
        metadata: URL of the metadata by which clients find an issuer (RFC 9728, section 5.1), or "".
    """

    __slots__ = ("_closings", "_openings", "_others", "_plain")

    def __init__(self, realm: str, *, algorithms: Sequence[str] = (), metadata: str = "") -> None:
        pointer = b", resource_metadata=%b" % quoted(metadata) if metadata else b""
        closings = {Scheme.BEARER: pointer + b"\r\n"}
        if algorithms:
            closings[Scheme.DPOP] = b", algs=%b%b\r\n" % (quoted(" ".join(algorithms)), pointer)
        openings = {
            scheme: b"WWW-Authenticate: %b realm=%b" % (scheme.value.encode(), quoted(realm))
            for scheme in closings
        }
        plain = {scheme: openings[scheme] + closings[scheme] for scheme in closings}
        self._openings = openings
        self._closings = closings
        self._others = {
            scheme: b"".join(field for other, field in plain.items() if other is not scheme)
            for scheme in closings
        }
        self._plain = b"".join(plain.values())

    def write(
        self, challenge: Challenge, status: int, refusal: Refusal, detail: str, call: Call | None
    ) -> bytes:
        """Write the complete field lines of one answer.

        Args:
            challenge: What was wrong; not `NONE`.
            status: Status of the answer: a 401 names the other schemes too.
            refusal: What was refused; its scopes and what authentication it asks for are named.
            detail: What may be said of it, or "".
            call: The request, or None.
        """
        scheme = tried(call)
        if scheme not in self._openings:
            if status == UNAUTHORIZED:
                return self._plain
            scheme = Scheme.BEARER  # a 403 is about a credential that was accepted, whatever brought it
        elif challenge is Challenge.PLAIN:
            return self._openings[scheme] + self._closings[scheme] + self._others[scheme]
        if challenge in OF_PROOFS and scheme is Scheme.BEARER:
            challenge = Challenge.INVALID_TOKEN
        return b'%b, error="%b"%b%b%b' % (
            self._openings[scheme],
            challenge.value.encode(),
            _parameters(refusal, detail),
            self._closings[scheme],
            self._others[scheme] if status == UNAUTHORIZED else b"",
        )


def _parameters(refusal: Refusal, detail: str) -> bytes:
    """Write what an error says beside its code, in the order of the RFCs' examples."""
    text = b", error_description=%b" % _description(detail) if detail else b""
    step_up = refusal.step_up
    if step_up is not None:
        if step_up.acr_values:
            text += b", acr_values=%b" % quoted(" ".join(step_up.acr_values))
        if step_up.max_age is not None:
            text += b', max_age="%d"' % step_up.max_age
    if refusal.scopes:
        text += b", scope=%b" % quoted(" ".join(refusal.scopes))
    return text


def _description(detail: str) -> bytes:
    """Write an `error_description`: no quote, no backslash, not even escaped (RFC 6750, section 3)."""
    return b'"%b"' % visible(detail).replace("\\", "/").replace('"', "'").encode("ascii")


def visible(text: str) -> str:
    """Replace what is not printable ASCII: nothing can end a field line."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
