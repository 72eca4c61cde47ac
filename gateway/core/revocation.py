"""What is no longer believed although it would still verify: revocations, as data.

A revocation names one property of an identity and says since when. One with a date voids what was
issued before it, so that whoever authenticates anew is let in again; one without is a lock, and holds
until it is lifted or ends. Decides nothing: `find` is asked by `identify`, and by what watches streams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from math import isfinite
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
@dataclass(frozen=True)
class Lift:
    """The end of one revocation, before its time.

    Of one id, the later of revocation and lift counts, whichever is heard first; of two at the same time
    the lift does.

    Args:
        id: Of the revocation.
        at: When it was lifted, seconds since the epoch.
        expires: When the revocation would have ended, or None: until then this must be remembered.
    """

    id: str
    at: float
    expires: float | None = None


DATED: Final = frozenset({Target.SUBJECT, Target.CLIENT, Target.SESSION, Target.CLAIM, Target.IDENTITY})
"""What can be proven anew. The others name one credential, which is not issued twice: to these a date means
nothing, and a thief who signs with a stolen key writes any date into a token."""

MAX_VALUE: Final = 2048  # characters
MAX_WORDS: Final = 256  # characters of a reason and of a source
_ID: Final = re.compile(r"[A-Za-z0-9._:~-]{1,128}")


def check(change: Revocation | Lift) -> None:
    """Refuse what is malformed: it would be read differently elsewhere, or hold for nobody.

    Raises:
        ValueError: It is; the message names what, never its text.
    """
    if not _ID.fullmatch(change.id):
        raise ValueError("the id is not 1 to 128 letters, digits and `. _ : ~ -`")
    dates = [change.at, change.expires]
    if isinstance(change, Revocation):
        _check_words(change)
        dates.append(change.issued_before)
    for moment in dates:
        if moment is not None and not (isfinite(moment) and moment >= 0.0):
            raise ValueError("a date is not a number of seconds since the epoch")


def _check_words(revocation: Revocation) -> None:
    value = revocation.value
    if not 0 < len(value) <= MAX_VALUE or any("\ud800" <= each <= "\udfff" for each in value):
        raise ValueError(f"the value is not 1 to {MAX_VALUE} characters of Unicode")
    for words in (revocation.reason, revocation.source):
        if len(words) > MAX_WORDS or not words.isprintable():
            raise ValueError(f"reason or source is not one line of at most {MAX_WORDS} printable characters")


def voids(revocation: Revocation, identity: Identity) -> bool:
    """Tell whether a revocation that names an identity voids this proof of it.

    A dated one spares who has authenticated since: not the token alone must be younger, but also what
    it says about the user's authentication, or a session that goes on would renew itself past it; where a
    client is meant, its users' authentication does not matter. What has no date (a certificate) is void,
    for nobody can tell.

    Args:
        revocation: It names the identity.
        identity: What was proven.
    """
    before = revocation.issued_before
    if before is None or revocation.target not in DATED:
        return True
    since = identity.issued
    if identity.auth_time is not None and revocation.target is not Target.CLIENT:
        since = min(since, identity.auth_time)
    return not since > before


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
