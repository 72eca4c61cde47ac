"""The gateway's own keys as the running gateway has them: a file, watched, and the pepper of its digests.

A key that is gone from the file is dead within a second or two, and with it all that was proven by it. A
broken file is said loudly and changes nothing; a file that is gone has no keys in it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final, final

from gateway.credentials.key_records import KeyFileError, compile_keys, read_file
from gateway.credentials.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from gateway.core.gateway_key import GatewayKey
    from gateway.core.ports import Clock

INTERVAL: Final = 1.0  # seconds between two looks at the file
REMINDER: Final = 60.0  # seconds after which a file that is still broken is complained of again
LONGEST: Final = 366 * 86400.0  # seconds
MIN_PEPPER_CHARACTERS: Final = 32


def make_blind(pepper: str) -> Callable[[bytes], bytes]:
    """Return the function that turns keys into what is stored of them: HMAC-SHA-256 under the pepper.

    Raises:
        ValueError: The pepper is short enough to be guessed.
    """
    if len(pepper) < MIN_PEPPER_CHARACTERS:
        raise ValueError(f"the pepper has fewer than {MIN_PEPPER_CHARACTERS} characters")
    key = hashlib.blake2b(pepper.encode(), person=b"gateway-keys", digest_size=32).digest()
    return lambda token: hmac.digest(key, token, "sha256")


@final
class KeyFile:
    """Implements `core.gateway_key.GatewayKeys`.

    Args:
        path: The file; see `key_records`. It need not exist.
        blind: From `make_blind`: without the pepper in it a copy of the file is worth nothing, and no key can
            be added to it.
        roles: All roles of the configuration.
        clock: Time.
        longest: Longest life of a key, seconds.
        interval: Seconds between two looks at the file, once started.
        tell: Told how many keys there are now, after a change.
        on_failure: Told what is wrong with the file.

    Attributes:
        on_change: Called after every change of the keys, once `generation` has grown; must not raise.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is malformed.
    """

    __slots__ = (
        "_broken",
        "_clock",
        "_complained_at",
        "_keys",
        "_lines",
        "_longest",
        "_loop",
        "_on_failure",
        "_path",
        "_roles",
        "_seen",
        "_tell",
        "blind",
        "generation",
        "on_change",
    )

    def __init__(
        self,
        path: Path,
        blind: Callable[[bytes], bytes],
        roles: Collection[str],
        clock: Clock,
        *,
        longest: float = LONGEST,
        interval: float = INTERVAL,
        tell: Callable[[int], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self.blind = blind
        self.generation = 0
        self._path = path
        self._roles = frozenset(roles)
        self._clock = clock
        self._longest = longest
        self._tell = tell
        self.on_change: Callable[[], None] | None = None
        self._on_failure = on_failure
        self._complained_at = float("-inf")
        self._broken: tuple[tuple[int, ...], str] | None = None  # what is not read again in vain
        self._seen = self._stamp()
        self._lines: dict[bytes, GatewayKey] = {}
        self._keys = self._read()
        self._loop = Periodic("gateway keys", interval, self._look)

    def find(self, id: str, /) -> GatewayKey | None:
        """Return the key of that id, expired ones too, or None."""
        return self._keys.get(id)

    def __len__(self) -> int:
        return len(self._keys)

    async def start(self) -> None:
        """Watch the file in the background."""
        self._loop.start()

    async def stop(self) -> None:
        """End the background task."""
        await self._loop.stop()

    async def _look(self) -> None:
        self.reload()

    def reload(self) -> bool:
        """Read the file again if it changed, now; a broken one leaves the keys as they are.

        Returns:
            True if the keys changed.
        """
        stamp: tuple[int, ...] = ()
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            if self._broken is not None and self._broken[0] == stamp:
                self._complain(self._broken[1])
                return False
            keys = self._read()
        except OSError as unreadable:  # that may pass without a change of the file: it is tried again
            self._complain(f"{self._path}: {unreadable.strerror}")
            return False
        except KeyFileError as wrong:
            self._broken = (stamp, str(wrong))
            self._complain(str(wrong))
            return False
        self._seen, self._broken = stamp, None
        self._complained_at = float("-inf")
        if keys == self._keys:
            return False
        self._keys = keys
        self.generation += 1
        if self.on_change is not None:
            self.on_change()
        if self._tell is not None:
            self._tell(len(keys))
        return True

    def _read(self) -> dict[str, GatewayKey]:
        try:
            data = read_file(self._path)
            self._lines = compile_keys(data, self._roles, self._longest, self._lines)
        except KeyFileError as wrong:
            raise KeyFileError(f"{self._path}: {wrong}") from wrong
        return {key.id: key for key in self._lines.values()}

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ()
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

    def _complain(self, why: str) -> None:
        now = self._clock.tick()
        if now - self._complained_at >= REMINDER and self._on_failure is not None:
            self._complained_at = now
            self._on_failure(why)
