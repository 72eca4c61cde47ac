"""Which status and which word each reason has in public. One table, complete by `assert_never`.

Coarser than the record on purpose: a client learns what to do next and never which check it came close
to passing. A detail is said where it is about what the caller made or holds itself; it is kept back where
it would compare a guess with what is trusted, known or revoked here. A public word has one status and one
meaning; docs/problems.md explains each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never, final

from gateway.core.refusal import Reason


@final
class Challenge(Enum):
    """Which error `WWW-Authenticate` names (RFC 6750, 3.1; RFC 9449, 7.1 and 9; RFC 9470, 3)."""

    NONE = ""
    PLAIN = "no error code: the request carried no credential that could be wrong"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - an error code
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INVALID_PROOF = "invalid_dpop_proof"
    USE_NONCE = "use_dpop_nonce"
    INSUFFICIENT_AUTHENTICATION = "insufficient_user_authentication"


@final
@dataclass(frozen=True, slots=True)
class Public:
    """What a client may read of a reason.

    Args:
        status: HTTP status.
        word: Public word; the last part of the problem's `type`.
        title: One line for people.
        is_closing: True if the connection must not be used again: its framing is in doubt, or bytes
            of the request that nobody wants are still on their way.
        challenge: The challenge of a 401, or of a 403 for want of scope.
        type: Where the problem's type is registered by others, its URI; "" for a type of ours.
        is_silent: True if a detail would help an attacker: tell a route that exists from one that does
            not, or which part of a forged token to mend.
    """

    status: int
    word: str
    title: str
    is_closing: bool = False
    challenge: Challenge = Challenge.NONE
    is_silent: bool = False
    type: str = ""


REQUIRED: Final = Public(
    401, "credential-required", "A credential is required", challenge=Challenge.PLAIN
)  # the client is told how to ask again, and nothing else
REJECTED: Final = Public(
    401, "credential-rejected", "The credential is not accepted", challenge=Challenge.INVALID_TOKEN
)
UNPROVEN: Final = Public(
    401,
    "credential-rejected",
    "The credential is not accepted",
    challenge=Challenge.INVALID_TOKEN,
    is_silent=True,
)  # whoever forges or steals tokens learns nothing; who holds a genuine one learns why it failed
CERTIFICATE_REJECTED: Final = Public(
    401, "credential-rejected", "The credential is not accepted", challenge=Challenge.PLAIN
)
CERTIFICATE_UNPROVEN: Final = Public(
    401, "credential-rejected", "The credential is not accepted", challenge=Challenge.PLAIN, is_silent=True
)  # which authorities are trusted, and which thefts are known, is nothing for who was refused
PROOF_REJECTED: Final = Public(
    401, "proof-rejected", "The proof of possession is not accepted", challenge=Challenge.INVALID_PROOF
)  # about what the caller wrote into it, and its own clock
PROOF_UNPROVEN: Final = Public(
    401,
    "proof-rejected",
    "The proof of possession is not accepted",
    challenge=Challenge.INVALID_PROOF,
    is_silent=True,
)
NEEDS_NONCE: Final = Public(
    401, "nonce-required", "The proof of possession needs a nonce", challenge=Challenge.USE_NONCE
)
NEEDS_AUTHENTICATION: Final = Public(
    401,
    "authentication-insufficient",
    "A stronger or more recent authentication is required",
    challenge=Challenge.INSUFFICIENT_AUTHENTICATION,
)
AUTHENTICATION_TOO_WEAK: Final = Public(
    403, "authentication-too-weak", "A new token does not meet the authentication that is required either"
)
NEEDS_PROOFS: Final = Public(
    403, "second-proof-required", "Two independent proofs are required: a certificate and a bound token"
)
FORBIDDEN: Final = Public(403, "forbidden", "This is not allowed", is_silent=True)
NEEDS_CERTIFICATE: Final = Public(403, "certificate-required", "A client certificate is required")
NEEDS_SCOPE: Final = Public(
    403, "insufficient-scope", "The credential lacks a scope", challenge=Challenge.INSUFFICIENT_SCOPE
)
UNUSUAL: Final = Public(403, "unusual-behaviour", "Unusual behaviour")
TOO_MANY: Final = Public(429, "too-many-requests", "Too many requests")
FLOODED: Final = Public(429, "too-many-requests", "Too many requests", is_closing=True)
TOO_CONCURRENT: Final = Public(429, "too-many-concurrent", "Too many requests at the same time")
SPENT: Final = Public(
    429,
    "quota-exceeded",
    "The quota is used up",
    type="https://iana.org/assignments/http-problem-types#quota-exceeded",
)
REDUCED: Final = Public(
    429,
    "temporary-reduced-capacity",
    "There is no room at the moment",
    type="https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
)
MALFORMED: Final = Public(400, "invalid-request", "The request is malformed", is_closing=True)
AMBIGUOUS: Final = Public(400, "invalid-request", "The request is malformed")
METHOD: Final = Public(501, "not-implemented", "This is not implemented", is_closing=True)
VERSION: Final = Public(505, "version-unsupported", "This HTTP version is not supported", is_closing=True)
HOST: Final = Public(421, "misdirected-request", "This host is not served here", is_closing=True)
HEAD: Final = Public(431, "head-too-large", "The head of the request is too large", is_closing=True)
BODY: Final = Public(413, "too-large", "The body is too large", is_closing=True)
SLOW: Final = Public(408, "timeout", "The request took too long", is_closing=True)
EXPECTATION: Final = Public(417, "expectation-failed", "This expectation is not supported", is_closing=True)
MEDIA: Final = Public(415, "unsupported-media-type", "This kind of body is not accepted")
UNREADABLE: Final = Public(400, "invalid-body", "The body is not acceptable")
VIOLATION: Final = Public(422, "schema-violation", "The body does not fit the schema")
UNREACHABLE: Final = Public(502, "backend-unavailable", "The model cannot be reached")
BACKEND_FAILED: Final = Public(502, "backend-failed", "The model's answer cannot be used")
BACKEND_BUSY: Final = Public(503, "backend-busy", "The model is busy")
BACKEND_LATE: Final = Public(504, "backend-timeout", "The model took too long")
UNAVAILABLE: Final = Public(503, "unavailable", "The gateway cannot decide right now")
OVERLOADED: Final = Public(503, "unavailable", "The gateway cannot decide right now", is_closing=True)
INTERNAL: Final = Public(500, "internal", "The gateway failed", is_closing=True)


def public(reason: Reason) -> Public:  # noqa: C901, PLR0912 - one flat table
    """Return what a client may read of a reason. Total: a reason without an entry is a type error."""
    match reason:
        case (
            Reason.REQUEST_MALFORMED | Reason.FRAMING_REFUSED | Reason.TARGET_REFUSED | Reason.HEADER_REFUSED
        ):
            return MALFORMED
        case Reason.METHOD_REFUSED | Reason.UPGRADE_REFUSED:
            return METHOD
        case Reason.VERSION_UNSUPPORTED:
            return VERSION
        case Reason.HOST_REFUSED:
            return HOST
        case Reason.HEAD_TOO_LARGE:
            return HEAD
        case Reason.BODY_TOO_LARGE:
            return BODY
        case Reason.HEAD_TIMEOUT | Reason.BODY_TIMEOUT | Reason.CLIENT_TOO_SLOW:
            return SLOW
        case Reason.EXPECTATION_REFUSED:
            return EXPECTATION
        case Reason.CREDENTIAL_MISSING | Reason.CREDENTIAL_SCHEME | Reason.TOKEN_REQUIRED:
            return REQUIRED
        case Reason.CREDENTIAL_AMBIGUOUS:
            return AMBIGUOUS
        case (
            Reason.TOKEN_TYPE
            | Reason.TOKEN_CRITICAL
            | Reason.TOKEN_ALGORITHM
            | Reason.TOKEN_ISSUER_UNKNOWN
            | Reason.TOKEN_KEY_UNKNOWN
            | Reason.TOKEN_BAD_SIGNATURE
            | Reason.TOKEN_BINDING
            | Reason.TOKEN_INACTIVE
            | Reason.KEY_UNKNOWN
            | Reason.KEY_BINDING
            | Reason.REVOKED
        ):
            return UNPROVEN
        case Reason.PROOF_MISSING | Reason.PROOF_MALFORMED | Reason.PROOF_MISMATCH | Reason.PROOF_STALE:
            return PROOF_REJECTED
        case Reason.PROOF_KEY | Reason.PROOF_BAD_SIGNATURE | Reason.PROOF_REPLAYED:
            return PROOF_UNPROVEN
        case Reason.PROOF_NONCE:
            return NEEDS_NONCE
        case (
            Reason.TOKEN_TOO_LARGE
            | Reason.TOKEN_MALFORMED
            | Reason.TOKEN_CLAIM_MISSING
            | Reason.TOKEN_CLAIM_INVALID
            | Reason.TOKEN_AUDIENCE
            | Reason.TOKEN_EXPIRED
            | Reason.TOKEN_NOT_YET_VALID
            | Reason.TOKEN_LIFETIME
            | Reason.TOKEN_TOO_OLD
            | Reason.TOKEN_UNBOUND
            | Reason.KEY_EXPIRED
        ):
            return REJECTED
        case Reason.CERTIFICATE_EXPIRED | Reason.CERTIFICATE_REFUSED:
            return CERTIFICATE_REJECTED
        case Reason.CERTIFICATE_UNTRUSTED | Reason.CERTIFICATE_REVOKED:
            return CERTIFICATE_UNPROVEN
        case Reason.STEP_UP_REQUIRED:
            return NEEDS_AUTHENTICATION
        case Reason.STEP_UP_FAILED:
            return AUTHENTICATION_TOO_WEAK
        case Reason.PROOFS_MISSING:
            return NEEDS_PROOFS
        case Reason.ROUTE_UNKNOWN | Reason.NO_RULE_ALLOWS | Reason.DENIED_BY_RULE | Reason.RULE_ERROR:
            return FORBIDDEN
        case Reason.CERTIFICATE_REQUIRED:
            return NEEDS_CERTIFICATE
        case Reason.SCOPE_MISSING:
            return NEEDS_SCOPE
        case Reason.RATE_EXCEEDED:
            return TOO_MANY
        case Reason.FLOODED:
            return FLOODED
        case Reason.CONCURRENCY_EXCEEDED:
            return TOO_CONCURRENT
        case Reason.BUDGET_EXCEEDED | Reason.BUDGET_OUTRUN:
            return SPENT
        case Reason.BUDGET_HELD:
            return REDUCED
        case Reason.CONTENT_TYPE | Reason.CONTENT_ENCODING:
            return MEDIA
        case (
            Reason.JSON_INVALID
            | Reason.JSON_DUPLICATE_KEY
            | Reason.JSON_TOO_DEEP
            | Reason.JSON_NUMBER
            | Reason.BODY_UNEXPECTED
        ):
            return UNREADABLE
        case Reason.SCHEMA_VIOLATION:
            return VIOLATION
        case Reason.RISK_TOO_HIGH:
            return UNUSUAL
        case Reason.BACKEND_UNREACHABLE | Reason.BACKEND_ADDRESS_REFUSED | Reason.BACKEND_TLS:
            return UNREACHABLE
        case Reason.BACKEND_BUSY:
            return BACKEND_BUSY
        case Reason.BACKEND_TIMEOUT | Reason.ANSWER_TOO_LONG:
            return BACKEND_LATE
        case Reason.BACKEND_PROTOCOL | Reason.BACKEND_DIED | Reason.ANSWER_TOO_LARGE:
            return BACKEND_FAILED
        case (
            Reason.TOKEN_KEYS_UNAVAILABLE
            | Reason.TOKEN_UNCHECKED
            | Reason.REVOCATIONS_STALE
            | Reason.BACKEND_TOKEN
            | Reason.STORE_UNAVAILABLE
            | Reason.PRICE_UNKNOWN
            | Reason.RECORD_UNAVAILABLE
        ):
            return UNAVAILABLE
        case Reason.OVERLOADED | Reason.SHUTTING_DOWN:
            return OVERLOADED
        case Reason.INTERNAL:
            return INTERNAL
        case _:  # pragma: no cover - mypy proves that nothing comes here
            assert_never(reason)


PUBLIC: Final[dict[Reason, Public]] = {reason: public(reason) for reason in Reason}
