"""The public keys of one issuer, and how they stay fresh. Answers without I/O; waits only in `refresh`.

A failing source never empties the set: the last good keys serve until their hard age, and then none
do. Every change of the keys raises `generation`, which voids what was verified under older ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from cryptography.hazmat.primitives import serialization

from gateway.credentials.files import read_bounded
from gateway.credentials.jwk import MAX_SET_BYTES, parse_set
from gateway.credentials.key_news import Herald
from gateway.credentials.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.ports import Clock
    from gateway.credentials.jwk import PublicKey, VerificationKey
    from gateway.credentials.key_news import Tell

REFRESH_WINDOW: Final = 30.0  # seconds: unknown key ids cause one look per window (as jose's cooldown)
FILE_INTERVAL: Final = 5.0  # seconds between two looks at a file


def _material(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@final
class Keys:
    """An immutable, indexed key set.

    Args:
        keys: From `parse_set`.
    """

    __slots__ = ("_by_kid", "_nameless", "content", "kids")

    def __init__(self, keys: tuple[VerificationKey, ...] = ()) -> None:
        self._by_kid = {
            (key.kid, algorithm): key.key
            for key in keys
            if key.kid is not None
            for algorithm in key.algorithms
        }
        self.kids = frozenset(key.kid for key in keys if key.kid is not None)
        fitting: dict[str, list[VerificationKey]] = {}
        for key in keys:
            for algorithm in key.algorithms:
                fitting.setdefault(algorithm, []).append(key)
        # A token without `kid` is for the issuer's one key; which of several is not for us to guess.
        self._nameless = {algorithm: found[0].key for algorithm, found in fitting.items() if len(found) == 1}
        self.content = frozenset((key.kid, key.algorithms, _material(key.key)) for key in keys)

    def find(self, kid: str | None, algorithm: str) -> object | None:
        """Return the key of that name for that algorithm, or None."""
        return self._nameless.get(algorithm) if kid is None else self._by_kid.get((kid, algorithm))


@final
class FileKeySet:
    """Keys from a file that is read again when it changed.

    Args:
        path: The JWK set.
        clock: Time.
        interval: Seconds between two looks at the file, once started.
        tell: Takes what operators may want to know.

    Attributes:
        on_change: Called after every change of the keys, once `generation` has grown; must not raise.

    Raises:
        OSError: The file cannot be read.
        JwksError: It is no usable key set.
    """

    __slots__ = (
        "_clock",
        "_herald",
        "_keys",
        "_looked_at",
        "_loop",
        "_path",
        "_seen",
        "generation",
        "on_change",
    )

    def __init__(
        self, path: Path, clock: Clock, *, interval: float = FILE_INTERVAL, tell: Tell | None = None
    ) -> None:
        self._path = path
        self._clock = clock
        self._herald = Herald(clock, tell)
        self.on_change: Callable[[], None] | None = None
        self._seen = self._stamp()
        self._keys = Keys(parse_set(read_bounded(path, MAX_SET_BYTES)))
        self._looked_at = float("-inf")
        self.generation = 1
        self._loop = Periodic(f"keys of {path.name}", interval, self._look)

    async def start(self) -> None:
        """Begin to watch the file, so that a removed key dies without anybody asking for it."""
        self._loop.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._loop.stop()

    async def _look(self) -> None:
        self.reload()

    @property
    def is_usable(self) -> bool:
        """True: the constructor demanded keys, and a broken file never replaces them."""
        return True

    def find(self, kid: str | None, algorithm: str, /) -> object | None:
        """Return the verification key, or None. No I/O."""
        return self._keys.find(kid, algorithm)

    async def refresh(self) -> bool:
        """Read the file again if it changed; at most once per window. True if the keys changed."""
        now = self._clock.tick()
        if now - self._looked_at < REFRESH_WINDOW:
            return False
        self._looked_at = now
        return self.reload()

    def reload(self) -> bool:
        """Read the file again if it changed, now; a broken one leaves the keys as they are.

        Returns:
            True if the keys changed.
        """
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                self._herald.worked()
                return False
            keys = Keys(parse_set(read_bounded(self._path, MAX_SET_BYTES)))
        except OSError:
            self._herald.failed("the file cannot be read")
            return False
        except ValueError as unusable:  # `JwksError`, or a file that is too large: texts of ours
            self._herald.failed(str(unusable))
            return False
        self._seen = stamp
        self._herald.worked()
        if keys.content == self._keys.content:
            return False
        self._herald.changed(keys.kids, len(keys.content))
        self._keys = keys
        self.generation += 1
        if self.on_change is not None:
            self.on_change()
        return True

    def _stamp(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
