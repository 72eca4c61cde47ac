"""Makes and checks nonces for proofs of possession (RFC 9449, section 9). Keeps no state.

A nonce is a time, to the microsecond so that no two are alike, and a MAC over that time and the
thumbprint of the key it was made for: every gateway of a fleet knows the others' nonces and none has
to remember any. The MAC's key is derived from the fleet's and the hour: the one of the last hour is
accepted as long as its nonces live.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final, final

ROTATION: Final = 3600  # seconds for which one key makes nonces
MAX_LIFETIME: Final = 3600.0  # seconds: never more than two keys are accepted
CLOCK_SPREAD: Final = 5.0  # seconds by which the clocks of a fleet may be apart
TICKS: Final = 1_000_000  # per second
TIME_BYTES: Final = 8
MAC_BYTES: Final = 16  # a multiple of three together with the time: no padding, no unused bits
PERSON: Final = b"dpop-nonce-key"
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{32}")


@final
class Nonces:
    """Nonces of one fleet.

    Args:
        secret: Known to every gateway of the fleet and to nobody else; at most 64 bytes.
        lifetime: For how long a nonce is good, seconds.

    Raises:
        ValueError: A lifetime that is not in (0, 3600].
    """

    __slots__ = ("_keys", "_secret", "lifetime")

    def __init__(self, secret: bytes, lifetime: float) -> None:
        if not 0.0 < lifetime <= MAX_LIFETIME:
            raise ValueError(f"a nonce must live for at most {MAX_LIFETIME:g} seconds")
        self._secret = secret
        self._keys: dict[int, bytes] = {}
        self.lifetime = lifetime

    def make(self, thumbprint: str, now: float) -> str:
        """Make the nonce for a key at a time, seconds since the epoch."""
        return self._write(thumbprint, int(now * TICKS))

    def is_good(self, nonce: str, thumbprint: str, now: float) -> bool:
        """Tell whether a nonce was made for this key by one of the fleet, and is young enough.

        Args:
            nonce: From the proof; attacker-controlled.
            thumbprint: Of the key that made the proof.
            now: Seconds since the epoch.
        """
        if _SHAPE.fullmatch(nonce) is None:
            return False
        ticks = int.from_bytes(urlsafe_b64decode(nonce)[:TIME_BYTES], "big")
        age = now - ticks / TICKS
        if not -CLOCK_SPREAD <= age <= self.lifetime:
            return False
        return hmac.compare_digest(self._write(thumbprint, ticks), nonce)

    def _write(self, thumbprint: str, ticks: int) -> str:
        stamp = ticks.to_bytes(TIME_BYTES, "big")
        key = self._key(ticks // (ROTATION * TICKS))
        mac = blake2b(stamp + thumbprint.encode(), digest_size=MAC_BYTES, key=key)
        return urlsafe_b64encode(stamp + mac.digest()).decode()

    def _key(self, epoch: int) -> bytes:
        key = self._keys.get(epoch)
        if key is None:
            if len(self._keys) > 1:
                self._keys.clear()
            derived = blake2b(
                epoch.to_bytes(TIME_BYTES, "big"), digest_size=32, key=self._secret, person=PERSON
            )
            key = self._keys[epoch] = derived.digest()
        return key
