"""What is no longer believed although it would still verify: revocations, as data.

A revocation names one property of an identity and says since when. One with a date voids what was
issued before it, so that whoever authenticates anew is let in again; one without is a lock, and holds
until it is lifted or ends. Decides nothing: `find` is asked by `identify`, and by what watches streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from gateway.core.identity import Identity


@final
class Target(Enum):
    """Which property of an identity a revocation names. Values are what the store and the API say.

    SUBJECT: `Identity.key`. TOKEN: issuer, `|`, `jti`; or the first 16 hex digits of the token's SHA-256.
    CLIENT: issuer, `|`, `client_id`. KEY: thumbprint of a proof key, id of a gateway key, or issuer, `|`,
    `kid` of a signing key. CERTIFICATE: fingerprint (`x5t#S256`). SESSION: issuer, `|`, `sid`.
    CLAIM: issuer, `|`, name of a claim, `|`, its value in lower case (e-mail addresses, of signals).
    IDENTITY: a pattern over `Identity.key` or the SPIFFE ID; `*` stands for any characters.
    """

    SUBJECT = "subject"
    TOKEN = "token"  # noqa: S105 - a word
    CLIENT = "client"
    KEY = "key"
    CERTIFICATE = "certificate"
    SESSION = "session"
    CLAIM = "claim"
    IDENTITY = "identity"


@final
@dataclass(frozen=True)
class Revocation:
    """One revocation.

    Args:
        id: Unique name, for lifting it and for records.
        target: Which property.
        value: Its value.
        at: When it was made, seconds since the epoch.
        issued_before: It voids what was issued before this time; None voids everything: a lock.
        expires: When it ends by itself, or None.
        reason: One of our words or an event's name, for the record; never text of a stranger.
        source: Who made it: "cli", "admin", or the transmitter of a signal.
    """

    id: str
    target: Target
    value: str
    at: float
    issued_before: float | None = None
    expires: float | None = None
    reason: str = ""
    source: str = ""


@final
class NothingRevoked:
    """Revocations where there can be none: for parts that are run without a state."""

    version = 0
    is_current = True

    def find(self, identity: Identity, /) -> Revocation | None:
        """Return None."""
        del identity
        return None


NOTHING_REVOKED: Final = NothingRevoked()
