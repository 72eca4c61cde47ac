"""Why a request was refused: a closed vocabulary, and the one exception that carries it.

Two vocabularies on purpose. `Reason` is for the record and the operator; what a client may read is
the coarser public word that `gateway.core.problem` maps it to.
"""

# ruff: noqa: S105 - words about tokens are no passwords

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import final


@final
class Source(Enum):
    """Whose fault it is."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


@final
class Reason(Enum):
    """Everything that can end a request early. Values are what the record says."""

    # the wire: bytes that are not a request we accept
    REQUEST_MALFORMED = "request-malformed"
    FRAMING_REFUSED = "framing-refused"
    VERSION_UNSUPPORTED = "version-unsupported"
    METHOD_REFUSED = "method-refused"
    TARGET_REFUSED = "target-refused"
    HOST_REFUSED = "host-refused"
    HEADER_REFUSED = "header-refused"
    HEAD_TOO_LARGE = "head-too-large"
    HEAD_TIMEOUT = "head-timeout"
    EXPECTATION_REFUSED = "expectation-refused"
    UPGRADE_REFUSED = "upgrade-refused"
    BODY_TOO_LARGE = "body-too-large"
    BODY_TIMEOUT = "body-timeout"
    OVERLOADED = "overloaded"
    FLOODED = "flooded"  # too much from one source, before anybody knew who it was
    # identify: who calls
    CREDENTIAL_MISSING = "credential-missing"
    CREDENTIAL_AMBIGUOUS = "credential-ambiguous"
    CREDENTIAL_SCHEME = "credential-scheme"
    TOKEN_TOO_LARGE = "token-too-large"
    TOKEN_MALFORMED = "token-malformed"
    TOKEN_TYPE = "token-type"
    TOKEN_CRITICAL = "token-critical-header"
    TOKEN_ALGORITHM = "token-algorithm"
    TOKEN_ISSUER_UNKNOWN = "token-issuer-unknown"
    TOKEN_KEY_UNKNOWN = "token-key-unknown"
    TOKEN_KEYS_UNAVAILABLE = "token-keys-unavailable"
    TOKEN_BAD_SIGNATURE = "token-bad-signature"
    TOKEN_CLAIM_MISSING = "token-claim-missing"
    TOKEN_CLAIM_INVALID = "token-claim-invalid"
    TOKEN_AUDIENCE = "token-audience"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_NOT_YET_VALID = "token-not-yet-valid"
    TOKEN_LIFETIME = "token-lifetime"
    TOKEN_BINDING = "token-binding"
    TOKEN_INACTIVE = "token-inactive"  # its issuer, asked, says so (RFC 7662)
    TOKEN_UNCHECKED = "token-unchecked"  # its issuer could not be asked
    PROOF_MISSING = "proof-missing"  # of possession (RFC 9449)
    PROOF_MALFORMED = "proof-malformed"
    PROOF_KEY = "proof-key"
    PROOF_BAD_SIGNATURE = "proof-bad-signature"
    PROOF_MISMATCH = "proof-mismatch"
    PROOF_STALE = "proof-stale"
    PROOF_NONCE = "proof-nonce"
    PROOF_REPLAYED = "proof-replayed"
    KEY_UNKNOWN = "key-unknown"  # a gateway key
    KEY_EXPIRED = "key-expired"
    KEY_BINDING = "key-binding"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_REFUSED = "certificate-refused"
    CERTIFICATE_UNTRUSTED = "certificate-untrusted"
    CERTIFICATE_REVOKED = "certificate-revoked"
    REVOKED = "revoked"
    REVOCATIONS_STALE = "revocations-stale"
    # authorize: may they
    ROUTE_UNKNOWN = "route-unknown"
    CERTIFICATE_REQUIRED = "certificate-required"
    TOKEN_REQUIRED = "token-required"
    SCOPE_MISSING = "scope-missing"
    TOKEN_TOO_OLD = "token-too-old"
    TOKEN_UNBOUND = "token-unbound"
    STEP_UP_REQUIRED = "step-up-required"
    STEP_UP_FAILED = "step-up-failed"
    PROOFS_MISSING = "proofs-missing"
    NO_RULE_ALLOWS = "no-rule-allows"
    DENIED_BY_RULE = "denied-by-rule"
    RULE_ERROR = "rule-error"
    # limit: how much
    RATE_EXCEEDED = "rate-exceeded"
    CONCURRENCY_EXCEEDED = "concurrency-exceeded"
    BUDGET_EXCEEDED = "budget-exceeded"  # used up
    BUDGET_HELD = "budget-held"  # there would be room, were it not set aside for what runs now
    BUDGET_OUTRUN = "budget-outrun"  # an answer needed more than there was
    PRICE_UNKNOWN = "price-unknown"
    STORE_UNAVAILABLE = "store-unavailable"
    # inspect, the body
    CONTENT_TYPE = "content-type"
    CONTENT_ENCODING = "content-encoding"
    JSON_INVALID = "json-invalid"
    JSON_DUPLICATE_KEY = "json-duplicate-key"
    JSON_TOO_DEEP = "json-too-deep"
    JSON_NUMBER = "json-number"
    SCHEMA_VIOLATION = "schema-violation"
    BODY_UNEXPECTED = "body-unexpected"
    # score: how unusual
    RISK_TOO_HIGH = "risk-too-high"
    # forward and relay
    BACKEND_UNREACHABLE = "backend-unreachable"
    BACKEND_ADDRESS_REFUSED = "backend-address-refused"
    BACKEND_TLS = "backend-tls"
    BACKEND_BUSY = "backend-busy"
    BACKEND_TIMEOUT = "backend-timeout"
    BACKEND_PROTOCOL = "backend-protocol"
    BACKEND_DIED = "backend-died"
    BACKEND_TOKEN = "backend-token"  # a token for the backend could not be had (RFC 8693)
    ANSWER_TOO_LARGE = "answer-too-large"
    ANSWER_TOO_LONG = "answer-too-long"
    CLIENT_TOO_SLOW = "client-too-slow"
    # ourselves
    RECORD_UNAVAILABLE = "record-unavailable"
    SHUTTING_DOWN = "shutting-down"
    INTERNAL = "internal"


@final
@dataclass(frozen=True)
class LimitState:
    """What a limit looks like after a claim: for `RateLimit` fields and the record.

    Args:
        name: The limit's name.
        quota: How many it grants per window.
        window: Seconds; 0 for a concurrency limit.
        remaining: How many are left now.
        reset: Seconds until the quota is whole again.
        unit: What is counted: a `gateway.core.budgets.Measure`.
    """

    name: str
    quota: int
    window: float
    remaining: int
    reset: float
    unit: str = "requests"


@final
@dataclass(frozen=True)
class StepUp:
    """How a user must have authenticated: what a challenge asks for (RFC 9470, section 3).

    Args:
        acr_values: Authentication context classes of which one is needed, most wanted first.
        max_age: Seconds since the authentication at most, or None.
    """

    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


@final
@dataclass(frozen=True)
class Refusal:
    """A refusal as data: what evaluators return.

    Args:
        reason: The word for the record.
        detail: One sentence for the client, made of our own constants and numbers: never exception
            text, never upstream text, never what the client may not know.
        note: One sentence more for the record alone.
        source: Whose fault.
        retry_after: Seconds after which trying again can help, or None.
        rule: Name of the rule or check that decided, or None.
        scopes: Scopes that would have been needed (RFC 6750, section 3.1).
        limits: States of the limits involved.
        step_up: What authentication would have been needed, or None.
        nonce: Nonce that the next proof of possession must carry (RFC 9449, section 8), or None.
    """

    reason: Reason
    detail: str = ""
    note: str = ""
    source: Source = Source.CLIENT
    retry_after: float | None = None
    rule: str | None = None
    scopes: tuple[str, ...] = ()
    limits: tuple[LimitState, ...] = ()
    step_up: StepUp | None = None
    nonce: str | None = None


@final
class Refused(Exception):
    """Ends the line. Raised by stages, caught once, in the pipeline."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason.value)
        self.refusal = refusal


def refuse(reason: Reason, detail: str = "", *, note: str = "", source: Source = Source.CLIENT) -> Refused:
    """Make the exception for the common case: a reason and one sentence."""
    return Refused(Refusal(reason, detail, note=note, source=source))
